//! What a person may ask of the table: to read it again, to accept one that was refused, to go back, to compare.
//!
//! The steward does it, in its one order; this is the handle.

use std::net::IpAddr;
use std::sync::Arc;

use rhumb_decision::compare::Difference;
use rhumb_decision::transfer::Wanted;
use tokio::sync::{mpsc, oneshot};

use crate::control::desk::office::{self, Answer, Request};
use crate::control::desk::{
    DeskError, Done, Order, OwnDone, OwnOrder, OwnStep, PlanReport, Preflight, Terms,
};
use crate::control::snapshot::Rejected;

/// What became of a command.
#[derive(Clone, Debug)]
pub struct TableReport {
    /// The generation in force after it.
    pub generation: u64,
    /// SHA-256 of the table that was judged, in hex.
    pub hash: String,
    /// How many tenants it has.
    pub tenants: usize,
    /// Whether another table is in force than before.
    pub taken: bool,
    /// What lies between the table in force before and the one that was judged.
    pub difference: Difference,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OperatorError {
    /// The table in the files is not taken.
    #[error("the table is refused")]
    Refused(Arc<Rejected>),
    /// There is nothing to do it with.
    #[error("{0}")]
    Impossible(String),
    /// The process is stopping.
    #[error("the edge is stopping")]
    Stopped,
}

/// Who asks, from where, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asker {
    /// Who: the name of the token that was shown.
    pub actor: String,
    /// The address that it was asked from.
    pub source: IpAddr,
    /// Why; empty where nobody has to say.
    pub reason: String,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Read the files now; why may be left out.
    Reload(Asker),
    /// Take the refused table of this hash.
    Accept(String, Asker),
    /// Go back to the table before this one.
    Rollback(Asker),
    /// Read the files and say what they would change.
    Diff,
    /// Read the table before this one and say what going back would change.
    DiffBack,
}

/// A command, and where its answer goes.
pub struct Asked {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<TableReport, OperatorError>>,
}

/// Asks the steward.
#[derive(Clone)]
pub struct Operator {
    tables: mpsc::Sender<Asked>,
    orders: mpsc::Sender<office::Asked>,
}

/// What the steward hears of operators.
pub struct Heard {
    /// Of the table.
    pub tables: mpsc::Receiver<Asked>,
    /// Of weights and drains.
    pub orders: mpsc::Receiver<office::Asked>,
}

impl Operator {
    /// A handle, and the receivers for the steward.
    #[must_use]
    pub fn channel() -> (Self, Heard) {
        let (tables, heard_tables) = mpsc::channel(16);
        let (orders, heard_orders) = mpsc::channel(16);
        (Self { tables, orders }, Heard { tables: heard_tables, orders: heard_orders })
    }

    /// What a weight would do.
    ///
    /// # Errors
    /// The table has no such region or cell.
    pub async fn plan(
        &self,
        scope: rhumb_decision::scope::Scope,
        to: rhumb_decision::units::Weight,
    ) -> Result<PlanReport, DeskError> {
        match self.request(Request::Plan { scope, to }).await? {
            Answer::Plan(plan) => Ok(*plan),
            _ => Err(stopped()),
        }
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing is changed then.
    pub async fn order(&self, order: Order, terms: Terms, asker: Asker) -> Result<Done, DeskError> {
        match self.request(Request::Order { order, terms, asker }).await? {
            Answer::Done(done) => Ok(*done),
            _ => Err(stopped()),
        }
    }

    /// What a transfer would meet.
    ///
    /// # Errors
    /// It names a region or tenant that the table does not have.
    pub async fn preflight(&self, wanted: Wanted) -> Result<Preflight, DeskError> {
        match self.request(Request::Preflight(wanted)).await? {
            Answer::Preflight(found) => Ok(*found),
            _ => Err(stopped()),
        }
    }

    /// Carries an order about ownership out.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing is changed then.
    pub async fn own(&self, order: OwnOrder, terms: Terms, asker: Asker) -> Result<OwnDone, DeskError> {
        match self.request(Request::Own { order, terms, asker }).await? {
            Answer::Own(done) => Ok(*done),
            _ => Err(stopped()),
        }
    }

    /// Takes in what the edge does to ownership by itself; once it returns, a snapshot that has it is in force.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing is changed then.
    pub async fn step(&self, step: OwnStep) -> Result<OwnDone, DeskError> {
        match self.request(Request::Step(step)).await? {
            Answer::Own(done) => Ok(*done),
            _ => Err(stopped()),
        }
    }

    async fn request(&self, request: Request) -> Result<Answer, DeskError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(office::Asked { request, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Reads the table's files now.
    ///
    /// # Errors
    /// The problems of a table that is not taken; the one in force stays.
    pub async fn reload(&self, asker: Asker) -> Result<TableReport, OperatorError> {
        self.ask(Command::Reload(asker)).await
    }

    /// Takes a table that was refused only for what it moves.
    ///
    /// # Errors
    /// There is none of this hash, or it has other problems.
    pub async fn accept(&self, hash: String, asker: Asker) -> Result<TableReport, OperatorError> {
        self.ask(Command::Accept(hash, asker)).await
    }

    /// Goes back to the table that was in force before this one.
    ///
    /// # Errors
    /// There is none.
    pub async fn rollback(&self, asker: Asker) -> Result<TableReport, OperatorError> {
        self.ask(Command::Rollback(asker)).await
    }

    /// Reads the table's files and says what they would change.
    ///
    /// # Errors
    /// The problems of a table that could not be taken.
    pub async fn diff(&self) -> Result<TableReport, OperatorError> {
        self.ask(Command::Diff).await
    }

    /// Says what going back to the table before this one would change.
    ///
    /// # Errors
    /// There is none, or it could not be taken.
    pub async fn diff_back(&self) -> Result<TableReport, OperatorError> {
        self.ask(Command::DiffBack).await
    }

    async fn ask(&self, command: Command) -> Result<TableReport, OperatorError> {
        let (reply, answer) = oneshot::channel();
        self.tables.send(Asked { command, reply }).await.map_err(|_| OperatorError::Stopped)?;
        answer.await.map_err(|_| OperatorError::Stopped)?
    }
}

fn stopped() -> DeskError {
    DeskError::Unfit("the edge is stopping".to_owned())
}
