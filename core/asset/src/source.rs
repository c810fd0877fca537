//! Where the bytes of `main.mlirb` come from.

mod joined;
mod kept;
#[cfg(not(target_arch = "wasm32"))]
mod mapped;

use std::borrow::Cow;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

pub(crate) use joined::Joined;
pub use kept::KeptSource;
#[cfg(not(target_arch = "wasm32"))]
pub use mapped::MappedFile;

use crate::error::AssetError;

/// `Send + Sync` natively; nothing on wasm, where everything is single-threaded.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSendSync: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> MaybeSendSync for T {}

/// `Send + Sync` natively; nothing on wasm, where everything is single-threaded.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSendSync {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSendSync for T {}

/// The result of [`ByteSource::read`].
#[cfg(not(target_arch = "wasm32"))]
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>, AssetError>> + Send + 'a>>;
/// The result of [`ByteSource::read`].
#[cfg(target_arch = "wasm32")]
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>, AssetError>> + 'a>>;

/// The result of [`ByteSource::bring_missed`].
#[cfg(not(target_arch = "wasm32"))]
pub type BringFuture<'a> = Pin<Box<dyn Future<Output = Result<bool, AssetError>> + Send + 'a>>;
/// The result of [`ByteSource::bring_missed`].
#[cfg(target_arch = "wasm32")]
pub type BringFuture<'a> = Pin<Box<dyn Future<Output = Result<bool, AssetError>> + 'a>>;

/// Random access to the bytes of a file, in memory or far away.
pub trait ByteSource: MaybeSendSync {
    /// Length of the file in bytes.
    fn len(&self) -> u64;

    /// True for a file of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range, exactly as many as asked for. Native sources return ready futures.
    fn read(&self, range: Range<u64>) -> ReadFuture<'_>;

    /// The bytes of a range without a copy, where they lie in memory or are mapped. The source of a
    /// file answers every valid range or none; that of a built asset answers for some constants.
    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        let _ = range;
        None
    }

    /// Brings what [`slice`](ByteSource::slice) was asked for in vain. True when there is something
    /// new: what failed for want of it may be tried again. A file in memory has nothing to bring.
    fn bring_missed(&self) -> BringFuture<'_> {
        Box::pin(std::future::ready(Ok(false)))
    }
}

/// A file held in memory.
pub struct MemorySource(pub Vec<u8>);

impl ByteSource for MemorySource {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        ready_slice(self, range)
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        sub_slice(&self.0, range)
    }
}

fn sub_slice(bytes: &[u8], range: Range<u64>) -> Option<&[u8]> {
    let start = usize::try_from(range.start).ok()?;
    let end = usize::try_from(range.end).ok()?;
    bytes.get(start..end)
}

fn ready_slice(source: &dyn ByteSource, range: Range<u64>) -> ReadFuture<'_> {
    let answer = source.slice(range.clone()).map(Cow::Borrowed).ok_or(AssetError::Source {
        start: range.start,
        end: range.end,
        reason: format!("the file has {} bytes", source.len()),
    });
    Box::pin(std::future::ready(answer))
}

/// Reads and checks that the source kept its promise about the length.
pub(crate) async fn read_exact(
    source: &dyn ByteSource,
    range: Range<u64>,
) -> Result<Cow<'_, [u8]>, AssetError> {
    let wanted = range.end.saturating_sub(range.start);
    let bytes = source.read(range.clone()).await?;
    if bytes.len() as u64 != wanted {
        return Err(AssetError::Source {
            start: range.start,
            end: range.end,
            reason: format!("the source returned {} bytes", bytes.len()),
        });
    }
    Ok(bytes)
}

/// Runs a future that is ready at once, as those of native sources are.
pub(crate) fn ready<T>(future: impl Future<Output = Result<T, AssetError>>) -> Result<T, AssetError> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => Err(AssetError::Source {
            start: 0,
            end: 0,
            reason: "the source is asynchronous; use the async function".into(),
        }),
    }
}
