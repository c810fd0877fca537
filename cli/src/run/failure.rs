//! Errors as one line on stderr and an exit code.

use std::process::ExitCode;

use coreai_tasks::language::LanguageError;

/// Exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why the program ends without success.
#[derive(Debug)]
pub enum Failure {
    /// Say this and exit with 1.
    Message(String),
    /// Ctrl-C, or whoever read the output went away: exit without words.
    Silent(u8),
}

impl Failure {
    /// A failure with a message.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure::Message(message.into())
    }

    /// Ended by Ctrl-C.
    pub fn interrupted() -> Failure {
        Failure::Silent(INTERRUPTED)
    }

    /// Prints the line and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Message(message) => {
                eprintln!("error: {}", one_line(&message));
                ExitCode::FAILURE
            }
            Failure::Silent(code) => ExitCode::from(code),
        }
    }
}

/// Drivers and template engines like to use several lines.
pub fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

impl From<LanguageError> for Failure {
    fn from(error: LanguageError) -> Failure {
        Failure::Message(error.to_string())
    }
}

impl From<coreai::Error> for Failure {
    fn from(error: coreai::Error) -> Failure {
        Failure::Message(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::Silent(0),
            _ => Failure::Message(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        std::io::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a; b; c");
    }
}
