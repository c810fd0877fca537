//! Pairs the items of two sequences: the longest common subsequence, as Myers' O(ND) algorithm
//! finds it ("An O(ND) Difference Algorithm and Its Variations", 1986).

/// Insertions and deletions that are looked for. The work and the memory grow with the square; what
/// differs more is taken as different from there on.
const MAX_EDITS: usize = 1000;

/// Indices of equal items, ascending in both.
pub(super) fn common<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (a.get(head..).unwrap_or(&[]), b.get(head..).unwrap_or(&[]));
    let tail = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a_end, b_end) = (a.len() - tail, b.len() - tail);
    let mut pairs: Vec<_> = (0..head).map(|i| (i, i)).collect();
    let middle = middle(a.get(head..a_end).unwrap_or(&[]), b.get(head..b_end).unwrap_or(&[]));
    pairs.extend(middle.into_iter().map(|(i, j)| (i + head, j + head)));
    pairs.extend((0..tail).map(|i| (a_end + i, b_end + i)));
    pairs
}

/// Diagonal `k` (index in `a` minus index in `b`) of a round, from -round to round.
fn at(reach: &[usize], round: usize, k: isize) -> Option<usize> {
    reach.get(usize::try_from(k + round as isize).ok()?).copied()
}

fn middle<T: PartialEq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    if a.is_empty() || b.is_empty() {
        return Vec::new();
    }
    // how far each diagonal reaches in `a`, after so many edits
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let limit = MAX_EDITS.min(a.len() + b.len());
    for round in 0..=limit {
        let mut reach = vec![0; 2 * round + 1];
        for k in (-(round as isize)..=round as isize).step_by(2) {
            let mut x = step(rounds.last(), round, k).0;
            let mut y = x.saturating_add_signed(-k);
            while x < a.len() && y < b.len() && a.get(x) == b.get(y) {
                (x, y) = (x + 1, y + 1);
            }
            if let Some(slot) = reach.get_mut((k + round as isize) as usize) {
                *slot = x;
            }
            if x >= a.len() && y >= b.len() {
                rounds.push(reach);
                return walk_back(&rounds, x, k);
            }
        }
        rounds.push(reach);
    }
    // too different: the diagonal that came farthest tells of the beginning
    let round = rounds.len() - 1;
    let last = rounds.last().map_or(&[][..], Vec::as_slice);
    let in_range = |(i, x): &(usize, &usize)| {
        let k = *i as isize - round as isize;
        (round as isize + k) % 2 == 0 && **x <= a.len() && x.saturating_add_signed(-k) <= b.len()
    };
    let farthest = last.iter().enumerate().filter(in_range).max_by_key(|(i, x)| {
        let k = *i as isize - round as isize;
        2 * **x as isize - k
    });
    farthest.map_or_else(Vec::new, |(i, x)| walk_back(&rounds, *x, i as isize - round as isize))
}

/// Where an edit arrives on diagonal `k`, and the diagonal it comes from.
fn step(before: Option<&Vec<usize>>, round: usize, k: isize) -> (usize, isize) {
    let (Some(before), Some(last)) = (before, round.checked_sub(1)) else {
        return (0, 0);
    };
    match (at(before, last, k - 1), at(before, last, k + 1)) {
        (Some(left), Some(down)) if left < down => (down, k + 1),
        (Some(left), _) => (left + 1, k - 1),
        (None, Some(down)) => (down, k + 1),
        (None, None) => (0, k),
    }
}

/// The equal items on the way to `x` on diagonal `k` of the last round.
fn walk_back(rounds: &[Vec<usize>], mut x: usize, mut k: isize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for round in (0..rounds.len()).rev() {
        let before = round.checked_sub(1).and_then(|last| rounds.get(last));
        let (start, from) = step(before, round, k);
        while x > start {
            x -= 1;
            pairs.push((x, x.saturating_add_signed(-k)));
        }
        if let Some(before) = before {
            x = at(before, round - 1, from).unwrap_or(0);
            k = from;
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of the longest common subsequence, by its definition.
    fn longest(a: &[u8], b: &[u8]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut diagonal = 0;
            for (j, y) in b.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
                diagonal = above;
            }
        }
        row[b.len()]
    }

    #[test]
    fn the_longest_is_found() {
        let mut state = 1u32;
        let mut letter = |kinds: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16).wrapping_rem(kinds) as u8
        };
        for round in 0..300 {
            let sequence = |length: usize, letter: &mut dyn FnMut(u32) -> u8| -> Vec<u8> {
                (0..length).map(|_| letter(2 + round % 4)).collect()
            };
            let a = sequence(round as usize % 23, &mut letter);
            let b = sequence((round as usize * 7) % 19, &mut letter);
            let pairs = common(&a, &b);
            assert!(pairs.iter().all(|(i, j)| a[*i] == b[*j]));
            assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
            assert_eq!(pairs.len(), longest(&a, &b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_differs_too_much_ends() {
        let a: Vec<u32> = (0..5000).collect();
        let b: Vec<u32> = (0..5000).map(|n| if n % 2 == 0 { n } else { n + 100_000 }).collect();
        let pairs = common(&a, &b);
        assert!(pairs.len() > 400, "{}", pairs.len());
        assert!(pairs.iter().all(|(i, j)| a[*i] == b[*j]));
    }
}
