//! Any bytes end in tensors that can be read, or a typed error.
#![no_main]

use std::sync::Arc;

use coreai_asset::MemorySource;
use coreai_convert::{Rows, Stored, read_safetensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let source = Arc::new(MemorySource(bytes.to_vec()));
    let Ok(tensors) = read_safetensors("fuzz.safetensors", source) else { return };
    for (name, stored) in tensors {
        if let Stored::Weight(rows) = stored {
            assert_eq!(rows.name(), name);
            let mut values = vec![0.0f32; (rows.rows() * rows.columns()) as usize];
            rows.read(0, &mut values).expect("a tensor of the file");
        }
    }
});
