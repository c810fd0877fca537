//! Experts of checkpoints, in the many ways they are stored, as three tensors for each layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::microscaled::Microscaled;
use super::views::{Order, Selected, SelectedColumns, Stacked, Transposed};
use crate::config::{Architecture, Config, Experts};
use crate::error::ConvertError;
use crate::rows::SharedRows;

type Tensors = BTreeMap<String, SharedRows>;

/// Replaces the experts' tensors by those of [`super::layout::tensors`]. What is missing stays missing.
pub(super) fn assemble(config: &Config, tensors: &mut Tensors) -> Result<(), ConvertError> {
    let Some(experts) = &config.experts else { return Ok(()) };
    for (layer, sparse) in experts.layers.iter().enumerate() {
        let prefix = format!("model.layers.{layer}.mlp.experts.");
        if *sparse {
            match config.architecture {
                Architecture::GptOss => clamped(&prefix, experts, tensors)?,
                _ => plain(&prefix, experts, tensors)?,
            }
        }
    }
    Ok(())
}

fn insert(tensors: &mut Tensors, name: String, rows: impl crate::rows::Rows + 'static) {
    tensors.insert(name, Arc::new(rows));
}

/// The upper or the lower half of each expert's rows.
fn halves(experts: &Experts, first: u64, step: u64) -> Order {
    Order::Part { group: 2 * experts.intermediate, count: experts.intermediate, first, step }
}

/// A matrix for each expert, or gate and up projections one above the other.
fn plain(prefix: &str, experts: &Experts, tensors: &mut Tensors) -> Result<(), ConvertError> {
    if let Some(fused) = tensors.remove(&format!("{prefix}gate_up_proj")) {
        for (name, first) in [("gate_proj", 0), ("up_proj", experts.intermediate)] {
            let name = format!("{prefix}{name}.weight");
            let rows = Selected::new(&name, fused.clone(), halves(experts, first, 1))?;
            insert(tensors, name, rows);
        }
    }
    if let Some(down) = tensors.remove(&format!("{prefix}down_proj")) {
        tensors.insert(format!("{prefix}down_proj.weight"), down);
    }
    for (name, mixtral) in [("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")] {
        let mut parts = Vec::new();
        for expert in 0..experts.count {
            let known = [name, mixtral].map(|name| format!("{prefix}{expert}.{name}.weight"));
            match known.iter().find_map(|name| tensors.remove(name)) {
                Some(part) => parts.push(part),
                None if parts.is_empty() => break,
                None => {
                    let [name, _] = known;
                    let reason = format!("is missing; the layer has {} experts", experts.count);
                    return Err(ConvertError::Tensor { name, reason });
                }
            }
        }
        if !parts.is_empty() {
            let name = format!("{prefix}{name}.weight");
            let rows = Stacked::new(&name, parts)?;
            insert(tensors, name, rows);
        }
    }
    Ok(())
}

/// gpt-oss: rows of gate and up projections alternate; plain weights are transposed, packed ones are not.
fn clamped(prefix: &str, experts: &Experts, tensors: &mut Tensors) -> Result<(), ConvertError> {
    let mut matrix = |name: &str| -> Result<Option<SharedRows>, ConvertError> {
        let name = format!("{prefix}{name}");
        let packed = tensors.remove(&format!("{name}_blocks")).zip(tensors.remove(&format!("{name}_scales")));
        match (packed, tensors.remove(&name)) {
            (Some((blocks, scales)), _) => Microscaled::rows(&name, blocks, scales).map(Some),
            (None, Some(plain)) => {
                let rows: SharedRows = Arc::new(Transposed::new(&name, plain)?);
                Ok(Some(rows))
            }
            (None, None) => Ok(None),
        }
    };
    let (fused, down) = (matrix("gate_up_proj")?, matrix("down_proj")?);
    let bias = tensors.remove(&format!("{prefix}gate_up_proj_bias"));
    for (name, first) in [("gate_proj", 0), ("up_proj", 1)] {
        let order = halves(experts, first, 2);
        if let Some(fused) = &fused {
            let name = format!("{prefix}{name}.weight");
            let rows = Selected::new(&name, fused.clone(), order)?;
            insert(tensors, name, rows);
        }
        if let Some(bias) = &bias {
            let name = format!("{prefix}{name}.bias");
            let rows = SelectedColumns::new(&name, bias.clone(), order)?;
            insert(tensors, name, rows);
        }
    }
    if let Some(down) = down {
        tensors.insert(format!("{prefix}down_proj.weight"), down);
    }
    if let Some(bias) = tensors.remove(&format!("{prefix}down_proj_bias")) {
        tensors.insert(format!("{prefix}down_proj.bias"), bias);
    }
    Ok(())
}
