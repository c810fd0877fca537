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
            let tables = [
                (false, Meaning::Plain),
                (true, Meaning::Plain),
                (false, Meaning::Less(9)),
                (false, Meaning::Table((0..16).map(|i| i * i - 40).collect())),
            ];
            for (signed, meaning) in tables {
                let form = Form::new(4, signed, &meaning).unwrap();
                let number = |i: usize| {
                    let code = i32::from(codes[i / 2] >> (i % 2 * 4) & 15);
                    meaning.value(if signed && code > 7 { code - 16 } else { code })
                };
                let want: f32 = (0..k).map(|i| x[i] * number(i) * scales.at(i)).sum();
                let mut got = vec![want; 4];
                if !form.table_only {
                    vector::dot4::<true>(&reorder(&x, 32, 2), &codes, &form, &scales, k, &mut got[..1]);
                    // SAFETY: AVX2 was found; lengths are those that `dot4` asserts.
                    unsafe { avx2::dot4(&reorder(&x, 64, 8), &codes, &form, &scales, k, &mut got[1..2]) };
                }
                if wide {
                    let x = reorder(&x, 128, 8);
                    dot4(&x, &codes, &form, &scales, None, k, &mut got[2..3]);
                    if dot4_adds(&scales) {
                        let sums = values(k / 32);
                        let minimums = Minimums { bytes: &bytes, sums: &sums };
                        dot4(&x, &codes, &form, &scales, Some(minimums), k, &mut got[3..]);
                        got[3] -=
                            sums.iter().enumerate().map(|(i, sum)| sum * scales.at(i * 32)).sum::<f32>();
                    }
                }
                for got in got {
                    assert!((got - want).abs() < 2e-3 * (k as f32).sqrt(), "{k} {block}: {got}, {want}");
                }
            }
        }
    }
}

#[test]
fn every_instruction_set_reads_the_same_codes() {
    if level() == Level::Portable {
        return;
    }
    let tables = |bits: u32| Meaning::Table((0..1i16 << bits).map(|i| (i * 37 + 5) % 64 - 30).collect());
    for (bits, signed) in [
        (1, false),
        (2, false),
        (2, true),
        (3, false),
        (4, false),
        (4, true),
        (6, false),
        (8, false),
        (8, true),
    ] {
        for meaning in [Meaning::Plain, Meaning::Less(3), tables(bits as u32)] {
            let Some(form) = Form::new(bits, signed, &meaning) else {
                assert!(bits > 4);
                continue;
            };
            for (k, block, rows) in [
                (16, 16, 1),
                (48, 48, 5),
                (2080, 32, 6),
                (2064, 16, 5),
                (2048, 16, 4),
                (320, 320, 4),
                (256, 256, 3),
            ] {
                // No byte behind the codes may be read.
                let codes: Vec<u8> = (0..rows * k * bits / 8).map(|i| (i * 89 + 17) as u8).collect();
                let mut numbers = vec![0.0; rows * k];
                form.read(&codes, &mut numbers);
                for (i, number) in numbers.iter().enumerate() {
                    let code = (0..bits).fold(0, |code, bit| {
                        let at = i * bits + bit;
                        code | i32::from(codes[at / 8] >> (at % 8) & 1) << bit
                    });
                    let code = if signed { code << (32 - bits) >> (32 - bits) } else { code };
                    assert_eq!(*number, meaning.value(code), "{bits} bits, {meaning:?}, code {i}");
                }
                let mut read = vec![0.0; rows * k - 1];
                dequantize(&codes, &form, 1.0, 0.0, 0.0, &mut read);
                assert_eq!(read, numbers[..rows * k - 1]);
                let (x, scales) = (values(k), values(rows * k / block));
                let bytes: Vec<u8> =
                    scales.iter().flat_map(|&s| half::f16::from_f32(s).to_le_bytes()).collect();
                let scales = Scales { bytes: &bytes, element: ElementType::F16, block };
                let mut got = vec![0.0; 3 * rows];
                let (portable, rest) = got.split_at_mut(rows);
                let (narrow, wide) = rest.split_at_mut(rows);
                vector::dot_codes::<true>(&x, &codes, &form, &scales, k, portable);
                dot_codes(&x, &codes, &form, &scales, k, wide);
                narrow.copy_from_slice(wide);
                if !form.table_only {
                    // SAFETY: AVX2 was found; lengths are those that `dot_codes` asserts.
                    unsafe {
                        match bits {
                            1 => avx2::dot_codes::<1>(&x, &codes, &form, &scales, k, narrow),
                            2 => avx2::dot_codes::<2>(&x, &codes, &form, &scales, k, narrow),
                            3 => avx2::dot_codes::<3>(&x, &codes, &form, &scales, k, narrow),
                            4 => avx2::dot_codes::<4>(&x, &codes, &form, &scales, k, narrow),
                            6 => avx2::dot_codes::<6>(&x, &codes, &form, &scales, k, narrow),
                            _ if signed => avx2::dot_codes::<10>(&x, &codes, &form, &scales, k, narrow),
                            _ => avx2::dot_codes::<8>(&x, &codes, &form, &scales, k, narrow),
                        }
                    }
                }
                for row in 0..rows {
                    let element = |i: usize| f64::from(x[i] * numbers[row * k + i] * scales.at(row * k + i));
                    let want: f64 = (0..k).map(element).sum();
                    let size: f64 = (0..k).map(|i| element(i).abs()).sum();
                    for got in got.iter().skip(row).step_by(rows) {
                        let off = (f64::from(*got) - want).abs();
                        assert!(
                            off <= 1e-5 * size,
                            "{bits} bits, {meaning:?}, {k} by {block}: {got}, {want}"
                        );
                    }
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
