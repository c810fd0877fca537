//! One file, in as many requests as it takes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Progress;
use super::client::{Client, Reply, Request};
use super::disk::{file_error, remove};
use crate::error::ConvertError;

/// Bytes of the buffer between connection and file.
const CHUNK: usize = 1 << 16;
/// Bytes that must arrive before earlier failures are forgiven, so that their number stays bounded.
const FORGIVEN: u64 = 1 << 20;

/// What is fetched.
pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    /// Named by errors and by the progress.
    pub what: &'a str,
    pub url: &'a str,
    pub authorization: Option<&'a str>,
    /// Bytes, where they are known beforehand.
    pub size: Option<u64>,
    /// More bytes are refused.
    pub limit: u64,
    /// Hexadecimal, in lower case.
    pub sha256: Option<&'a str>,
}

/// A file that grows, and the hash of what it holds.
struct Part<'a> {
    path: &'a Path,
    file: File,
    have: u64,
    hash: Option<Sha256>,
}

/// A progress that begins when the length is known.
struct Heard<'a> {
    progress: &'a mut dyn Progress,
    started: bool,
}

impl Heard<'_> {
    /// Begins, unless that was said, with what is there.
    fn start(&mut self, what: &str, total: Option<u64>, have: u64) {
        if !self.started {
            self.started = true;
            self.progress.start(what, total);
            self.progress.advance(have);
        }
    }
}

/// Why a body ended.
enum End {
    Whole,
    /// The connection broke.
    Cut(String),
}

impl Transfer<'_> {
    /// Completes the file `path`, whose caller holds its lock, from what an earlier call left. The content is
    /// on the disk when this returns.
    pub fn run(&self, path: &Path, progress: &mut dyn Progress) -> Result<(), ConvertError> {
        let mut part = Part::open(path, self.sha256.is_some(), self.size.unwrap_or(self.limit))?;
        let mut heard = Heard { progress, started: false };
        let mut failures = 0;
        let mut furthest = part.have;
        while self.size != Some(part.have) {
            match self.request(&mut part, &mut heard)? {
                End::Whole if self.size.is_none_or(|size| size == part.have) => break,
                end => {
                    if part.have >= furthest.saturating_add(FORGIVEN) {
                        failures = 0;
                        furthest = part.have;
                    }
                    failures += 1;
                    if failures >= self.client.network.attempts {
                        return Err(self.broken(end, part.have));
                    }
                    let pause = self.client.network.pause;
                    std::thread::sleep(pause.saturating_mul(1 << (failures - 1).min(6)));
                }
            }
        }
        heard.start(self.what, Some(part.have), part.have);
        self.check(part)?;
        heard.progress.finish();
        Ok(())
    }

    /// One request for what is missing.
    fn request(&self, part: &mut Part, heard: &mut Heard) -> Result<End, ConvertError> {
        let request = Request {
            url: self.url,
            head: false,
            authorization: self.authorization,
            accept: None,
            from: part.have,
        };
        let reply = match self.client.send(&request) {
            Ok(reply) => reply,
            Err(failure) if failure.unreachable => return Ok(End::Cut(failure.reason)),
            Err(failure) => return Err(failure.about(self.what)),
        };
        match reply.status {
            206 if reply.range_start() == Some(part.have) => self.receive(reply, part, heard),
            200 => {
                // the server does not know ranges
                if part.have > 0 {
                    part.empty()?;
                    heard.started = false;
                }
                self.receive(reply, part, heard)
            }
            206 | 416 if part.have > 0 => {
                part.empty()?;
                heard.started = false;
                Ok(End::Cut("the server cannot continue where the file ends".into()))
            }
            408 | 429 | 500..=599 => Ok(End::Cut(format!("the server answers with status {}", reply.status))),
            _ => Err(reply.refusal(self.what)),
        }
    }

    fn receive(&self, reply: Reply, part: &mut Part, heard: &mut Heard) -> Result<End, ConvertError> {
        let limit = self.size.unwrap_or(self.limit);
        let expected = reply.length();
        let begin = part.have;
        let total = expected.and_then(|length| begin.checked_add(length));
        if total.is_some_and(|total| total > limit) {
            return Err(self.too_long(part, limit));
        }
        heard.start(self.what, self.size.or(total), begin);
        let mut reader = reply.reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(End::Cut(format!("the connection broke: {error}"))),
            };
            if part.have.saturating_add(count as u64) > limit {
                return Err(self.too_long(part, limit));
            }
            part.append(buffer.get(..count).unwrap_or(&[]))?;
            heard.progress.advance(count as u64);
        }
        match expected {
            Some(length) if part.have - begin < length => Ok(End::Cut("the connection ended early".into())),
            _ => Ok(End::Whole),
        }
    }

    fn too_long(&self, part: &Part, limit: u64) -> ConvertError {
        if let Err(error) = remove(part.path) {
            return error;
        }
        ConvertError::Download {
            what: self.what.into(),
            reason: format!("the server sends more than the {limit} bytes it should"),
            advice: "check the address, or run it again".into(),
        }
    }

    fn broken(&self, end: End, have: u64) -> ConvertError {
        let reason = match end {
            End::Cut(reason) => reason,
            End::Whole => "the server sends less than it announced".into(),
        };
        let of = self.size.map_or(String::new(), |size| format!(" of {size}"));
        ConvertError::Download {
            what: self.what.into(),
            reason: format!("{reason} ({have}{of} bytes are here)"),
            advice: "check the network and run it again: the download continues where it stopped".into(),
        }
    }

    /// Compares the hash and writes everything to the disk.
    fn check(&self, part: Part) -> Result<(), ConvertError> {
        part.file.sync_all().map_err(|error| file_error(part.path, &error))?;
        let (Some(hash), Some(expected)) = (part.hash, self.sha256) else { return Ok(()) };
        let found = hex(&hash.finalize());
        if found != expected {
            remove(part.path)?;
            return Err(wrong_hash(self.what, &found, expected));
        }
        Ok(())
    }
}

impl<'a> Part<'a> {
    /// Opens what an earlier call left, unless it is longer than it may be.
    fn open(path: &'a Path, hashed: bool, limit: u64) -> Result<Self, ConvertError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|error| file_error(path, &error))?;
        let mut part = Self { path, file, have: 0, hash: hashed.then(Sha256::new) };
        let length = part.file.metadata().map_err(|error| file_error(path, &error))?.len();
        if length > limit {
            part.empty()?;
        } else if let Some(hash) = &mut part.hash {
            part.have = std::io::copy(&mut part.file, hash).map_err(|error| file_error(path, &error))?;
        } else {
            part.have = part.file.seek(SeekFrom::End(0)).map_err(|error| file_error(path, &error))?;
        }
        Ok(part)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        self.file.write_all(bytes).map_err(|error| file_error(self.path, &error))?;
        self.have += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    fn empty(&mut self) -> Result<(), ConvertError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| file_error(self.path, &error))?;
        self.have = 0;
        self.hash = self.hash.as_ref().map(|_| Sha256::new());
        Ok(())
    }
}

/// Bytes as hexadecimal digits in lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The error of a file that is not the expected one, and was removed.
pub(super) fn wrong_hash(what: &str, found: &str, expected: &str) -> ConvertError {
    ConvertError::Download {
        what: what.into(),
        reason: format!("its SHA-256 is {found}, expected {expected}; the file was removed"),
        advice: "run it again; if it is wrong again, the server holds another file than the expected one"
            .into(),
    }
}
