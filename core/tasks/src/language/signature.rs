//! Recognizing a decoder by its inputs, states and outputs, whatever architecture it has.

use coreai::{ElementType, FunctionDescriptor, PortDescriptor};

use super::error::LanguageError;

/// A state and what its length means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateShape {
    pub name: String,
    /// Declared extents.
    pub shape: Vec<Option<usize>>,
    /// The dynamic axis: tokens.
    pub growing: Option<usize>,
}

/// How a function decodes: `token_input` takes the new tokens `[1, q]`, `position_input` takes
/// 0 … s-1 for all tokens so far `[1, s]`, `output` gives logits `[1, q, vocabulary]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Entry point.
    pub function: String,
    /// Number of the input for token ids.
    pub token_input: usize,
    /// Number of the input for positions.
    pub position_input: usize,
    /// Number of the output with logits.
    pub output: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Tokens that caches of fixed size hold.
    pub fixed_capacity: Option<usize>,
    /// Whether the context can be cut: every state has a position axis.
    pub rewinds: bool,
    pub(super) states: Vec<StateShape>,
}

impl Signature {
    /// The first function that fits, those in `preferred` and then `main` first.
    pub fn find(functions: &[FunctionDescriptor], preferred: &[String]) -> Result<Signature, LanguageError> {
        let order = preferred
            .iter()
            .map(String::as_str)
            .chain(["main"])
            .flat_map(|name| functions.iter().filter(move |f| f.name == name))
            .chain(functions);
        let mut refusal = None;
        for function in order {
            match Signature::of(function) {
                Ok(signature) => return Ok(signature),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| LanguageError::Signature {
            function: preferred.first().cloned().unwrap_or_else(|| "main".into()),
            reason: "the asset has no functions".into(),
        }))
    }

    /// Checks one function.
    pub fn of(function: &FunctionDescriptor) -> Result<Signature, LanguageError> {
        let refuse = |expected: &str, ports: &[PortDescriptor]| LanguageError::Signature {
            function: function.name.clone(),
            reason: format!("expected {expected}; found {}", list(ports)),
        };
        let (token_input, position_input) = inputs(&function.inputs).ok_or_else(|| {
            refuse("two int32 inputs, token ids [1, ?] and position ids [1, ?]", &function.inputs)
        })?;
        let (output, vocabulary) = logits(&function.outputs)
            .ok_or_else(|| refuse("one float output [1, ?, vocabulary]", &function.outputs))?;
        let mut states = Vec::with_capacity(function.states.len());
        for port in &function.states {
            let mut dynamic = (0..port.shape.len()).filter(|axis| port.shape[*axis].is_none());
            let growing = dynamic.next();
            if dynamic.next().is_some() {
                return Err(refuse(
                    "states with at most one dynamic axis, the cache's length",
                    &function.states,
                ));
            }
            states.push(StateShape { name: port.name.clone(), shape: port.shape.clone(), growing });
        }
        let any_growing = states.iter().any(|state| state.growing.is_some());
        // Fixed states hold positions when they are caches [.., tokens, head size] and nothing
        // beside them grows; next to growing ones they are windows or recurrent.
        let is_cache = |state: &StateShape| {
            let name = state.name.to_lowercase();
            state.shape.len() >= 3 && (name.contains("key") || name.contains("value"))
        };
        let fixed: Vec<&StateShape> = states.iter().filter(|s| s.growing.is_none()).collect();
        let rewinds = fixed.is_empty() || (!any_growing && fixed.iter().all(|s| is_cache(s)));
        let fixed_capacity = match any_growing {
            true => None,
            false => fixed
                .iter()
                .filter(|state| is_cache(state))
                .filter_map(|state| state.shape[state.shape.len() - 2])
                .min(),
        };
        Ok(Signature {
            function: function.name.clone(),
            token_input,
            position_input,
            output,
            vocabulary,
            fixed_capacity,
            rewinds,
            states,
        })
    }
}

/// Numbers of the token and position inputs.
fn inputs(ports: &[PortDescriptor]) -> Option<(usize, usize)> {
    let fits = |port: &PortDescriptor| {
        port.element == ElementType::SI32 && matches!(port.shape.as_slice(), [Some(1) | None, None])
    };
    if ports.len() != 2 || !ports.iter().all(fits) {
        return None;
    }
    let names: Vec<String> = ports.iter().map(|p| p.name.to_lowercase()).collect();
    let position = |n: &String| n.contains("pos");
    let token = |n: &String| !position(n) && (n.contains("token") || n.contains("id"));
    match (names.iter().position(position), names.iter().position(token)) {
        (Some(p), Some(t)) => Some((t, p)),
        (Some(p), None) => Some((1 - p, p)),
        (None, Some(t)) => Some((t, 1 - t)),
        (None, None) => None,
    }
}

/// Number of the logits output and the vocabulary; the one named so when several would fit.
fn logits(ports: &[PortDescriptor]) -> Option<(usize, usize)> {
    let fits = |port: &PortDescriptor| match (port.element, port.shape.as_slice()) {
        (
            ElementType::F16 | ElementType::BF16 | ElementType::F32,
            [Some(1) | None, None, Some(vocabulary)],
        ) => Some(*vocabulary),
        _ => None,
    };
    let fitting: Vec<(usize, usize)> =
        ports.iter().enumerate().filter_map(|(i, p)| Some((i, fits(p)?))).collect();
    match fitting.as_slice() {
        [one] => Some(*one),
        several => several.iter().find(|(i, _)| ports[*i].name.to_lowercase().contains("logit")).copied(),
    }
}

fn list(ports: &[PortDescriptor]) -> String {
    if ports.is_empty() {
        return "none".into();
    }
    let extent = |d: &Option<usize>| d.map_or("?".into(), |n| n.to_string());
    let show = |port: &PortDescriptor| {
        let shape: Vec<String> = port.shape.iter().map(extent).collect();
        format!("{} {} [{}]", port.name, port.element.name(), shape.join(", "))
    };
    ports.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, element: ElementType, shape: &[i64]) -> PortDescriptor {
        let shape = shape.iter().map(|d| usize::try_from(*d).ok()).collect();
        PortDescriptor { name: name.into(), element, shape, image: None }
    }

    fn decoder(states: Vec<PortDescriptor>) -> FunctionDescriptor {
        FunctionDescriptor {
            name: "main".into(),
            inputs: vec![
                port("position_ids", ElementType::SI32, &[1, -1]),
                port("input_ids", ElementType::SI32, &[1, -1]),
            ],
            outputs: vec![port("logits", ElementType::F16, &[1, -1, 320])],
            states,
        }
    }

    fn cache(name: &str, length: i64) -> PortDescriptor {
        port(name, ElementType::F16, &[2, 1, 2, length, 32])
    }

    #[test]
    fn a_growing_cache_is_recognized_in_any_order() {
        let function = decoder(vec![cache("keyCache", -1), cache("valueCache", -1)]);
        let found = Signature::of(&function).unwrap();
        assert_eq!((found.token_input, found.position_input, found.vocabulary), (1, 0, 320));
        assert_eq!((found.fixed_capacity, found.rewinds), (None, true));
        assert_eq!(found.states[0].growing, Some(3));
    }

    #[test]
    fn fixed_caches_bound_the_context() {
        let found = Signature::of(&decoder(vec![cache("keyCache", 64), cache("valueCache", 32)]));
        let found = found.unwrap();
        assert_eq!((found.fixed_capacity, found.rewinds), (Some(32), true));
    }

    #[test]
    fn recurrent_states_only_go_forward() {
        let conv = port("conv_state", ElementType::F32, &[4, 1, 96, 3]);
        let found = Signature::of(&decoder(vec![conv.clone()])).unwrap();
        assert_eq!((found.fixed_capacity, found.rewinds), (None, false));
        let found = Signature::of(&decoder(vec![cache("keyCache", -1), conv])).unwrap();
        assert_eq!((found.fixed_capacity, found.rewinds), (None, false));
    }

    #[test]
    fn other_functions_are_refused_with_what_they_have() {
        let mut function = decoder(vec![]);
        function.inputs = vec![port("image", ElementType::F32, &[1, 3, 224, 224])];
        let error = Signature::of(&function).unwrap_err().to_string();
        assert!(error.contains("found image") && error.contains("[1, 3, 224, 224]"), "{error}");
        let mut function = decoder(vec![]);
        function.outputs = vec![port("embedding", ElementType::F16, &[1, 384])];
        let error = Signature::of(&function).unwrap_err().to_string();
        assert!(error.contains("found embedding"), "{error}");
        let twice = port("keyCache", ElementType::F16, &[2, -1, 2, -1, 32]);
        assert!(Signature::of(&decoder(vec![twice])).is_err());
        assert!(Signature::find(&[], &[]).is_err());
    }

    #[test]
    fn preferred_functions_come_first_and_unfit_ones_are_passed_over() {
        let mut encoder = decoder(vec![]);
        encoder.name = "main".into();
        encoder.inputs.clear();
        let mut generate = decoder(vec![]);
        generate.name = "generate".into();
        let functions = [encoder, generate];
        assert_eq!(Signature::find(&functions, &[]).unwrap().function, "generate");
        let preferred = ["generate".to_string()];
        assert_eq!(Signature::find(&functions, &preferred).unwrap().function, "generate");
    }
}
