use std::ops::Range;

use coreai_asset::{AssetBuilder, ByteSource, Metadata};

use super::*;
use crate::rows::{PackedRows, Rows};

/// Rows whose value is their position, packed with codes of the given kind.
struct Counting {
    shape: Vec<u64>,
    packing: Option<Packing>,
}

impl Rows for Counting {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        match &self.packing {
            None => (first * self.columns()..).zip(out).for_each(|(at, out)| *out = at as f32),
            Some(packing) => {
                let mut packed = PackedRows::default();
                self.read_packed(first, out.len() as u64 / self.columns(), &mut packed)?;
                let values = packing.values();
                for (at, out) in out.iter_mut().enumerate() {
                    let block = at / packing.block as usize;
                    let minimum = packed.minimums.get(block).copied().unwrap_or(0.0);
                    *out = values[usize::from(packed.codes[at])] * packed.scales[block] + minimum;
                }
            }
        }
        Ok(())
    }

    fn packing(&self) -> Option<Packing> {
        self.packing.clone()
    }

    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        let packing = self.packing.as_ref().expect("packed");
        let mask = (1u64 << packing.codes.element().bits()) - 1;
        let items = first * self.columns()..(first + count) * self.columns();
        out.codes = items.clone().map(|at| ((at * 7) & mask) as u8).collect();
        let blocks = items.start / packing.block..items.end / packing.block;
        out.scales = blocks.clone().map(|block| block as f32 + 0.1).collect();
        out.minimums =
            if packing.minimum { blocks.map(|block| -(block as f32)).collect() } else { Vec::new() };
        Ok(())
    }
}

fn read(source: &dyn ByteSource, range: Range<u64>) -> Vec<u8> {
    let mut future = source.read(range);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(bytes) => bytes.expect("in range").into_owned(),
        std::task::Poll::Pending => panic!("native sources are ready"),
    }
}

/// Every range of a source is the same as that part of the whole.
fn ranges_agree(source: &dyn ByteSource) -> Vec<u8> {
    let whole = read(source, 0..source.len());
    assert_eq!(whole.len() as u64, source.len());
    for start in 0..source.len() {
        for end in [start, start + 1, start + 5, source.len()] {
            if end <= source.len() {
                let part = &whole[start as usize..end as usize];
                assert_eq!(read(source, start..end), part, "{start}..{end} of {}", source.len());
            }
        }
    }
    assert!(matches!(
        source
            .read(0..source.len() + 1)
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop())),
        std::task::Poll::Ready(Err(_))
    ));
    whole
}

#[test]
fn floats() {
    let rows: SharedRows = Arc::new(Counting { shape: vec![3, 5], packing: None });
    let bytes = ranges_agree(&Floats { rows: rows.clone(), element: ElementType::F32 });
    let values: Vec<f32> =
        bytes.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four"))).collect();
    assert_eq!(values, (0..15).map(|at| at as f32).collect::<Vec<_>>());
    ranges_agree(&Floats { rows, element: ElementType::F16 });
}

#[test]
fn codes_of_every_width() {
    for codes in [CodeType::UI8, CodeType::UI6, CodeType::UI4, CodeType::UI3, CodeType::UI2] {
        let packing =
            Packing { codes, block: 3, zero: 0, minimum: true, palette: None, scale: ScaleType::Float };
        let rows = Arc::new(Counting { shape: vec![5, 9], packing: Some(packing.clone()) });
        let weight =
            Arc::new(Packed { rows, packing, element: ElementType::F32, tally: Some(Mutex::default()) });
        let bytes = ranges_agree(&Codes { weight: weight.clone() });
        let bits = codes.element().bits() as usize;
        let bit = |at: usize| bytes[at / 8] >> (at % 8) & 1;
        for at in 0..45 {
            let code = (0..bits).fold(0u64, |code, i| code | u64::from(bit(at * bits + i)) << i);
            assert_eq!(code, (at as u64 * 7) & ((1 << bits) - 1), "{codes:?} {at}");
        }
        for parameter in [Parameter::Scale, Parameter::Minimum] {
            ranges_agree(&Parameters { weight: weight.clone(), parameter });
        }
        let difference = weight.tally().and_then(|tally| tally.difference()).expect("was read");
        assert_eq!(difference.max_abs, 0.0, "float32 parameters lose nothing");
    }
}

#[test]
fn rounded_scales_are_measured() {
    let packing = Packing {
        codes: CodeType::UI4,
        block: 4,
        zero: 8,
        minimum: false,
        palette: None,
        scale: ScaleType::Float,
    };
    let rows: SharedRows = Arc::new(Counting { shape: vec![4, 8], packing: Some(packing) });
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let mut weights = Weights::new(ElementType::F16, None);
    let w = weights.matrix(&mut g, "w", WeightClass::Linear, rows).expect("is packed");
    g.output("w", w).expect("a tensor");
    g.finish().expect("a function");
    let asset = asset.finish(Metadata::default()).expect("an asset");
    let source = asset.source();
    read(&**source, 0..source.len());
    let report = weights.reports().remove(0);
    let difference = report.difference.expect("was read");
    // scales are block + 0.1: 7.1 is rounded by less than 2⁻⁹, times a code of at most 8
    assert!(difference.max_abs > 1e-4 && difference.max_abs < 8.0 / 512.0, "{difference:?}");
    assert_eq!(report.stored.bits_per_weight(), 8.0, "4 bits and 16 for each 4");
    assert_eq!(report.stored.to_string(), "uint4, 4 to a scale, kept packed");
}
