//! How requests tell of a newer ownership that they met, and wait until it is kept and in force.
//!
//! Never: makes a request wait for long, or takes what the table in force cannot mean.

use std::time::Duration;

pub use rhumb_decision::owned::News;

use crate::control::desk::OwnStep;
use crate::control::operator::Operator;

/// The longest that a request waits for what it told to be in force.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes news of ownership.
#[derive(Clone)]
pub struct Newsdesk(Operator);

/// Why news was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotTaken {
    /// It cannot be kept, or does not fit the table in force.
    #[error("{0}")]
    Refused(String),
    /// It was not in force in time.
    #[error("it was not kept within {PATIENCE:?}")]
    Late,
}

impl Newsdesk {
    /// A desk whose news goes to the steward.
    #[must_use]
    pub const fn new(operator: Operator) -> Self {
        Self(operator)
    }

    /// Returns once what of `news` is news is kept and a snapshot that has it is in force; of tenants that the table does
    /// not have, nothing is taken.
    ///
    /// # Errors
    /// [`NotTaken`]; it may still be taken later where it only came late.
    pub async fn tell(&self, news: Vec<News>) -> Result<(), NotTaken> {
        self.take(OwnStep::News(news)).await
    }

    /// The same, of what others are not to hear of yet.
    ///
    /// # Errors
    /// As for [`Self::tell`].
    pub async fn withhold(&self, news: Vec<News>) -> Result<(), NotTaken> {
        self.take(OwnStep::Withheld(news)).await
    }

    async fn take(&self, step: OwnStep) -> Result<(), NotTaken> {
        match tokio::time::timeout(PATIENCE, self.0.step(step)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(refused)) => Err(NotTaken::Refused(refused.to_string())),
            Err(_) => Err(NotTaken::Late),
        }
    }
}
