//! The states of a session: reading, writing, growing, forking.

use super::{Execution, Session, States, check_shape, count, mixed};
use crate::error::Error;
use crate::lower::state_storage;
use crate::ndarray::NDArray;
use crate::plan::{Plan, Port};
use crate::step::Storage;
use crate::words;

/// Most elements of a state, far above what any machine holds, so that byte counts cannot overflow.
const MAX_STATE_ELEMENTS: u64 = 1 << 48;

impl Session {
    fn state_index(&self, name: &str) -> Result<usize, Error> {
        let found = self.program.states.iter().position(|p| p.name == name);
        found.ok_or_else(|| Error::Input { name: name.into(), reason: "no such state".into() })
    }

    fn state_storage(&self, state: usize) -> Storage {
        state_storage(self.program.states[state].element)
    }

    /// Extents of a state.
    pub fn state_shape(&self, name: &str) -> Result<&[usize], Error> {
        Ok(&self.shared.state_dims[self.state_index(name)?])
    }

    /// Copies a state to the host.
    pub async fn read_state(&self, name: &str) -> Result<NDArray, Error> {
        let state = self.state_index(name)?;
        let elements = count(&self.shared.state_dims[state]) as usize;
        let storage = self.state_storage(state);
        let unpacked = match &self.shared.states {
            States::Cpu(list) => words::unpack(&storage, &list[state], elements),
            States::Gpu(list) => words::unpack(&storage, &list[state].read().await?, elements),
        };
        let element = self.program.states[state].element;
        NDArray::new(element, self.shared.state_dims[state].clone(), words::to_bytes(element, &unpacked)?)
    }

    /// Blocking twin of [`Session::read_state`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_state_blocking(&self, name: &str) -> Result<NDArray, Error> {
        pollster::block_on(self.read_state(name))
    }

    /// Replaces a state's content; the shape must be the state's.
    pub fn write_state(&mut self, name: &str, array: &NDArray) -> Result<(), Error> {
        let state = self.state_index(name)?;
        let port = &self.program.states[state];
        if port.element != array.element || self.shared.state_dims[state] != array.shape {
            let reason = format!(
                "is {} {:?}, got {} {:?}",
                port.element.name(),
                self.shared.state_dims[state],
                array.element.name(),
                array.shape
            );
            return Err(Error::Input { name: name.into(), reason });
        }
        let mut elements = vec![];
        words::from_bytes(array.element, &array.data, &mut elements)?;
        let packed = words::pack(&self.state_storage(state), &elements);
        match &mut self.shared.states {
            States::Cpu(list) => list[state] = packed,
            States::Gpu(list) => list[state].write(0, &packed)?,
        }
        Ok(())
    }

    /// Changes the extents of a state along its dynamic axes, keeping the elements that both
    /// shapes have; new ones are zero.
    pub async fn resize_state(&mut self, name: &str, shape: &[usize]) -> Result<(), Error> {
        let state = self.state_index(name)?;
        let new = state_shape(&self.program.states[state], Some(shape))?;
        let old = std::mem::replace(&mut self.shared.state_dims[state], new.clone());
        if old == new {
            return Ok(());
        }
        let storage = self.state_storage(state);
        let wide = |d: &[usize]| d.iter().map(|d| *d as u64).collect::<Vec<u64>>();
        let grown = match &mut self.shared.states {
            States::Gpu(list) => list[state].grow(&wide(&old), &wide(&new)).await.map(|s| list[state] = s),
            States::Cpu(list) => {
                let elements = words::unpack(&storage, &list[state], count(&old) as usize);
                recut(&elements, &old, &new).map(|grown| list[state] = words::pack(&storage, &grown))
            }
        };
        if let Err(e) = grown {
            self.shared.state_dims[state] = old;
            return Err(e);
        }
        // Layouts hold the old buffer.
        match &mut self.execution {
            Execution::Plan(runner) => runner.states_moved(),
            Execution::Staged { runner, .. } => runner.for_each(&mut |r| r.states_moved()),
        }
        Ok(())
    }

    /// Blocking twin of [`Session::resize_state`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resize_state_blocking(&mut self, name: &str, shape: &[usize]) -> Result<(), Error> {
        pollster::block_on(self.resize_state(name, shape))
    }

    /// A second session with a copy of the states.
    pub async fn fork(&self) -> Result<Session, Error> {
        let shapes: Vec<(&str, &[usize])> = self
            .program
            .states
            .iter()
            .zip(&self.shared.state_dims)
            .map(|(p, d)| (p.name.as_str(), d.as_slice()))
            .collect();
        let name = self.program.graph.function.clone();
        let mut other = Session::new(self.shared.model.clone(), &name, &shapes).await?;
        match (&self.shared.states, &mut other.shared.states) {
            (States::Cpu(from), States::Cpu(to)) => to.clone_from(from),
            (States::Gpu(from), States::Gpu(to)) => {
                for (from, to) in from.iter().zip(to) {
                    *to = from.fork().await?;
                }
            }
            _ => return Err(mixed()),
        }
        Ok(other)
    }
}

/// A state of zeros in host memory.
pub(super) fn zeros(storage: &Storage, dims: &[usize]) -> Result<Vec<u32>, Error> {
    let elements = count(dims);
    let bytes = if elements > MAX_STATE_ELEMENTS { u64::MAX } else { Plan::storage_bytes(storage, elements) };
    let mut words = vec![];
    let fits = usize::try_from(bytes / 4).is_ok_and(|n| words.try_reserve_exact(n).is_ok());
    if !fits {
        let advice = "a shorter context needs less".into();
        return Err(Error::OutOfMemory { what: "host memory", needed: bytes, limit: 0, advice });
    }
    words.resize((bytes / 4) as usize, 0);
    Ok(words)
}

pub(super) fn state_shape(port: &Port, given: Option<&[usize]>) -> Result<Vec<usize>, Error> {
    match given {
        Some(shape) => {
            check_shape(port, shape)?;
            Ok(shape.to_vec())
        }
        None => port
            .dims
            .iter()
            .map(|d| d.as_const().and_then(|d| usize::try_from(d).ok()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::Input {
                name: port.name.clone(),
                reason: "has dynamic extents; the caller must give its shape".into(),
            }),
    }
}

/// Copies the common part of two shapes.
fn recut(from: &[u32], old: &[usize], new: &[usize]) -> Result<Vec<u32>, Error> {
    let mut out = zeros(&Storage::Word, new)?;
    let row = old.last().copied().unwrap_or(1).min(new.last().copied().unwrap_or(1));
    let rows: usize =
        old.iter().rev().skip(1).zip(new.iter().rev().skip(1)).map(|(a, b)| *a.min(b)).product();
    for r in 0..rows {
        let (mut rest, mut at_old, mut at_new, mut step_old, mut step_new) =
            (r, 0, 0, old.last().copied().unwrap_or(1), new.last().copied().unwrap_or(1));
        for axis in (0..old.len().saturating_sub(1)).rev() {
            let extent = old[axis].min(new[axis]);
            let i = rest % extent;
            rest /= extent;
            at_old += i * step_old;
            at_new += i * step_new;
            step_old *= old[axis];
            step_new *= new[axis];
        }
        out[at_new..at_new + row].copy_from_slice(&from[at_old..at_old + row]);
    }
    Ok(out)
}
