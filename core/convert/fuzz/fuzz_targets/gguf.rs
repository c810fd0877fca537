//! Any bytes end in a GGUF file whose tensors can be read, or a typed error, by whichever kind of source
//! they come.
#![no_main]

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use coreai_asset::{ByteSource, MemorySource, ReadFuture};
use coreai_convert::{ConvertError, Gguf, PackedRows, Rows};
use libfuzzer_sys::fuzz_target;

/// A source without slices.
struct Ranges(Vec<u8>);

impl ByteSource for Ranges {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let bytes = self.0.get(range.start as usize..range.end as usize).unwrap_or(&[]);
        Box::pin(std::future::ready(Ok(Cow::Borrowed(bytes))))
    }
}

/// The header as text, and the bits of all values.
fn read(source: Arc<dyn ByteSource>) -> Result<(Vec<String>, Vec<u32>), ConvertError> {
    let file = Gguf::read("fuzz.gguf", source)?;
    let keys = file.metadata();
    let mut texts = Vec::new();
    for key in keys.keys() {
        texts.extend(keys.get(key).map(|value| format!("{key} = {}", value.describe())));
        if let Ok(Some(strings)) = keys.strings(key) {
            texts.extend(strings.iter().map(String::from));
        }
        if let Ok(Some(integers)) = keys.integers(key) {
            integers.for_each(drop);
        }
    }
    let mut bits = Vec::new();
    for name in file.names() {
        let tensor = file.tensor(name).expect("a name of the file");
        texts.push(format!("{name} {:?} {:?}", tensor.shape(), tensor.storage()));
        let mut values = vec![0.0f32; (tensor.rows() * tensor.columns()) as usize];
        tensor.read(0, &mut values)?;
        bits.extend(values.into_iter().map(f32::to_bits));
        if let Some(packing) = tensor.packing() {
            let mut packed = PackedRows::default();
            if tensor.read_packed(0, tensor.rows(), &mut packed).is_ok() {
                assert_eq!(packed.codes.len() as u64 / packing.block, packed.scales.len() as u64);
            }
        }
    }
    Ok((texts, bits))
}

fuzz_target!(|bytes: &[u8]| {
    let outside = read(Arc::new(Ranges(bytes.to_vec())));
    let inside = read(Arc::new(MemorySource(bytes.to_vec())));
    assert_eq!(outside.ok(), inside.ok());
});
