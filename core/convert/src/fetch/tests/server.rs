//! A server of canned files that can be unreliable.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fetch::{Network, Progress};

/// An answer to an address.
#[derive(Clone)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Ranges are answered by the part that is asked for.
    pub ranges: bool,
    /// After so many bytes of a body the connection ends, for so many answers.
    pub cut: Option<(usize, usize)>,
    /// Before a connection is cut, nothing happens for so long.
    pub silence: Duration,
}

impl Page {
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            ranges: true,
            cut: None,
            silence: Duration::ZERO,
        }
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::new("") }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    pages: Mutex<BTreeMap<String, Page>>,
    seen: Mutex<Vec<Seen>>,
    closed: AtomicBool,
}

/// Ends when dropped.
pub struct Server {
    pub url: String,
    state: Arc<State>,
}

impl Server {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    break;
                }
                let shared = shared.clone();
                std::thread::spawn(move || drop(answer(&shared, stream.unwrap())));
            }
        });
        Self { url, state }
    }

    pub fn put(&self, path: &str, page: Page) {
        self.state.pages.lock().unwrap().insert(path.into(), page);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Requests for whole or partial contents of an address.
    pub fn gets(&self, path: &str) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|seen| seen.method == "GET" && seen.path.split('?').next() == Some(path)).collect()
    }

    pub fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn answer(state: &State, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_string);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_string()),
            None => break,
        };
    }
    let from: Option<usize> = headers
        .get("range")
        .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    state.seen.lock().unwrap().push(Seen { method: method.clone(), path: path.clone(), headers });
    let page = {
        let mut pages = state.pages.lock().unwrap();
        let page = pages.get_mut(path.split('?').next().unwrap());
        let copy = page.as_ref().map_or(Page::status(404), |page| (*page).clone());
        if let Some(Page { cut: Some((_, times)), .. }) = page.filter(|_| method == "GET") {
            *times = times.saturating_sub(1);
        }
        copy
    };
    let mut status = page.status;
    let mut body = page.body.as_slice();
    let mut extra = String::new();
    if let Some(from) = from.filter(|_| page.ranges && status == 200) {
        status = if from < body.len() { 206 } else { 416 };
        let end = body.len().saturating_sub(1);
        extra = match status {
            206 => format!("Content-Range: bytes {from}-{end}/{}\r\n", body.len()),
            _ => format!("Content-Range: bytes */{}\r\n", body.len()),
        };
        body = body.get(from..).unwrap_or(&[]);
    }
    for (name, value) in &page.headers {
        extra += &format!("{name}: {value}\r\n");
    }
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{extra}\r\n",
        body.len()
    )?;
    if method == "GET" {
        let end =
            page.cut.filter(|(_, times)| *times > 0).map_or(body.len(), |(bytes, _)| bytes.min(body.len()));
        stream.write_all(&body[..end])?;
        if end < body.len() {
            stream.flush()?;
            std::thread::sleep(page.silence);
        }
    }
    stream.flush()
}

/// Gives up soon, and knows no proxy.
pub fn impatient(attempts: u32) -> Network {
    Network { proxy: false, attempts, pause: Duration::from_millis(1), silence: Duration::from_secs(10) }
}

/// A folder that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = format!("coreai-fetch-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// All that a progress hears.
#[derive(Default)]
pub struct Heard(pub Vec<String>);

impl Progress for Heard {
    fn plan(&mut self, files: usize, bytes: Option<u64>) {
        self.0.push(format!("plan {files} {bytes:?}"));
    }

    fn wait(&mut self, file: &str) {
        self.0.push(format!("wait {file}"));
    }

    fn start(&mut self, file: &str, total: Option<u64>) {
        self.0.push(format!("start {file} {total:?}"));
    }

    fn advance(&mut self, bytes: u64) {
        match self.0.last_mut().and_then(|last| last.strip_prefix("at ")?.parse::<u64>().ok()) {
            Some(at) => *self.0.last_mut().unwrap() = format!("at {}", at + bytes),
            None => self.0.push(format!("at {bytes}")),
        }
    }

    fn finish(&mut self) {
        self.0.push("finish".into());
    }
}

/// Bytes without a pattern that a wrong offset could repeat.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
