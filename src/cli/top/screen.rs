//! The terminal, taken over and given back: by whoever leaves, by an error, and by a panic before it says its words.
//!
//! Never: leaves a terminal that shows nothing of what is typed.

use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// A terminal that was taken over, until this is dropped.
pub struct Screen {
    taken: Arc<AtomicBool>,
    give_back: fn(),
}

impl Screen {
    /// Takes this process's terminal over.
    ///
    /// # Errors
    /// It is none.
    pub fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        let screen = Self::holding(to_who_typed);
        // On its way out, the screen is given back.
        execute!(io::stdout(), EnterAlternateScreen)?;
        Ok(screen)
    }

    fn holding(give_back: fn()) -> Self {
        let taken = Arc::new(AtomicBool::new(true));
        let (still, said) = (Arc::clone(&taken), panic::take_hook());
        panic::set_hook(Box::new(move |panicked| {
            back(&still, give_back);
            said(panicked);
        }));
        Self { taken, give_back }
    }

    /// Whether it still is: a panic on any thread gives it back.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        back(&self.taken, self.give_back);
    }
}

fn back(taken: &AtomicBool, give_back: fn()) {
    if taken.swap(false, Ordering::AcqRel) {
        give_back();
    }
}

/// A terminal that is gone takes nothing back.
fn to_who_typed() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "RHUMB_TEST_OF_THE_SCREEN";

    /// In a process of its own, as the hook is the process's.
    #[test]
    fn a_terminal_is_given_back_once_by_leaving_and_by_a_panic_before_its_words() {
        let given_back = || eprintln!("given back");
        match std::env::var(CHILD).as_deref() {
            Ok("leaves") => drop(Screen::holding(given_back)),
            Ok(_) => {
                let screen = Screen::holding(given_back);
                assert!(screen.is_taken());
                panic!("as asked");
            }
            Err(_) => {
                let name = "cli::top::screen::tests::a_terminal_is_given_back_once_by_leaving_and_by_a_panic_before_its_words";
                for (how, ends_well) in [("leaves", true), ("panics", false)] {
                    let mut child = Command::new(std::env::current_exe().unwrap());
                    let ran = child.args(["--exact", name, "--nocapture"]).env(CHILD, how).output().unwrap();
                    let said = String::from_utf8_lossy(&ran.stderr);
                    assert_eq!(ran.status.success(), ends_well, "{said}");
                    assert_eq!(said.matches("given back").count(), 1, "{said}");
                    let words = said.find("as asked");
                    assert!(words.is_none_or(|words| said.find("given back") < Some(words)), "{said}");
                    assert_eq!(words.is_none(), ends_well, "{said}");
                }
            }
        }
    }
}
