//! How a command ends when it is not done, and which exit code tells it.

use std::io;

use crate::problem::Problems;

/// What every command returns.
pub type Done = Result<(), Failure>;

/// Why a command is not done. The text is for a person: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The edge refused, or something failed on the way. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The words on the command line do not fit together. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The files are unusable. Exit code 2.
    #[error("{0}")]
    Files(#[from] Problems),
    /// All that is wrong has been written to standard output already, as JSON. Exit code 2.
    #[error("the files are refused")]
    FilesTold,
    /// Whoever read standard output has closed it. Exit code 0, and nothing is said.
    #[error("standard output is closed")]
    Closed,
}

impl Failure {
    /// 0, 1 or 2.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Files(_) | Self::FilesTold => 2,
        }
    }
}

/// Of writing the answer: a closed pipe is no fault of anybody's.
impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Failed(format!("cannot write the answer: {cause}"))
        }
    }
}
