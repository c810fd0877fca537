//! Draws operands into a graph.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use coreai_asset::{ConstantRef, ElementType};

use super::Case;
use super::random::{Rng, Spice, array};
use crate::error::Error;
use crate::expr::Expr;
use crate::facts::{Fact, MAX_CONTENT, is_integer};
use crate::graph::{Graph, NewNode, NodeKind, Source, Val};
use crate::host::{Elements, decode, encode};
use crate::ndarray::NDArray;
use crate::ops::{HOST, Op, find};

/// Extents: small ones, 0, and both sides of what kernels work on at once.
const EXTENTS: &[usize] = &[1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130];
/// Most elements of a tensor that is drawn.
const MAX_ELEMENTS: usize = 3000;

/// A graph as drawn, and the elements of everything that no node computes.
pub struct Drawn {
    pub graph: Graph,
    pub leaves: HashMap<Val, Arc<NDArray>>,
    /// Values of the graph's symbols.
    pub symbols: Vec<i64>,
    /// Bytes of the constants, which begin at this offset of the file.
    pub base: u64,
    pub constants: Vec<u8>,
}

impl Drawn {
    pub fn new(base: u64) -> Drawn {
        Drawn { graph: Graph::new("main"), leaves: HashMap::new(), symbols: vec![], base, constants: vec![] }
    }

    /// Draws a call; its results become outputs.
    pub fn add(&mut self, case: &Case, seed: u64, symbolic: bool) -> Result<(), Error> {
        let mut rng = Rng(seed);
        let spice = rng.pick(&[Spice::Mild, Spice::Mild, Spice::Wide, Spice::Special]);
        let mut draw = Draw {
            name: case.name,
            rng,
            drawn: self,
            symbolic,
            spice,
            constant_data: false,
            views: true,
            wanted: None,
            error: None,
        };
        draw.constant_data = draw.rng.once_in(12);
        let call = (case.draw)(&mut draw);
        let then = draw.rng.once_in(4);
        if let Some(error) = draw.error {
            return Err(error);
        }
        let declared: Vec<Fact> = call.results.iter().map(|e| Fact::new(*e, vec![])).collect();
        let new = NewNode {
            attrs: call.attrs,
            region: call.region,
            ..NewNode::plain(find(case.name).unwrap(), case.name.into(), call.inputs)
        };
        let mut results = self.graph.node(new, &declared)?;
        let element = declared[0].element;
        if let (true, [value]) = (then && element != ElementType::Bool, results.as_slice()) {
            // Something that fuses with it.
            results = self.node("primitive.abs_v1", vec![*value], element)?;
        }
        for v in results {
            self.graph.outputs.push((format!("y{}", v.0), v));
        }
        Ok(())
    }

    /// Draws a call alone, on inputs and of mild elements, whose first choice of an element type is
    /// `element`. Tells the type of the choice, or of the first operand where there is none, and whether the
    /// op's type rule takes the call. `None` when an operand cannot be made.
    pub fn probe(&mut self, case: &Case, seed: u64, element: ElementType) -> Option<(ElementType, bool)> {
        let mut draw = Draw {
            name: case.name,
            rng: Rng(seed),
            drawn: self,
            symbolic: false,
            spice: Spice::Mild,
            constant_data: false,
            views: false,
            wanted: Some(element),
            error: None,
        };
        let call = (case.draw)(&mut draw);
        let (left, error) = (draw.wanted, draw.error);
        if error.is_some() {
            return None;
        }
        let element = match left {
            None => element,
            Some(_) => self.graph.fact(*call.inputs.first()?).element,
        };
        let op = find(case.name).unwrap_or(&HOST);
        let new = NewNode {
            attrs: call.attrs,
            region: call.region,
            ..NewNode::plain(op, case.name.into(), call.inputs)
        };
        let declared: Vec<Fact> = call.results.iter().map(|e| Fact::new(*e, vec![])).collect();
        let typed = self.graph.infer(&new, &declared);
        let rule = typed.is_ok();
        for v in self.graph.push(new, typed.unwrap_or(declared)) {
            self.graph.outputs.push((format!("y{}", v.0), v));
        }
        Some((element, rule))
    }

    /// A state that is read into an output, or written from an input.
    pub fn state(
        &mut self,
        op: Option<&'static dyn Op>,
        name: &str,
        element: ElementType,
    ) -> Result<(), Error> {
        let dims = || vec![Expr::from(2i64), Expr::from(3i64)];
        let handle = self.graph.port("s".into(), Fact::new(element, dims()), true, 0, &mut || None);
        let token = self.graph.value(Fact::token(), Source::Constant);
        let op = op.unwrap_or(&HOST);
        let write = name.contains("write");
        let mut inputs = vec![handle];
        let mut declared = vec![Fact::token()];
        if write {
            inputs.push(self.graph.port("x".into(), Fact::new(element, dims()), false, 0, &mut || None));
        } else {
            declared.insert(0, Fact::new(element, dims()));
        }
        inputs.push(token);
        let results = self.graph.node(NewNode::plain(op, name.into(), inputs), &declared)?;
        if !write {
            self.graph.outputs.push(("y".into(), results[0]));
        }
        Ok(())
    }

    fn node(
        &mut self,
        name: &'static str,
        inputs: Vec<Val>,
        element: ElementType,
    ) -> Result<Vec<Val>, Error> {
        let new = NewNode::plain(find(name).unwrap(), name.into(), inputs);
        debug_assert!(matches!(new.kind, NodeKind::Plan));
        self.graph.node(new, &[Fact::new(element, vec![])])
    }

    fn input(&mut self, array: NDArray, symbolic: impl Fn(usize) -> bool) -> Val {
        let extents = array.shape.iter().enumerate();
        // As in a session, extents of 1 are constants of their variant.
        let dims = extents.map(|(i, n)| Expr::from(if symbolic(i) && *n != 1 { -1 } else { *n as i64 }));
        let fact = Fact::new(array.element, dims.collect());
        for (dim, n) in fact.dims.iter().zip(&array.shape) {
            if dim.is(-1) {
                self.symbols.push(*n as i64);
            }
        }
        let name = format!("x{}", self.graph.inputs.len());
        let v = self.graph.port(name, fact, false, 0, &mut || None);
        self.leaves.insert(v, Arc::new(array));
        v
    }

    /// A constant of the file; integers also as elements that the host knows, as flattening has them.
    fn constant(&mut self, array: NDArray) -> Val {
        let start = self.base + self.constants.len() as u64;
        self.constants.extend_from_slice(&array.data);
        let range = start..self.base + self.constants.len() as u64;
        self.constants.resize(self.constants.len().next_multiple_of(8), 0);
        let dims = array.shape.iter().map(|n| Expr::from(*n)).collect();
        let known = is_integer(array.element) || array.element == ElementType::Bool;
        let content = match decode(&array) {
            Ok(Elements::Int(ints)) if known && ints.len() <= MAX_CONTENT => {
                Some(ints.into_iter().map(Expr::from).collect())
            }
            _ => None,
        };
        let mut fact = Fact::new(array.element, dims).with_content(content);
        fact.constant = Some(ConstantRef { splat: false, range, resource: None });
        let v = self.graph.value(fact, Source::Constant);
        self.leaves.insert(v, Arc::new(array));
        v
    }
}

/// What a case draws with.
pub struct Draw<'a> {
    /// Serialized name of the op that is drawn.
    pub name: &'static str,
    /// Numbers for everything else.
    pub rng: Rng,
    drawn: &'a mut Drawn,
    symbolic: bool,
    spice: Spice,
    /// All data is constant: the host may evaluate the op.
    constant_data: bool,
    /// Operands may be seen through views.
    views: bool,
    /// What the next choice of an element type gives.
    wanted: Option<ElementType>,
    error: Option<Error>,
}

impl Draw<'_> {
    /// An element type.
    pub fn element(&mut self, from: &[ElementType]) -> ElementType {
        match self.wanted.take() {
            Some(element) => element,
            None => self.rng.pick(from),
        }
    }

    /// Whether the draw asks for types only, with the choices of its element types made.
    pub fn probes(&self) -> bool {
        !self.views
    }

    /// No spicier elements than these, from here on.
    pub fn at_most(&mut self, spice: Spice) {
        if self.spice > spice {
            self.spice = spice;
        }
    }

    /// Extents of a tensor; one in 20 is empty.
    pub fn dims(&mut self, ranks: RangeInclusive<usize>) -> Vec<usize> {
        let mut dims = self.solid(ranks);
        if !dims.is_empty() && self.rng.once_in(20) {
            let at = self.rng.below(dims.len());
            dims[at] = 0;
        }
        dims
    }

    /// Extents of a tensor that has elements.
    pub fn solid(&mut self, ranks: RangeInclusive<usize>) -> Vec<usize> {
        let rank = self.rng.between(*ranks.start() as i64, *ranks.end() as i64) as usize;
        let mut dims: Vec<usize> = vec![1; rank];
        // Large extents go to a random axis first.
        let first = self.rng.below(rank.max(1));
        for i in 0..rank {
            let left = MAX_ELEMENTS / dims.iter().product::<usize>();
            let extent = self.rng.pick(EXTENTS);
            dims[(first + i) % rank] = if extent <= left { extent } else { 1 + self.rng.below(left.min(4)) };
        }
        dims
    }

    /// Extents that broadcast to `dims`; with `shorter`, leading ones may be missing.
    pub fn stretched(&mut self, dims: &[usize], shorter: bool) -> Vec<usize> {
        let drop = if shorter && self.rng.once_in(2) { self.rng.below(dims.len() + 1) } else { 0 };
        dims[drop..].iter().map(|n| if self.rng.once_in(4) { 1 } else { *n }).collect()
    }

    /// A random axis, also counted from the end.
    pub fn axis(&mut self, rank: usize) -> (usize, Val) {
        let axis = self.rng.below(rank);
        let written = if self.rng.once_in(2) { axis as i64 } else { axis as i64 - rank as i64 };
        (axis, self.int(written))
    }

    /// Some distinct axes, as vector.
    pub fn axes(&mut self, rank: usize) -> Vec<i64> {
        let mut axes: Vec<i64> = vec![];
        for a in 0..rank {
            if self.rng.once_in(2) {
                axes.push(if self.rng.once_in(3) { a as i64 - rank as i64 } else { a as i64 });
            }
        }
        axes
    }

    /// Random elements.
    pub fn data(&mut self, element: ElementType, dims: &[usize]) -> Val {
        let spice = self.spice;
        self.seen(element, dims, &mut |rng, dims| array(rng, element, dims, spice))
    }

    /// Integers in `low..=high`.
    pub fn integers(&mut self, element: ElementType, dims: &[usize], low: i64, high: i64) -> Val {
        self.seen(element, dims, &mut |rng, dims| {
            let count: usize = dims.iter().product();
            let ints = (0..count).map(|_| rng.between(low, high)).collect();
            encode(element, dims, &Elements::Int(ints)).unwrap()
        })
    }

    /// Floats in `low..high`.
    pub fn reals(&mut self, element: ElementType, dims: &[usize], low: f64, high: f64) -> Val {
        self.seen(element, dims, &mut |rng, dims| {
            let count: usize = dims.iter().product();
            let reals = (0..count).map(|_| rng.real(low, high)).collect();
            encode(element, dims, &Elements::Real(reals)).unwrap()
        })
    }

    /// A constant.
    pub fn constant(&mut self, array: NDArray) -> Val {
        self.drawn.constant(array)
    }

    /// A constant of random elements.
    pub fn parameter(&mut self, element: ElementType, dims: &[usize]) -> Val {
        let array = array(&mut self.rng, element, dims, self.spice);
        self.constant(array)
    }

    /// A constant of which one element is stored.
    pub fn splat(&mut self, element: ElementType, dims: &[usize], value: f64) -> Val {
        let count = dims.iter().product();
        let all = match is_integer(element) {
            true => Elements::Int(vec![value as i64; count]),
            false => Elements::Real(vec![value; count]),
        };
        let v = self.drawn.constant(encode(element, dims, &all).unwrap());
        let width = (element.bits() as usize).div_ceil(8) as u64;
        if let Some(data) = &mut self.drawn.graph.facts[v.0 as usize].constant {
            data.splat = true;
            data.range.end = data.range.start + width.min(data.range.end - data.range.start);
        }
        v
    }

    /// A constant of codes that lie as densely as their bits, and all stand for numbers.
    pub fn codes(&mut self, element: ElementType, dims: &[usize]) -> Val {
        let (count, bits) = (dims.iter().product::<usize>(), element.bits() as usize);
        let array = array(&mut self.rng, element, dims, Spice::Mild);
        let mut dense = vec![0u8; (count * bits).div_ceil(8)];
        let mut whole = array.data.clone();
        if bits < 8 {
            for (i, byte) in whole.iter_mut().enumerate() {
                *byte = self.rng.below(1 << bits) as u8;
                for bit in 0..bits {
                    dense[(i * bits + bit) / 8] |= (*byte >> bit & 1) << ((i * bits + bit) % 8);
                }
                if matches!(element, ElementType::SI4 | ElementType::SI2) {
                    *byte = ((*byte << (8 - bits)) as i8 >> (8 - bits)) as u8;
                }
            }
        } else {
            dense.clone_from(&whole);
        }
        let v = self.drawn.constant(NDArray::new(element, dims.to_vec(), whole).unwrap());
        let start = self.drawn.base + self.drawn.constants.len() as u64;
        self.drawn.constants.extend_from_slice(&dense);
        let range = start..self.drawn.base + self.drawn.constants.len() as u64;
        self.drawn.constants.resize(self.drawn.constants.len().next_multiple_of(8), 0);
        if let Some(data) = &mut self.drawn.graph.facts[v.0 as usize].constant {
            data.range = range;
        }
        v
    }

    /// What codes stand for in a table of one dimension.
    pub fn looked_up(&mut self, codes: Val, element: ElementType, entries: &[i64], rank: usize) -> Val {
        let shape = [vec![1; rank], vec![entries.len(), 1]].concat();
        let table = self.constant(encode(element, &shape, &Elements::Int(entries.to_vec())).unwrap());
        let axis = self.int(0);
        self.through("primitive.lut_to_dense_v1", vec![codes, table, axis], element)
    }

    /// A constant scalar.
    pub fn int(&mut self, value: i64) -> Val {
        self.constant(encode(ElementType::SI32, &[], &Elements::Int(vec![value])).unwrap())
    }

    /// A constant vector.
    pub fn ints(&mut self, values: &[i64]) -> Val {
        self.constant(encode(ElementType::SI32, &[values.len()], &Elements::Int(values.to_vec())).unwrap())
    }

    /// A constant vector of extents.
    pub fn sizes(&mut self, values: &[usize]) -> Val {
        let ints = values.iter().map(|v| *v as i64).collect();
        self.constant(encode(ElementType::UI32, &[values.len()], &Elements::Int(ints)).unwrap())
    }

    /// A constant truth value.
    pub fn flag(&mut self, value: bool) -> Val {
        self.constant(encode(ElementType::Bool, &[], &Elements::Int(vec![value.into()])).unwrap())
    }

    /// A constant vector of float32.
    pub fn floats(&mut self, values: &[f64]) -> Val {
        self.constant(encode(ElementType::F32, &[values.len()], &Elements::Real(values.to_vec())).unwrap())
    }

    /// A constant float32.
    pub fn scalar(&mut self, value: f64) -> Val {
        self.constant(encode(ElementType::F32, &[], &Elements::Real(vec![value])).unwrap())
    }

    /// Positions along an axis, also counted from the end; in one draw of 16 some may be out of range.
    pub fn positions(&mut self, dims: &[usize], extent: usize) -> Val {
        let extent = extent as i64;
        let beyond = i64::from(self.rng.once_in(16));
        self.integers(ElementType::SI32, dims, -extent - beyond, extent - 1 + beyond)
    }

    /// Positions of parts of a tensor along its leading axes, and the extents of what they name.
    pub fn nd_index(&mut self, dims: &[usize]) -> (Val, Vec<usize>) {
        let leading = 1 + self.rng.below(dims.len());
        let mut lead: Vec<usize> = (0..self.rng.below(3)).map(|_| 1 + self.rng.below(5)).collect();
        let result = [&lead, &dims[leading..]].concat();
        lead.push(leading);
        let least = dims[..leading].iter().min().copied().unwrap_or(1);
        (self.positions(&lead, least), result)
    }

    /// First, last and step of a slice of every axis, and the extents of the slice.
    pub fn bounds(&mut self, dims: &[usize]) -> (Vec<Val>, Vec<usize>) {
        let (mut lists, mut result) = ([vec![], vec![], vec![]], vec![]);
        for n in dims {
            let n = *n as i64;
            let step = self.rng.pick(&[1i64, 1, 1, 2, 3, -1, -2]);
            let [mut a, mut b] = [0; 2].map(|_| self.rng.between(0, n));
            if (a > b) == (step > 0) {
                std::mem::swap(&mut a, &mut b);
            }
            if step < 0 {
                (a, b) = (a.min(n - 1).max(0), b.min(n - 1).max(0));
            }
            result.push(if n == 0 {
                0
            } else {
                (b - a).unsigned_abs().div_ceil(step.unsigned_abs()) as usize
            });
            let open = step > 0 && b == n && self.rng.once_in(2);
            let last = if open { i64::from(i32::MAX) } else { b };
            let first = if n > 0 && a < n && self.rng.once_in(3) { a - n } else { a };
            for (list, value) in lists.iter_mut().zip([first, last, step]) {
                list.push(value);
            }
        }
        (lists.iter().map(|l| self.ints(l)).collect(), result)
    }

    /// Other extents of as many elements; one of them may be −1.
    pub fn regrouped(&mut self, dims: &[usize]) -> Vec<i64> {
        let mut left: usize = dims.iter().product();
        let mut to = vec![];
        while left > 1 && to.len() < 4 {
            let divisors: Vec<usize> = (1..=left).filter(|n| left.is_multiple_of(*n)).collect();
            let n = self.rng.pick(&divisors);
            to.push(n as i64);
            left /= n;
        }
        if left > 1 || self.rng.once_in(3) {
            to.push(left as i64);
        }
        if !to.is_empty() && self.rng.once_in(3) {
            let at = self.rng.below(to.len());
            to[at] = -1;
        }
        to
    }

    /// The numbers of `rank` axes in any order.
    pub fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (0..rank).collect();
        for i in (1..rank).rev() {
            perm.swap(i, self.rng.below(i + 1));
        }
        perm
    }

    /// Elements made by `fill`, seen through a view as often as not.
    fn seen(
        &mut self,
        element: ElementType,
        dims: &[usize],
        fill: &mut dyn FnMut(&mut Rng, &[usize]) -> NDArray,
    ) -> Val {
        let rank = dims.len();
        let wide = |n: &usize| *n as i64;
        match self.rng.below(12) {
            _ if !self.views => self.leaf(dims, fill),
            0 | 1 if rank > 1 => {
                let perm = self.permutation(rank);
                let mut from = vec![0; rank];
                for (i, p) in perm.iter().enumerate() {
                    from[*p] = dims[i];
                }
                let x = self.leaf(&from, fill);
                let perm = self.ints(&perm.iter().map(wide).collect::<Vec<_>>());
                self.through("primitive.transpose_v1", vec![x, perm], element)
            }
            2 | 3 if rank > 0 => self.sliced(element, dims, fill),
            4 if rank > 0 => {
                let x = self.leaf(dims, fill);
                let axes = self.axes(rank);
                let axes = self.ints(&axes);
                self.through("primitive.reverse_v1", vec![x, axes], element)
            }
            5 if rank > 0 => {
                let from = self.stretched(dims, false);
                let x = self.leaf(&from, fill);
                let sizes = self.sizes(dims);
                self.through("primitive.broadcast_to_v1", vec![x, sizes], element)
            }
            6 => {
                let x = self.leaf(&[dims.iter().product()], fill);
                let sizes = self.ints(&dims.iter().map(wide).collect::<Vec<_>>());
                self.through("primitive.reshape_v2", vec![x, sizes], element)
            }
            7 => {
                // What fuses into its reader.
                let (x, y) = (self.leaf(dims, fill), self.leaf(dims, fill));
                let which = array(&mut self.rng, ElementType::Bool, dims, Spice::Mild);
                let which = self.drawn.input(which, |_| false);
                self.through("primitive.where_v1", vec![which, x, y], element)
            }
            _ => self.leaf(dims, fill),
        }
    }

    fn sliced(
        &mut self,
        element: ElementType,
        dims: &[usize],
        fill: &mut dyn FnMut(&mut Rng, &[usize]) -> NDArray,
    ) -> Val {
        let (mut from, mut bounds) = (vec![], [vec![], vec![], vec![]]);
        for n in dims {
            let (n, lead, tail) = (*n as i64, self.rng.between(1, 3), self.rng.between(0, 2));
            let step = self.rng.pick(&[1i64, 1, 2, 3, -1, -2]);
            let last = (n - 1) * step.abs();
            let (start, end) = match (n, step > 0) {
                (0, _) => (1, 1),
                (_, true) => (lead, lead + last + 1),
                (_, false) => (lead + last, lead - 1),
            };
            let extent = start.max(end) + 1 + tail;
            from.push(extent as usize);
            let start = if self.rng.once_in(3) { start - extent } else { start };
            for (list, value) in bounds.iter_mut().zip([start, end, step]) {
                list.push(value);
            }
        }
        let mut inputs = vec![self.leaf(&from, fill)];
        inputs.extend(bounds.iter().map(|b| self.ints(b)).collect::<Vec<_>>());
        self.through("primitive.slice_v1", inputs, element)
    }

    fn leaf(&mut self, dims: &[usize], fill: &mut dyn FnMut(&mut Rng, &[usize]) -> NDArray) -> Val {
        let array = fill(&mut self.rng, dims);
        let (constant, mask) = (self.rng.once_in(8) || self.constant_data, self.rng.word());
        if constant && self.views {
            return self.drawn.constant(array);
        }
        let symbolic = self.symbolic;
        self.drawn.input(array, |axis| symbolic && mask >> (axis % 64) & 1 != 0)
    }

    fn through(&mut self, name: &'static str, inputs: Vec<Val>, element: ElementType) -> Val {
        let first = inputs[0];
        match self.drawn.node(name, inputs, element) {
            Ok(results) => results[0],
            Err(e) => {
                self.error.get_or_insert(e);
                first
            }
        }
    }
}
