//! `rhumb top`: an edge's regions on a terminal, as they are now, and what happened last.
//!
//! Never: changes anything at the edge, or leaves the terminal otherwise than it was.

mod board;
mod draw;
mod ears;
mod screen;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};

use super::args::Format;
use super::edge::Edge;
use super::failure::{Done, Failure};
use super::out::Out;
use crate::control::clock::Clock;
use board::{Board, Lost};
use ears::{Heard, PATIENCE};
use screen::Screen;

/// How often the screen is drawn though nothing was heard: how long an edge is lost goes on.
const EVERY: Duration = Duration::from_secs(1);

/// Shows it until it is left. An edge that goes away later may come back; one that is not there at first is an error.
pub fn top(edge: Edge, out: &Out<'_>) -> Done {
    if out.format() == Format::Json || !out.is_screen() || !io::stdin().is_terminal() {
        let told = "top draws on a terminal, and answers nobody else; `rhumb status --watch` answers anybody";
        return Err(Failure::Usage(told.into()));
    }
    let mut board = Board::default();
    board.take(&edge.read_within("/v1/status", PATIENCE)?);
    let clock = Clock::system();
    let no_terminal = |cause: io::Error| Failure::Failed(format!("cannot draw on this terminal: {cause}"));
    let screen = Screen::take().map_err(no_terminal)?;
    let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(no_terminal)?;
    let heard = ears::listen(edge).map_err(no_terminal)?;
    let ended = show(&mut terminal, board, &heard, &clock, || screen.is_taken());
    drop(screen);
    ended.map_err(|cause| Failure::Failed(format!("cannot draw on this terminal: {cause}")))
}

/// Draws what is heard until it ends, or nobody speaks any more, or `goes_on` no more.
fn show<B: Backend>(
    terminal: &mut Terminal<B>,
    mut board: Board,
    heard: &Receiver<Heard>,
    clock: &Clock,
    goes_on: impl Fn() -> bool,
) -> Result<(), B::Error> {
    let (mut answered, mut why) = (clock.now(), None);
    while goes_on() {
        let silent = clock.now().since(answered).duration();
        let lost = |why: &String| Lost { since: silent.as_secs(), why: why.clone() };
        board.lost = why.as_ref().map(lost);
        if board.lost.is_none() && silent > PATIENCE {
            board.lost = Some(lost(&"it has not answered yet".to_owned()));
        }
        terminal.draw(|frame| draw::draw(frame, &board))?;
        match heard.recv_timeout(EVERY) {
            Ok(Heard::Looked(Ok(status))) => {
                board.take(&status);
                (answered, why) = (clock.now(), None);
            }
            Ok(Heard::Looked(Err(failure))) => why = Some(failure.to_string()),
            Ok(Heard::Told(told)) => board.hear(told),
            Ok(Heard::Deaf(why)) => board.deaf = Some(why),
            Ok(Heard::Step(by)) => board.step(by),
            Ok(Heard::Redraw) => {
                // Its `clear` would ask the terminal where the cursor is, while the keys are read elsewhere.
                let area = terminal.get_frame().area();
                terminal.resize(area)?;
            }
            Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Ok(())
}
