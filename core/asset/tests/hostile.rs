//! Files built to exhaust a reader: unfolding, nesting, cycles, counts.

mod corpus;

use std::sync::Arc;
use std::time::{Duration, Instant};

use coreai_asset::{Asset, AssetError, MemorySource};
use corpus::heap;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

fn vi(value: u64) -> Vec<u8> {
    for extra in 0..8u32 {
        if value >> (7 * (extra + 1)) == 0 {
            return (((value << 1) | 1) << extra).to_le_bytes()[..=extra as usize].to_vec();
        }
    }
    [vec![0], value.to_le_bytes().to_vec()].concat()
}

fn vis(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| vi(*value)).collect()
}

fn section(id: u8, data: &[u8]) -> Vec<u8> {
    [vec![id], vi(data.len() as u64), data.to_vec()].concat()
}

const OPS: [&str; 4] =
    ["serialization.asset", "dataflow.graph_v1", "dataflow.invoke_v1", "dataflow.output_v1"];

/// A file in parts. Strings: `aicode`, the operations, then `main`.
#[derive(Default)]
struct File {
    attrs: Vec<Vec<u8>>,
    types: Vec<Vec<u8>>,
    properties: Vec<Vec<u8>>,
    program: Vec<u8>,
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        let strings = [&["aicode"], &OPS[..], &["main"]].concat();
        let mut text = vi(strings.len() as u64);
        text.extend(strings.iter().rev().flat_map(|s| vi(s.len() as u64 + 1)));
        text.extend(strings.iter().flat_map(|s| [s.as_bytes(), &[0]].concat()));
        let names: Vec<u64> = (1..=OPS.len() as u64).map(|s| s << 1 | 1).collect();
        let dialects =
            [vis(&[1, 1]), section(7, &vi(2)), vis(&[OPS.len() as u64, 0, OPS.len() as u64]), vis(&names)];
        let sizes = |table: &[Vec<u8>]| {
            let sizes = table.iter().flat_map(|e| vi((e.len() as u64) << 1 | 1)).collect();
            let head = vis(&[0, table.len() as u64]);
            if table.is_empty() { Vec::new() } else { [head, sizes].concat() }
        };
        let counts = vis(&[self.attrs.len() as u64, self.types.len() as u64]);
        let offsets = [counts, sizes(&self.attrs), sizes(&self.types)].concat();
        let data = [self.attrs.concat(), self.types.concat()].concat();
        let mut properties = vi(self.properties.len() as u64);
        properties.extend(self.properties.iter().flat_map(|p| [vi(p.len() as u64), p.clone()].concat()));
        [
            b"ML\xefR\x0dtest\0".to_vec(),
            section(1, &dialects.concat()),
            section(3, &offsets),
            section(2, &data),
            section(4, &self.program),
            section(0, &text),
            section(8, &properties),
        ]
        .concat()
    }

    fn read(&self) -> Result<Asset, AssetError> {
        let source = Arc::new(MemorySource(self.bytes()));
        let before = heap::reset_peak();
        let start = Instant::now();
        let answer = Asset::read_blocking(source, None, None);
        let peak = heap::peak().saturating_sub(before);
        assert!(peak < 64 << 20, "{peak} bytes");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        answer
    }
}

/// A root block with an asset operation around `regions`, whose `source` is attribute 0.
fn asset(regions: Vec<u8>) -> Vec<u8> {
    [vi(2), vi(0), vec![0x50], vis(&[0, 0]), vi(1 << 1 | 1), section(4, &regions)].concat()
}

/// A region of one block without values; `ops` operations follow.
fn region(ops: u64) -> Vec<u8> {
    vis(&[1, 0, ops << 1])
}

fn with_attrs(attrs: Vec<Vec<u8>>) -> File {
    let source = attrs.len() as u64 - 1;
    File { attrs, properties: vec![vis(&[source << 1 | 1, 0])], program: asset(region(0)), ..File::default() }
}

fn code(answer: Result<Asset, AssetError>) -> &'static str {
    answer.map_or_else(|error| error.code(), |_| "ok")
}

#[test]
fn the_builder_builds() {
    let unit = vi(46);
    assert_eq!(code(with_attrs(vec![unit]).read()), "ok");
}

#[test]
fn attributes_that_unfold() {
    // 30 levels of two: 2^30 attributes
    let mut attrs = vec![vi(46)];
    for level in 0..30 {
        attrs.push(vis(&[5, 2, level, level]));
    }
    assert_eq!(code(with_attrs(attrs).read()), "asset.limit_exceeded");
    // one level of many arrays of many
    let mut attrs = vec![vi(46)];
    attrs.push([vis(&[5, 20_000]), vi(0).repeat(20_000)].concat());
    attrs.push([vis(&[5, 20_000]), vi(1).repeat(20_000)].concat());
    assert_eq!(code(with_attrs(attrs).read()), "asset.limit_exceeded");
}

#[test]
fn attributes_in_a_circle() {
    assert_eq!(code(with_attrs(vec![vis(&[5, 1, 0])]).read()), "asset.limit_exceeded");
    let attrs = vec![vis(&[5, 1, 1]), vis(&[5, 1, 0])];
    assert_eq!(code(with_attrs(attrs).read()), "asset.limit_exceeded");
}

#[test]
fn types_in_a_circle() {
    for ty in [vis(&[31, 0]), vis(&[2, 0, 0]), vis(&[30, 1, 0, 0])] {
        let file = File { types: vec![ty], ..with_attrs(vec![vi(46)]) };
        assert_eq!(code(file.read()), "asset.malformed");
    }
}

#[test]
fn regions_in_regions() {
    let op = |isolated: u64| [vi(3), vec![0x10], vi(0), vi(1 << 1 | isolated)].concat();
    let mut inline = Vec::new();
    for _ in 0..50_000 {
        inline.extend([region(1), op(0)].concat());
    }
    let file = File { program: asset(inline), ..with_attrs(vec![vi(46)]) };
    assert_eq!(code(file.read()), "asset.limit_exceeded");
    let mut isolated = region(0);
    for _ in 0..2_000 {
        isolated = [region(1), op(1), section(4, &isolated)].concat();
    }
    let file = File { program: asset(isolated), ..with_attrs(vec![vi(46)]) };
    assert_eq!(code(file.read()), "asset.limit_exceeded");
}

#[test]
fn values_that_are_declared_only() {
    // siblings that each claim as many values as bytes follow
    let count = 20_000u64;
    let mut ops = vis(&[1, 0, 1 << 1]);
    ops.extend([vi(3), vec![0x10], vi(0), vi(count << 1)].concat());
    for left in (0..count).rev() {
        ops.extend(vis(&[1, left * 2, 0]));
    }
    let file = File { program: asset(ops), ..with_attrs(vec![vi(46)]) };
    assert_eq!(code(file.read()), "asset.malformed");
}

#[test]
fn a_function_that_calls_itself() {
    let attrs = vec![
        vis(&[5, 0]),                        // 0 empty array
        vis(&[4, 0]),                        // 1 type
        [vis(&[2, 1]), vec![1, 0]].concat(), // 2 false
        vis(&[1, 5]),                        // 3 "main"
        vis(&[14, 1, 5]),                    // 4 @main
    ];
    let call = [vi(2), vec![0x40], vi(0), vi(2)].concat();
    let body = [vis(&[1, 0, 2 << 1]), call, vi(3), vec![0], vi(0)].concat();
    let graph = [vi(1), vec![0x50], vi(0), vi(1), vi(1 << 1 | 1), section(4, &body)].concat();
    let mut file = File {
        attrs,
        types: vec![vis(&[30, 0, 0])],
        properties: vec![vis(&[0, 0]), vis(&[0, 0, 2, 1, 2, 3, 2, 0, 0]), vis(&[0, 4, 0])],
        program: asset([region(1), graph].concat()),
    };
    let error = file.read().unwrap_err();
    assert_eq!(error.to_string(), "function \"main\": calls itself, directly or through others");
    file.attrs[4] = vis(&[14, 1, 0]); // @aicode
    assert_eq!(file.read().unwrap().warnings.len(), 1);
}
