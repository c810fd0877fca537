//! Slots for temporaries: which buffers share memory.
//!
//! A slot is one device buffer (or one host vector). Two temporaries may share a slot when their
//! lives do not overlap; a step's results never share with its operands, so no dispatch writes a
//! buffer it reads.

use crate::plan::Plan;
use crate::step::{BufferId, Role};

/// The assignment.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    /// Slot of each buffer of the plan; `None` for buffers that are not temporaries.
    pub slot_of: Vec<Option<usize>>,
    /// Bytes of each slot.
    pub slot_bytes: Vec<u64>,
}

/// Assigns slots, best fit first. `bytes_of` gives a buffer's size at the upper bounds in force.
pub fn assign(plan: &Plan, bytes_of: &dyn Fn(BufferId) -> u64) -> Arena {
    let mut last_use = vec![0usize; plan.buffers.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        for view in step.reads.iter().chain(&step.writes) {
            last_use[view.buffer.0 as usize] = at;
        }
    }
    let mut arena = Arena { slot_of: vec![None; plan.buffers.len()], slot_bytes: vec![] };
    let mut free: Vec<usize> = vec![];
    for (at, step) in plan.steps.iter().enumerate() {
        for view in &step.writes {
            let id = view.buffer.0 as usize;
            if plan.buffers[id].role != Role::Temp || arena.slot_of[id].is_some() {
                continue;
            }
            let bytes = bytes_of(view.buffer);
            // Smallest free slot that is large enough, else the largest one, grown.
            let best = (0..free.len()).min_by_key(|&i| {
                let size = arena.slot_bytes[free[i]];
                if size >= bytes { (0, size - bytes) } else { (1, u64::MAX - size) }
            });
            let slot = match best {
                Some(i) => free.swap_remove(i),
                None => {
                    arena.slot_bytes.push(0);
                    arena.slot_bytes.len() - 1
                }
            };
            arena.slot_bytes[slot] = arena.slot_bytes[slot].max(bytes);
            arena.slot_of[id] = Some(slot);
        }
        for view in step.reads.iter().chain(&step.writes) {
            let id = view.buffer.0 as usize;
            if let Some(slot) = arena.slot_of[id]
                && last_use[id] == at
                && !free.contains(&slot)
            {
                free.push(slot);
            }
        }
    }
    arena
}

/// Checks the assignment independently of how it was made: every temporary is written before it is
/// read, still holds its value when read, and no step writes a slot or buffer that it reads.
pub fn validate(plan: &Plan, arena: &Arena) -> Result<(), String> {
    let mut holder: Vec<Option<BufferId>> = vec![None; arena.slot_bytes.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        let name = |what: &str| format!("step {at} ({}): {what}", step.origin.op);
        for view in &step.reads {
            if let Some(slot) = arena.slot_of[view.buffer.0 as usize]
                && holder[slot] != Some(view.buffer)
            {
                return Err(name(&format!("reads buffer {} after its slot was reused", view.buffer.0)));
            }
        }
        for write in &step.writes {
            let slot = arena.slot_of[write.buffer.0 as usize];
            for read in &step.reads {
                let same_slot = slot.is_some() && slot == arena.slot_of[read.buffer.0 as usize];
                if read.buffer == write.buffer || same_slot {
                    return Err(name(&format!("writes buffer {} that it reads", write.buffer.0)));
                }
            }
            match plan.buffers[write.buffer.0 as usize].role {
                Role::Temp => match slot {
                    Some(slot) => holder[slot] = Some(write.buffer),
                    None => return Err(name("writes a temporary without a slot")),
                },
                Role::Output(_) | Role::State(_) => {}
                _ => return Err(name("writes a constant or an input")),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use crate::map::MapProg;
    use crate::step::{Buffer, Kernel, Kind, Origin, Round, Step, Storage, View};

    /// A chain of copies: input 0 → 1 → 2 → … → output.
    fn chain(length: u32) -> Plan {
        let buffer =
            |role| Buffer { role, kind: Kind::F32, storage: Storage::Word, elements: Expr::from(8i64) };
        let mut buffers = vec![buffer(Role::Input(0))];
        buffers.extend((1..length).map(|_| buffer(Role::Temp)));
        buffers.push(buffer(Role::Output(0)));
        let view = |n: u32| View::whole(BufferId(n), vec![Expr::from(8i64)]);
        let step = |n: u32| Step {
            kernel: Kernel::Map(MapProg::copy(Kind::F32)),
            reads: vec![view(n)],
            writes: vec![view(n + 1)],
            round: Round::None,
            origin: Origin { op: "copy".into(), node: n, source: None },
        };
        Plan {
            function: "main".into(),
            steps: (0..length).map(step).collect(),
            buffers,
            symbols: vec![],
            guards: vec![],
            inputs: vec![],
            outputs: vec![],
            states: vec![],
        }
    }

    #[test]
    fn a_chain_needs_two_slots() {
        let plan = chain(10);
        let arena = assign(&plan, &|_| 32);
        assert_eq!(arena.slot_bytes, [32, 32]);
        validate(&plan, &arena).expect("valid");
    }

    #[test]
    fn the_validator_finds_shared_operands_and_reused_slots() {
        let plan = chain(4);
        let mut arena = assign(&plan, &|_| 32);
        arena.slot_of[2] = arena.slot_of[1];
        assert!(validate(&plan, &arena).expect_err("writes what it reads").contains("that it reads"));

        // Buffer 1 is read again after its slot has gone to buffer 3.
        let mut plan = chain(5);
        let arena = assign(&plan, &|_| 32);
        assert_eq!(arena.slot_of[1], arena.slot_of[3]);
        plan.steps[4].reads[0].buffer = BufferId(1);
        assert!(validate(&plan, &arena).expect_err("reused").contains("reused"));
    }

    #[test]
    fn inputs_are_never_written() {
        let mut plan = chain(2);
        plan.steps[1].writes[0].buffer = BufferId(0);
        let arena = assign(&plan, &|_| 32);
        assert!(validate(&plan, &arena).expect_err("writes an input").contains("constant or an input"));
    }
}
