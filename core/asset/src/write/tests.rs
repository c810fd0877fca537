//! Writing what only an edited or built asset can be: weights that are made while they are written.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::heap;
use super::*;
use crate::ir::{Attribute, ConstantRef};
use crate::source::{ByteSource, Joined, ReadFuture};
use crate::types::{ElementType, TensorType, Type, TypeId};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Bytes that exist only when they are read, up to where reading fails.
struct Virtual {
    length: u64,
    fails_at: u64,
}

impl ByteSource for Virtual {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let Range { start, end } = range;
        let answer = match end > self.fails_at {
            true => Err(AssetError::Source { start, end, reason: "made to fail".into() }),
            false => Ok(Cow::Owned(vec![start as u8; (end - start) as usize])),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A sink that takes so many bytes and then is full.
struct Full {
    room: u64,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.room.min(bytes.len() as u64) {
            0 => Err(ErrorKind::StorageFull.into()),
            taken => {
                self.room -= taken;
                Ok(taken as usize)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sample() -> Asset {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/assets/state-shift-f16/model.aimodel");
    Asset::open(Path::new(path)).expect("a sample")
}

/// A sample whose first constant is replaced by one of so many bytes.
fn with_weights(weights: Virtual, resource: Option<u32>) -> Asset {
    let mut asset = sample();
    let length = weights.length;
    let mut joined = Joined::default();
    joined.push(asset.source().clone()).expect("is small");
    let range = joined.push(Arc::new(weights)).expect("is below 2^64");
    asset.tables.container.source = Arc::new(joined);
    let ty = TypeId(asset.tables.types.len() as u32);
    let shape = vec![Some(length)];
    asset.tables.types.push(Type::Tensor(TensorType { shape, element: ElementType::UI8, encoding: None }));
    let body = &mut asset.functions[0].body;
    let op = body.ops.iter_mut().find(|op| &*op.name == "primitive.constant_v1").expect("a constant");
    op.attrs = vec![("value", Attribute::Constant(ConstantRef { splat: false, range, resource }))];
    body.scope.as_mut().expect("is isolated").types[op.results[0].0 as usize] = ty;
    asset
}

#[test]
fn weights_of_gigabytes_take_little_memory() {
    // a resource, and inline bytes too long to stay inline
    for (length, resource) in [(5 << 30, Some(77)), (1 << 30, None)] {
        let asset = with_weights(Virtual { length, fails_at: length }, resource);
        let before = heap::reset_peak();
        let mut reports = 0u64;
        let mut sink = Full { room: u64::MAX };
        asset.write_to(&mut sink, &WriteOptions::default(), &mut |_, _| reports += 1).expect("is written");
        let peak = heap::peak().saturating_sub(before);
        println!("{peak} bytes at the peak, {reports} reports");
        assert!(u64::MAX - sink.room > length);
        assert!(peak < 64 << 20, "{peak} bytes");
        assert!(reports > 1000, "{reports} reports");
    }
}

#[test]
fn a_full_sink_is_an_error_at_every_byte() {
    let asset = sample();
    let mut whole = Vec::new();
    asset.write_to(&mut whole, &WriteOptions::default(), &mut |_, _| {}).expect("is written");
    for room in 0..=whole.len() as u64 {
        let mut sink = Full { room };
        match asset.write_to(&mut sink, &WriteOptions::default(), &mut |_, _| {}) {
            Ok(_) => assert_eq!(room, whole.len() as u64),
            Err(AssetError::DiskFull { .. }) => assert!(room < whole.len() as u64),
            Err(other) => panic!("{other}"),
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_full_device() {
    let mut sink = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("exists");
    let error = sample().write_to(&mut sink, &WriteOptions::default(), &mut |_, _| {}).expect_err("is full");
    assert_eq!(error.code(), "asset.disk_full");
}

/// An empty folder of this test.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("coreai-write-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("is a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let folder = scratch("failure");
    let target = folder.join("model.aimodel");
    let options = WriteOptions { replace: true, ..WriteOptions::default() };
    let length = 5 << 20;
    for fails_at in (0..length).step_by(1 << 20) {
        let asset = with_weights(Virtual { length, fails_at }, Some(9));
        let error = asset.save(&target, &options, &mut |_, _| {}).expect_err("fails");
        assert_eq!(error.code(), "asset.source");
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
    // neither does one that replaces an asset
    sample().save(&target, &options, &mut |_, _| {}).expect("is saved");
    let before = std::fs::read(target.join("main.hash")).expect("a hash");
    let asset = with_weights(Virtual { length, fails_at: 1 << 20 }, Some(9));
    asset.save(&target, &options, &mut |_, _| {}).expect_err("fails");
    assert_eq!(names(&folder), ["model.aimodel"]);
    assert_eq!(std::fs::read(target.join("main.hash")).expect("a hash"), before);
    std::fs::remove_dir_all(folder).expect("is removed");
}

#[test]
fn folders_are_replaced_only_when_asked() {
    let folder = scratch("replace");
    let target = folder.join("model.aimodel");
    let keep = WriteOptions::default();
    let replace = WriteOptions { replace: true, ..keep };
    let asset = sample();
    asset.save(&target, &keep, &mut |_, _| {}).expect("is saved");
    assert_eq!(names(&target), ["main.hash", "main.mlirb", "metadata.json"]);
    let error = asset.save(&target, &keep, &mut |_, _| {}).expect_err("exists");
    assert_eq!(error.code(), "asset.exists");
    // an asset that is open can be replaced by itself
    let open = Asset::open(&target).expect("opens");
    open.save(&target, &replace, &mut |_, _| {}).expect("is replaced");
    assert_eq!(Asset::open(&target).expect("opens").metadata, asset.metadata);
    assert_eq!(names(&folder), ["model.aimodel"]);
    // what is no asset stays
    let other = folder.join("photos");
    std::fs::create_dir(&other).expect("a folder");
    std::fs::write(other.join("a.jpg"), "x").expect("a file");
    for path in [&other, &other.join("a.jpg")] {
        let error = asset.save(path, &replace, &mut |_, _| {}).expect_err("exists");
        assert_eq!(error.code(), "asset.exists");
    }
    let error = asset.save(&folder.join("none/model.aimodel"), &keep, &mut |_, _| {}).expect_err("no folder");
    assert_eq!(error.code(), "asset.write");
    std::fs::remove_dir_all(folder).expect("is removed");
}

#[test]
fn what_cannot_be_written() {
    let write = |asset: &Asset| asset.write_to(&mut Vec::new(), &WriteOptions::default(), &mut |_, _| {});
    let refused = |change: &dyn Fn(&mut Asset), reason: &str| {
        let mut asset = sample();
        change(&mut asset);
        let error = write(&asset).expect_err(reason);
        assert_eq!(error.code(), "asset.unwritable", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    refused(
        &|asset| asset.functions[0].declaration.retain(|(name, _)| *name != "functionType"),
        "functionType is missing",
    );
    refused(
        &|asset| {
            asset.functions.clear();
        },
        "more graph_v1",
    );
    refused(
        &|asset| {
            let copy = asset.functions[0].clone();
            asset.functions.push(copy);
        },
        "has no place",
    );
    refused(&|asset| asset.functions[0].location = crate::types::AttrId(1 << 20), "attribute 1048576");
    refused(
        &|asset| {
            let ops = &mut asset.functions[0].body.ops;
            ops.reverse();
        },
        "is not defined there",
    );
    refused(
        &|asset| {
            let mut deep = Attribute::Unit;
            for _ in 0..100 {
                deep = Attribute::Array(vec![deep]);
            }
            asset.functions[0].declaration.retain(|(name, _)| *name != "argAttrs");
            asset.functions[0].declaration.push(("argAttrs", deep));
        },
        "nested deeper",
    );
    refused(
        &|asset| {
            let id = asset.tables.types.len() as u32;
            asset.tables.types.push(Type::Handle(TypeId(id)));
            asset.functions[0].body.scope.as_mut().expect("is isolated").types[0] = TypeId(id);
        },
        "a cycle",
    );
}
