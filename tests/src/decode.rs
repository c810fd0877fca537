//! Feeding tokens to a decoder.

use coreai::{AIModel, Error, InputData, OutputWant, Session};
use std::sync::Arc;

/// A decoder with `input_ids`, `position_ids` and states with one dynamic axis.
pub struct Decoder {
    /// The session.
    pub session: Session,
    positions: Vec<i32>,
    ids: usize,
    places: usize,
}

impl Decoder {
    /// A session whose caches hold `capacity` tokens.
    pub fn new(model: &Arc<AIModel>, capacity: usize) -> Result<Decoder, Error> {
        let function = model.functions().remove(0);
        let shapes: Vec<(String, Vec<usize>)> = function
            .states
            .iter()
            .map(|s| (s.name.clone(), s.shape.iter().map(|d| d.unwrap_or(capacity)).collect()))
            .collect();
        let shapes: Vec<(&str, &[usize])> = shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
        let session = model.session_blocking(&function.name, &shapes)?;
        let find = |name: &str| session.input_index(name).unwrap_or(0);
        let (ids, places) = (find("input_ids"), find("position_ids"));
        Ok(Decoder { session, positions: vec![], ids, places })
    }

    /// Tokens consumed so far.
    pub fn length(&self) -> usize {
        self.positions.len()
    }

    /// Feeds tokens; the wanted logits are then in output 0.
    pub fn feed(&mut self, tokens: &[i32], wants: &[OutputWant]) -> Result<(), Error> {
        for _ in tokens {
            self.positions.push(self.positions.len() as i32);
        }
        self.session.set_input(self.ids, &[1, tokens.len()], InputData::I32(tokens))?;
        self.session.set_input(self.places, &[1, self.positions.len()], InputData::I32(&self.positions))?;
        self.session.run_blocking(wants)
    }

    /// Makes room so that the next `tokens` tokens do not allocate.
    pub fn reserve(&mut self, tokens: usize) {
        self.positions.reserve(tokens);
    }

    /// Logits of the last row.
    pub fn last_logits(&self) -> &[f32] {
        let vocabulary = self.session.output_shape(0).last().copied().unwrap_or(0);
        let all = self.session.output_f32(0);
        &all[all.len() - vocabulary..]
    }
}

/// Index of the largest value, and its distance to the second largest.
pub fn top(logits: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    let mut second = f32::NEG_INFINITY;
    for (i, x) in logits.iter().enumerate() {
        if *x > best.1 {
            second = best.1;
            best = (i, *x);
        } else if *x > second {
            second = *x;
        }
    }
    (best.0, best.1 - second)
}
