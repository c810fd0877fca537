//! Slots for temporaries: which buffers share memory.
//!
//! A slot is one device buffer (or one host vector). Two temporaries may share a slot when their
//! lives do not overlap; a step's results never share with its operands, so no dispatch writes a
//! buffer it reads.

use std::cmp::Reverse;
use std::collections::BTreeMap;

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

/// First and last step that name each temporary; `None` for other buffers and for those no step names.
fn lives(plan: &Plan) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        for view in step.reads.iter().chain(&step.writes) {
            let id = view.buffer.0 as usize;
            if plan.buffers[id].role == Role::Temp {
                lives[id].get_or_insert((at, at)).1 = at;
            }
        }
    }
    lives
}

/// Most bytes of temporaries that are alive in one step, from a temporary's first write to its last use:
/// what no assignment can do without.
pub fn largest_live_set(plan: &Plan, bytes_of: &dyn Fn(BufferId) -> u64) -> u64 {
    let (mut begin, mut end) = (vec![0u64; plan.steps.len()], vec![0u64; plan.steps.len()]);
    for (id, life) in lives(plan).into_iter().enumerate() {
        if let Some((first, last)) = life {
            let bytes = bytes_of(BufferId(id as u32));
            begin[first] = begin[first].saturating_add(bytes);
            end[last] = end[last].saturating_add(bytes);
        }
    }
    let (mut alive, mut largest) = (0u64, 0u64);
    for (begin, end) in begin.iter().zip(&end) {
        alive = alive.saturating_add(*begin);
        largest = largest.max(alive);
        alive = alive.saturating_sub(*end);
    }
    largest
}

/// Assigns slots, the largest temporaries first, so that a slot has the size of its first one and none
/// grows; each takes the smallest slot that is free for its life (greedy by size, Pisarchyk and Lee 2020).
/// `bytes_of` gives a buffer's size at the upper bounds in force.
pub fn assign(plan: &Plan, bytes_of: &dyn Fn(BufferId) -> u64) -> Arena {
    let mut order: Vec<(u64, usize, usize, usize)> = vec![];
    for (id, life) in lives(plan).into_iter().enumerate() {
        if let Some((first, last)) = life {
            order.push((bytes_of(BufferId(id as u32)), first, last, id));
        }
    }
    order.sort_unstable_by_key(|(bytes, first, last, id)| (Reverse(*bytes), *first, *last, *id));
    let mut arena = Arena { slot_of: vec![None; plan.buffers.len()], slot_bytes: vec![] };
    // Of each slot, last step by first step of what it holds.
    let mut taken: Vec<BTreeMap<usize, usize>> = vec![];
    for (bytes, first, last, id) in order {
        // Slots are made in falling order of size: the last that is free is the smallest.
        let free =
            |held: &BTreeMap<usize, usize>| held.range(..=last).next_back().is_none_or(|h| *h.1 < first);
        let slot = taken.iter().rposition(free).unwrap_or_else(|| {
            arena.slot_bytes.push(bytes);
            taken.push(BTreeMap::new());
            taken.len() - 1
        });
        taken[slot].insert(first, last);
        arena.slot_of[id] = Some(slot);
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
        assert_eq!(largest_live_set(&plan, &|_| 32), 64);
        validate(&plan, &arena).expect("valid");
    }

    #[test]
    fn the_largest_live_set_is_that_of_one_step() {
        // Buffers 1, 2, 3 are alive together when step 2 reads 1 again: buffer n has 10 to the n bytes.
        let mut plan = chain(5);
        let again = plan.steps[1].reads[0].clone();
        plan.steps[2].reads.push(again);
        assert_eq!(largest_live_set(&plan, &|id| 10u64.pow(id.0)), 11_000);
        assert_eq!(largest_live_set(&plan, &|id| if id.0 == 4 { 0 } else { 1 }), 3);
        assert_eq!(largest_live_set(&chain(1), &|_| 1), 0);
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
