//! Ctrl-C: during generation it ends the answer, elsewhere the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coreai_tasks::language::Cancel;

use super::failure::Failure;

/// Knows whether an answer is being generated.
#[derive(Clone)]
pub struct Interrupt {
    generating: Arc<AtomicBool>,
}

impl Interrupt {
    /// Installs the handler. A second Ctrl-C before the answer has ended ends the program.
    pub fn install(cancel: Cancel) -> Result<Interrupt, Failure> {
        let generating = Arc::new(AtomicBool::new(false));
        let flag = generating.clone();
        ctrlc::set_handler(move || {
            if flag.load(Ordering::SeqCst) && !cancel.is_requested() {
                cancel.cancel();
            } else {
                eprintln!();
                std::process::exit(130);
            }
        })
        .map_err(|error| Failure::new(format!("cannot handle Ctrl-C: {error}")))?;
        Ok(Interrupt { generating })
    }

    /// Runs a generation that Ctrl-C ends.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.generating.store(true, Ordering::SeqCst);
        let result = work();
        self.generating.store(false, Ordering::SeqCst);
        result
    }
}
