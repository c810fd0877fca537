//! GGUF files: what they hold, blocks of every format, and damaged ones.

mod blocks;
mod build;
#[path = "../../../asset/tests/corpus/mod.rs"]
mod corpus;
mod hostile;
mod reading;

use corpus::heap;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;
