//! A conversation on stdin and stdout: one line, one turn.

use std::io::{BufRead, IsTerminal};

use super::failure::Failure;
use super::prompt::answer;
use super::talk::Setup;

const HELP: &str = "/reset forgets the conversation, /exit leaves, Ctrl-C ends an answer";

/// Reads lines until the end of input or `/exit`. The cache is kept between turns.
pub fn run(mut setup: Setup) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal();
    if terminal {
        eprintln!("{} on {}; {HELP}", setup.model.name(), setup.model.model().adapter_name());
    }
    let mut line = String::new();
    loop {
        if terminal {
            eprint!("> ");
        }
        line.clear();
        let length =
            stdin.lock().read_line(&mut line).map_err(|error| Failure::new(format!("stdin: {error}")))?;
        if length == 0 {
            if terminal {
                eprintln!();
            }
            return Ok(());
        }
        match line.trim() {
            "" => {}
            "/exit" => return Ok(()),
            "/reset" => setup.session.reset(),
            "/help" => eprintln!("{HELP}"),
            text => match answer(&mut setup, text) {
                Ok(_) => {}
                // Someone sits there and can go on; a script cannot.
                Err(Failure::Message(message)) if terminal => eprintln!("error: {message}"),
                Err(failure) => return Err(failure),
            },
        }
    }
}
