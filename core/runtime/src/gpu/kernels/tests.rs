//! Every kernel against the CPU unit, on a real adapter, over views, storages and binding limits;
//! and every source against naga's three backends. Without an adapter only the latter.

pub mod bench;
mod elementwise;
mod movement;
mod products;
mod rows;
mod scatters;
mod spatial;

use bench::{Bench, fixed};
