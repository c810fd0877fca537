//! GGUF files: what they hold, blocks of every format, and damaged ones.

mod blocks;
mod build;
#[path = "../../../asset/tests/corpus/heap.rs"]
mod heap;
mod hostile;
mod reading;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;
