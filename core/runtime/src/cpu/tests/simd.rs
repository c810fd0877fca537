//! The x86 instruction sets against the portable loops.

use super::*;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// Reordered as the set with `group` elements per group wants it.
fn reorder(x: &[f32], group: usize, per: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len().next_multiple_of(group)];
    for (i, &x) in x.iter().enumerate() {
        out[i / group * group + i % group % per * (group / per) + i % group / per] = x;
    }
    out
}

#[test]
fn every_instruction_set_gives_the_same_products() {
    let wide = level() == Level::Avx512;
    if level() == Level::Portable {
        return;
    }
    for (k, block) in [(32, 32), (96, 32), (576, 32), (576, 64), (576, 576), (256, 128), (160, 160)] {
        let x = values(k);
        let codes: Vec<u8> = (0..k / 2).map(|i| (i * 37 + 11) as u8).collect();
        let scales: Vec<f32> = values(k / block);
        for element in [ElementType::F16, ElementType::BF16, ElementType::F32] {
            let bytes: Vec<u8> = match element {
                ElementType::F16 => {
                    scales.iter().flat_map(|&s| half::f16::from_f32(s).to_le_bytes()).collect()
                }
                ElementType::BF16 => {
                    scales.iter().flat_map(|&s| half::bf16::from_f32(s).to_le_bytes()).collect()
                }
                _ => scales.iter().flat_map(|&s| s.to_le_bytes()).collect(),
            };
            let scales = Scales { bytes: &bytes, element, block };
            for signed in [false, true] {
                let want: f32 = (0..k)
                    .map(|i| {
                        let code = i32::from(codes[i / 2] >> (i % 2 * 4) & 15);
                        let code = if signed && code > 7 { code - 16 } else { code };
                        x[i] * code as f32 * scales.at(i)
                    })
                    .sum();
                let mut got = [0.0; 3];
                vector::dot4::<true>(&reorder(&x, 32, 2), &codes, signed, &scales, k, &mut got[..1]);
                // SAFETY: AVX2 was found; lengths are those that `dot4` asserts.
                unsafe { avx2::dot4(&reorder(&x, 64, 8), &codes, signed, &scales, k, &mut got[1..2]) };
                got[2] = got[1];
                if wide {
                    let x = reorder(&x, 128, 8);
                    // SAFETY: AVX-512 was found; lengths are those that `dot4` asserts.
                    unsafe { avx512::dot4(&x, &codes, signed, &scales, k, &mut got[2..]) };
                }
                for got in got {
                    assert!((got - want).abs() < 1e-3 * (k as f32).sqrt(), "{k} {block}: {got}, {want}");
                }
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_panels() {
    if level() == Level::Portable {
        return;
    }
    for m in 1..=ROWS {
        let k = 19;
        let (a, b) = (values(m * k), values(k * COLUMNS));
        let mut want = values(m * COLUMNS);
        let (mut narrow, mut wide) = (want.clone(), want.clone());
        vector::panel::<true>(m, k, &a, &b, COLUMNS, &mut want, COLUMNS, true);
        // SAFETY: AVX2 was found; lengths are those that `panel` asserts.
        unsafe { avx2::panel(m, k, &a, &b, COLUMNS, &mut narrow, COLUMNS, true) };
        panel(m, k, &a, &b, COLUMNS, &mut wide, COLUMNS, true);
        for ((want, narrow), wide) in want.iter().zip(&narrow).zip(&wide) {
            assert!((want - narrow).abs() < 1e-5 && (want - wide).abs() < 1e-5);
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_conversions() {
    if level() == Level::Portable {
        return;
    }
    let x: Vec<f32> = values(77).iter().map(|x| x * 70000.0).collect();
    let want: Vec<u8> = x.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    let (mut narrow, mut wide) = (vec![0; 154], vec![0; 154]);
    // SAFETY: AVX2 was found.
    unsafe { avx2::f32_to_f16(&x, &mut narrow) };
    f32_to_f16(&x, &mut wide);
    assert!(want == narrow && want == wide);
    let (mut narrow, mut wide) = (vec![0.0; 77], vec![0.0; 77]);
    // SAFETY: AVX2 was found.
    unsafe { avx2::f16_to_f32(&want, &mut narrow) };
    f16_to_f32(&want, &mut wide);
    assert_eq!(narrow, wide);
    for n in [0, 1, 15, 33, 64, 77] {
        let want = vector::dot::<true>(&x[..n], |i| {
            half::f16::from_le_bytes([want[2 * i], want[2 * i + 1]]).to_f32()
        });
        let bytes: Vec<u8> = x.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
        // SAFETY: AVX2 was found; there are 77 halves.
        let narrow = unsafe { avx2::dot::<1>(&x[..n], &bytes) };
        let wide = dot(&x[..n], &bytes, ElementType::F16);
        let scale = 1e-5 * want.abs().max(1.0);
        assert!((want - narrow).abs() <= scale && (want - wide).abs() <= scale || !want.is_finite());
    }
}
