//! One answer: streamed as text, or whole as JSON.

use std::io::Write;

use coreai_tasks::language::{StopReason, Turn};

use super::failure::Failure;
use super::figures;
use super::talk::Setup;

/// Answers and exits; a cancelled answer exits like an interrupted program.
pub fn run(mut setup: Setup, text: &str) -> Result<(), Failure> {
    let turn = answer(&mut setup, text)?;
    match turn.stop_reason {
        StopReason::Cancelled => Err(Failure::interrupted()),
        _ => Ok(()),
    }
}

/// Sends a message and prints the answer, then the figures.
pub fn answer(setup: &mut Setup, text: &str) -> Result<Turn, Failure> {
    let mut stdout = std::io::stdout().lock();
    let mut broken: Option<std::io::Error> = None;
    let cancel = setup.session.cancel_handle();
    let (session, options, json) = (&mut setup.session, &setup.options, setup.json);
    let turn = setup.interrupt.during(|| {
        session.send_blocking(text, options, &mut |piece, _| {
            if json || broken.is_some() {
                return;
            }
            if let Err(error) = stdout.write_all(piece.as_bytes()).and_then(|()| stdout.flush()) {
                broken = Some(error);
                cancel.cancel();
            }
        })
    });
    if let Some(error) = broken {
        return Err(error.into());
    }
    let turn = turn?;
    if json {
        serde_json::to_writer(&mut stdout, &figures::json(setup, &turn))?;
    }
    writeln!(stdout)?;
    eprintln!("{}", figures::line(setup, &turn));
    Ok(turn)
}

/// Writes text to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
