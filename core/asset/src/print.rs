//! The program as readable text.

mod values;

use std::fmt::{self, Write};

pub use values::TypeText;
pub(crate) use values::type_text;
use values::{write_attribute, write_constant};

use crate::asset::{Asset, shown_regions};
use crate::ir::{Attribute, Function, Op, Param, ParamKind, Region, ValueId};
use crate::types::TypeId;

/// What the text shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrintOptions {
    /// Decomposition bodies of operations.
    pub bodies: bool,
    /// Source locations, where the asset has them.
    pub locations: bool,
}

impl Asset {
    /// A type as text.
    pub fn type_text(&self, id: TypeId) -> TypeText<'_> {
        TypeText::new(self.types(), id)
    }

    /// The whole program as text.
    pub fn text(&self, options: PrintOptions) -> String {
        let mut text = String::new();
        // writing to a string cannot fail
        let _ = self.write_text(options, &mut text);
        text
    }

    /// Writes the whole program as text.
    pub fn write_text(&self, options: PrintOptions, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "bytecode by {}; features {}", self.bytecode_producer(), self.feature_version)?;
        for function in &self.functions {
            out.write_char('\n')?;
            Printer { asset: self, options, function, out }.function()?;
        }
        Ok(())
    }

    /// An attribute as short text.
    pub fn attribute_text(&self, attribute: &Attribute) -> String {
        let mut text = String::new();
        let _ = write_attribute(self, attribute, &mut text);
        text
    }
}

struct Printer<'a> {
    asset: &'a Asset,
    options: PrintOptions,
    function: &'a Function,
    out: &'a mut dyn Write,
}

/// How values of a scope are named: letters tell nested scopes from the function's own.
#[derive(Clone, Copy)]
struct Names<'a> {
    /// Named arguments of the function itself.
    args: &'a [Param],
    /// Depth of isolated scopes.
    scope: usize,
}

impl Printer<'_> {
    fn function(&mut self) -> fmt::Result {
        let function = self.function;
        let private = if function.private { "private " } else { "" };
        write!(self.out, "{private}func {}(", function.name)?;
        for (i, input) in function.inputs.iter().enumerate() {
            let kind = if input.kind == ParamKind::State { "state " } else { "" };
            let ty = self.asset.type_text(input.ty);
            write!(self.out, "{}{kind}{}: {ty}", if i > 0 { ", " } else { "" }, input.name)?;
        }
        self.out.write_str(") -> (")?;
        for (i, output) in function.outputs.iter().enumerate() {
            let ty = self.asset.type_text(output.ty);
            write!(self.out, "{}{}: {ty}", if i > 0 { ", " } else { "" }, output.name)?;
        }
        self.out.write_str(") {\n")?;
        if let Some(composite) = &function.composite {
            let names = |list: &[String]| list.join(", ");
            let (inputs, outputs) = (names(&composite.input_names), names(&composite.output_names));
            write!(self.out, "  composite {}({inputs}) -> ({outputs})", composite.name)?;
            for (i, (name, value)) in composite.attrs.iter().enumerate() {
                write!(self.out, "{}{name}=", if i > 0 { ", " } else { " {" })?;
                write_attribute(self.asset, value, self.out)?;
            }
            self.out.write_str(if composite.attrs.is_empty() { "\n" } else { "}\n" })?;
        }
        let names = Names { args: &function.inputs, scope: 0 };
        for op in &function.body.ops {
            self.op(op, &function.body, names, 1)?;
        }
        self.out.write_str("}\n")
    }

    fn value(&mut self, value: ValueId, names: Names<'_>) -> fmt::Result {
        match names.args.get(value.0 as usize) {
            Some(param) if names.scope == 0 => write!(self.out, "%{}", param.name),
            _ => {
                self.out.write_char('%')?;
                for _ in 0..names.scope {
                    self.out.write_char('b')?;
                }
                write!(self.out, "{}", value.0)
            }
        }
    }

    fn values(&mut self, values: &[ValueId], names: Names<'_>) -> fmt::Result {
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.out.write_str(", ")?;
            }
            self.value(*value, names)?;
        }
        Ok(())
    }

    /// `home` is the isolated region whose scope the values belong to.
    fn op(&mut self, op: &Op, home: &Region, names: Names<'_>, indent: usize) -> fmt::Result {
        write!(self.out, "{:1$}", "", indent * 2)?;
        if !op.results.is_empty() {
            self.values(&op.results, names)?;
            self.out.write_str(" = ")?;
        }
        write!(self.out, "{}(", op.name)?;
        self.values(&op.operands, names)?;
        self.out.write_char(')')?;
        let ty = |value: &ValueId| home.scope.as_ref().and_then(|scope| scope.ty(*value));
        if let (Some(constant), Some(ty)) = (op.constant(), op.results.first().and_then(ty)) {
            self.out.write_char(' ')?;
            write_constant(self.asset, constant, ty, self.out)?;
        } else {
            let shown = op.attrs.iter().filter(|(_, value)| !is_empty(value));
            for (i, (name, value)) in shown.enumerate() {
                write!(self.out, "{}{name}=", if i > 0 { ", " } else { " {" })?;
                write_attribute(self.asset, value, self.out)?;
            }
            if op.attrs.iter().any(|(_, value)| !is_empty(value)) {
                self.out.write_char('}')?;
            }
        }
        for (i, result) in op.results.iter().enumerate() {
            self.out.write_str(if i > 0 { ", " } else { " : " })?;
            if let Some(ty) = ty(result) {
                write!(self.out, "{}", self.asset.type_text(ty))?;
            }
        }
        if self.options.locations
            && let Some(at) = self.asset.location(op.location)
        {
            write!(self.out, "  // {at}")?;
        }
        self.out.write_char('\n')?;
        for region in shown_regions(op, self.options.bodies) {
            self.region(region, home, names, indent + 1)?;
        }
        Ok(())
    }

    fn region(&mut self, region: &Region, home: &Region, names: Names<'_>, indent: usize) -> fmt::Result {
        let (home, names) = match region.scope {
            Some(_) => (region, Names { args: &[], scope: names.scope + 1 }),
            None => (home, names),
        };
        write!(self.out, "{:1$}{{", "", indent * 2)?;
        if !region.args.is_empty() {
            self.out.write_char(' ')?;
            self.values(&region.args, names)?;
            self.out.write_str(" ->")?;
        }
        self.out.write_char('\n')?;
        for op in &region.ops {
            self.op(op, home, names, indent + 1)?;
        }
        writeln!(self.out, "{:1$}}}", "", indent * 2)
    }
}

fn is_empty(attribute: &Attribute) -> bool {
    matches!(attribute, Attribute::Array(items) if items.is_empty())
}
