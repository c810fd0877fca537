//! Ranges of a source.

use std::borrow::Cow;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use coreai_asset::{AssetError, ByteSource};

/// The bytes of a range: borrowed where the source lies in memory, else read. Exactly as many as asked for.
pub(crate) fn bytes_of(source: &dyn ByteSource, range: Range<u64>) -> Result<Cow<'_, [u8]>, AssetError> {
    if let Some(bytes) = source.slice(range.clone()) {
        return Ok(Cow::Borrowed(bytes));
    }
    let failed = |reason: String| AssetError::Source { start: range.start, end: range.end, reason };
    let answer = pin!(source.read(range.clone())).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(bytes) = answer else {
        return Err(failed("the source is asynchronous; checkpoints are read from files".into()));
    };
    let bytes = bytes?;
    if bytes.len() as u64 != range.end.saturating_sub(range.start) {
        return Err(failed(format!("the source returned {} bytes", bytes.len())));
    }
    Ok(bytes)
}
