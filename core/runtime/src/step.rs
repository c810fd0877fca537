//! What a plan consists of: buffers, views and steps.
//!
//! A plan is a list of steps in execution order. Each step is one [`Kernel`] over strided views.
//! Both compute units execute the same steps; the CPU unit is the reference for the GPU's kernels.

use std::sync::Arc;

use coreai_asset::{ConstantRef, ElementType};

use crate::expr::Expr;
use crate::map::MapProg;

/// Register kind of an element inside a kernel. Intermediates take one 32-bit word per element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// All floating-point dtypes.
    F32,
    /// Signed integers up to 32 bits, sign-extended.
    I32,
    /// Unsigned integers up to 32 bits, zero-extended.
    U32,
    /// 0 or 1.
    Bool,
}

/// Index into [`Plan::buffers`](crate::plan::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// How the elements of a buffer lie in memory. Storage is not dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// One 32-bit word per element (f32, i32, u32, bool as 0/1). All intermediates.
    Word,
    /// Two binary16 per word, element 0 in the low half.
    F16,
    /// Two bfloat16 per word.
    BF16,
    /// Four bytes per word, sign- or zero-extended on load.
    Byte {
        /// Sign-extend.
        signed: bool,
    },
    /// Compressed weights, dequantized on load.
    Quant(Arc<QuantFormat>),
}

/// What a code of a compressed weight stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Its own number.
    Plain,
    /// Its number less this one: a zero point that all blocks share.
    Less(i16),
    /// Half its entry of this table, which has one for every code.
    Table(Arc<[i16]>),
}

impl Meaning {
    /// The number that a code stands for; `code` is sign-extended where its type is signed.
    pub fn value(&self, code: i32) -> f32 {
        match self {
            Meaning::Plain => code as f32,
            Meaning::Less(zero) => (code - i32::from(*zero)) as f32,
            Meaning::Table(halves) => {
                let entry = usize::try_from(code).ok().and_then(|code| halves.get(code));
                entry.map_or(0.0, |half| f32::from(*half) * 0.5)
            }
        }
    }
}

/// `blockwise_shift_scale` over constant data: `scale * (code - zero) + min`, with one scale, zero
/// and min per block, and for `code` what it means. Row-major over `dims`.
///
/// Parts follow each other in one device buffer: codes, scales, zeros, mins, each padded to a
/// multiple of 4 bytes, per segment of `segment_rows` outermost rows (see [`QuantFormat::parts`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuantFormat {
    /// Element type of the codes: integers of 1–8 bits, or F4E2M1 through a table.
    pub code: ElementType,
    /// What the codes stand for.
    pub meaning: Meaning,
    /// Extents of the data. Row-major; `dims[0]` is the row axis.
    pub dims: Vec<u64>,
    /// Block extent per axis: `dims[i] / scale.dims[i]`.
    pub blocks: Vec<u64>,
    /// Scale element type: F16, BF16 or F32, or F8E8M0 where there is no minimum.
    pub scale: ElementType,
    /// Zero point stored like the codes but one byte each (absent when it is constantly 0).
    pub zero: bool,
    /// Minimum, stored in the scale's type (absent when it is constantly 0).
    pub min: bool,
}

/// Where the parts of a constant lie in the asset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuantSource {
    /// Codes.
    pub codes: ConstantRef,
    /// Codes are stored one per byte although they have fewer bits.
    pub codes_unpacked: bool,
    /// Scales, `dims / blocks` elements.
    pub scale: ConstantRef,
    /// Zero points (same extents as the scales) and whether they lie one per byte.
    pub zero: Option<(ConstantRef, bool)>,
    /// Minimums.
    pub min: Option<ConstantRef>,
}

/// What a buffer is to the plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Produced and consumed inside a run; lives in the arena.
    Temp,
    /// Function input number `n` (states excluded). The host converts it to [`Storage::Word`].
    Input(usize),
    /// Function output number `n` (tokens excluded). The host converts from [`Storage::Word`].
    Output(usize),
    /// State number `n`.
    State(usize),
    /// Bytes of the asset, in the buffer's storage.
    Constant(ConstantRef),
    /// Compressed weight.
    Quant(QuantSource),
    /// Computed on the host when the plan was made; words or bytes in the buffer's storage.
    Host(Arc<Vec<u8>>),
}

/// A buffer of the plan.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Role.
    pub role: Role,
    /// Register kind after loading.
    pub kind: Kind,
    /// Layout.
    pub storage: Storage,
    /// Number of elements.
    pub elements: Expr,
}

/// A strided window of a buffer, in elements. Broadcast axes have stride 0.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Which buffer.
    pub buffer: BufferId,
    /// Element offset of index 0.
    pub offset: Expr,
    /// Extents.
    pub dims: Vec<Expr>,
    /// Element strides, may be negative or 0.
    pub strides: Vec<Expr>,
}

/// Rounding applied where a value is materialized in `fast` mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// Keep float32 (or the value is an integer).
    None,
    /// To binary16.
    F16,
    /// To bfloat16.
    BF16,
}

/// Reduction operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ReduceOp {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    All,
    Any,
}

/// Normalization over the last axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Subtract the mean first (layer norm); otherwise RMS norm.
    pub center: bool,
    /// Added to the mean square or variance.
    pub eps: f32,
}

/// Padding modes of `pad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PadMode {
    Circular,
    Constant,
    Reflect,
    Replicate,
    Symmetric,
}

/// How `scatter_along_axis` combines an update with what is there. Of bools, `Add` and `Max` are or,
/// `Sub` is exclusive or, the others are and. A NaN update neither is larger nor smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ScatterMode {
    Update,
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

/// What a step computes. `reads` and `writes` are the step's views; dims are given as `[..]`.
///
/// Integer parameters that are fixed at planning are plain numbers; everything that may depend on
/// a symbol is in the views or in an [`Expr`].
#[derive(Clone, Debug, PartialEq)]
pub enum Kernel {
    /// Elementwise program: every read has the dims of `writes[0]`. Copies, casts, broadcasts and
    /// transposes are programs of one load.
    Map(MapProg),
    /// `reads[0]` A `[batch.., m, k]`; `reads[1..=weights]` B_i `[batch.., k, n]`; with `norm`, the
    /// next read is the norm's scale `[k]` and A is normalized along k first; the rest are operands
    /// of the epilogue `[batch.., m, n]`. `writes[0]` `[batch.., m, n]`.
    ///
    /// Without epilogue the result is A·B_0. The epilogue's loads 0..weights are A·B_i, then the
    /// epilogue operands in order. Integer kinds multiply in wrapping 32-bit.
    MatMul {
        /// Number of B operands (all of equal dims, storage and strides).
        weights: usize,
        /// RMS norm of A's rows fused as a prologue; only for small m.
        norm: Option<Norm>,
        /// Applied to the accumulators.
        epilogue: Option<MapProg>,
    },
    /// `reads[0]` `[kept.., reduced..]`, `writes[0]` `[kept..]`.
    Reduce {
        /// Operator.
        op: ReduceOp,
        /// Number of trailing reduced axes.
        axes: usize,
    },
    /// Over the last axis of `reads[0]`; same dims written.
    Softmax,
    /// `reads[0]` x `[.., n]`, `reads[1]` scale `[.., n]`, with `center` and a third read: bias.
    Norm(Norm),
    /// Rotary embedding on the last axis. `reads[0]` x `[b, h, t, d]`; then either
    /// positions (I32) `[b, h, t]` and frequencies `[rotated / 2]`, or cos and sin
    /// `[b, h, t, rotated / 2]`. Elements `rotated..d` are copied.
    Rope {
        /// Number of leading elements of the last axis that are rotated.
        rotated: usize,
        /// Pairs are (2i, 2i+1) instead of (i, i + rotated/2).
        interleaved: bool,
        /// cos and sin are given.
        tables: bool,
    },
    /// Scaled dot-product attention with online softmax; no S×S buffer.
    /// `reads`: query `[b, hq, t, d]`, key `[b, hk, s, d]`, value `[b, hk, s, dv]`, then mask
    /// `[b, hq, t, s]` if `mask`, then sinks `[hq]` if `sinks`. `writes[0]` `[b, hq, t, dv]`.
    /// Query head h uses key head `h / (hq / hk)`.
    Attention {
        /// Multiplies q·k.
        scale: f32,
        /// Key j is visible to query i when `j <= i + s - t`.
        causal: bool,
        /// And `j > i + s - t - window`; 0 is no window.
        window: u32,
        /// A mask operand: F32 kind is added, Bool kind adds `hidden` where 0.
        mask: bool,
        /// What hides a score: a row of nothing else still has its softmax.
        hidden: f32,
        /// One extra logit per head that takes part in the softmax's denominator only.
        sinks: bool,
    },
    /// `gather_nd`: `reads[0]` x `[d_0.., rest..]`, `reads[1]` index (I32) `[outer.., q]`,
    /// `writes[0]` `[outer.., rest..]`. Negative indices wrap once; out of range is an error.
    GatherNd,
    /// `gather_along_axis`: index and result have the same dims; `reads[0]` has the same rank.
    GatherAlong {
        /// Axis of the index.
        axis: usize,
    },
    /// `scatter_along_axis`: `reads[0]` x, `reads[1]` index (I32), `reads[2]` updates with the dims of
    /// the index; they differ from those of x along the axis only. `writes[0]` x with the updates
    /// applied in row-major order, so that of equal indices the last one wins or all of them count.
    /// Indices as in [`Kernel::GatherNd`].
    ScatterAlong {
        /// Axis of the index.
        axis: usize,
        /// How an update combines with what is there.
        mode: ScatterMode,
    },
    /// `scatter_nd` that replaces: `reads[0]` x `[d_0.., rest..]`, `reads[1]` index (I32)
    /// `[outer.., q]`, `reads[2]` updates `[outer.., rest..]`, `writes[0]` x with the updates; of equal
    /// indices the last wins. Indices as in [`Kernel::GatherNd`].
    ScatterNd,
    /// `pad`: `writes[0].dims = reads[0].dims + before + after`. `before` per axis; `value` is the
    /// bit pattern for [`PadMode::Constant`].
    Pad {
        /// Mode.
        mode: PadMode,
        /// Elements before, per axis.
        before: Vec<Expr>,
        /// Bits of the constant in the read's kind.
        value: u32,
    },
    /// 1–3 spatial axes. `reads[0]` `[n, c_in, spatial..]`, `reads[1]` weight
    /// `[c_out, c_in / groups, k..]` (transposed: `[c_in, c_out / groups, k..]`); with an epilogue,
    /// the further reads are its operands with the dims of `writes[0]` `[n, c_out, out..]`, and its
    /// load 0 is the accumulator.
    Conv {
        /// Per spatial axis.
        stride: Vec<u32>,
        /// Per spatial axis.
        dilation: Vec<u32>,
        /// Transposed convolution only: cropped from each side, per spatial axis.
        padding: Vec<u32>,
        /// Groups.
        groups: u32,
        /// Transposed convolution.
        transposed: bool,
        /// Applied to the accumulator.
        epilogue: Option<MapProg>,
    },
    /// Window reduction over the trailing spatial axes of `[n, c, spatial..]`; windows may reach
    /// over the end only in ceil mode, where they are clipped. Max or Sum.
    Pool {
        /// Max or Sum.
        op: ReduceOp,
        /// Per spatial axis.
        kernel: Vec<u32>,
        /// Per spatial axis.
        stride: Vec<u32>,
        /// Per spatial axis.
        dilation: Vec<u32>,
    },
    /// `interpolate`: `reads[0]` x, `reads[1]` scale and `reads[2]` offset (F32, `[rank]`). Per axis
    /// `coord = (o + 0.5 - offset) / scale - 0.5`, clamped to the edge; N-linear, or nearest with ties
    /// to even. Integers are interpolated as floats and truncated.
    Resize {
        /// Nearest neighbour instead of linear.
        nearest: bool,
        /// Per axis, whether it may be resampled; the others have scale 1, offset 0 and keep their extent.
        sampled: Vec<bool>,
    },
    /// `interpolate_coordinates`: `reads[0]` x, `reads[1]` coordinates (F32) `[n, rank]`, `writes[0]`
    /// `[n]`. Clamped and rounded as in [`Kernel::Resize`].
    Sample {
        /// Nearest neighbour instead of linear.
        nearest: bool,
    },
    /// Inclusive scan along the last axis. Sum, Product, Min or Max.
    Scan {
        /// Operator.
        op: ReduceOp,
        /// Suffix instead of prefix.
        reverse: bool,
    },
    /// Along the last axis, stable; NaN last in both directions. Writes values, or I32 indices.
    Sort {
        /// Largest first.
        descending: bool,
        /// Write indices (I32) instead of values.
        indices: bool,
    },
    /// Index (U32) of the first largest element of the last axis; NaN never wins.
    /// `reads[0]` `[.., n]`, `writes[0]` `[..]`.
    ArgMax,
}

impl Kernel {
    /// Whether operand 1 holds indices that are checked while the kernel runs.
    pub fn indexes(&self) -> bool {
        matches!(
            self,
            Kernel::GatherNd | Kernel::GatherAlong { .. } | Kernel::ScatterNd | Kernel::ScatterAlong { .. }
        )
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is computed.
    pub kernel: Kernel,
    /// Operands.
    pub reads: Vec<View>,
    /// Results. A state may be written in place: it is then not among `reads`.
    pub writes: Vec<View>,
    /// Rounding of every written float.
    pub round: Round,
    /// Which op of the asset this came from.
    pub origin: Origin,
}

/// The op a step came from, for errors, reports and traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Op or composite name as the asset spells it.
    pub op: Arc<str>,
    /// Number of the op in the flattened function.
    pub node: u32,
    /// `file:line` of the Python source when the asset has it.
    pub source: Option<Arc<str>>,
}
