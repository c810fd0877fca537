//! Every op's cases on the host, the CPU unit and the GPU unit. `tests/README.md` says how to run more.

use super::Case;
use super::draw::Drawn;
use super::random::Rng;
use super::run::{Answer, constants_at, definition, device, difference, on_cpu, on_gpu, shown};
use crate::error::Error;
use crate::host::Fault;
use crate::ops::{OPS, Op};
use crate::options::Precision;

/// Draws for each name on the CPU unit; each is planned, so they are cheap.
const DRAWS: usize = 60;
/// How many of them run on the GPU unit too, where each may need pipelines of its own.
const GPU_DRAWS: usize = 3;
/// Failures that are told of one name.
const TOLD: usize = 3;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Ops of states, and those that are no function of tensors alone.
fn without_cases(op: &dyn Op) -> bool {
    op.type_name().contains("::state::")
}

#[test]
fn every_op_has_cases() {
    for op in OPS.iter().flat_map(|family| family.iter()).filter(|op| !without_cases(**op)) {
        let cases = op.cases();
        for name in op.names() {
            assert!(cases.iter().any(|case| case.name == *name), "{name} has no case");
        }
    }
}

/// Draws a graph of one call. With symbols where that can be planned, as a session tries first.
fn drawn(case: &Case, seed: u64, symbolic: bool) -> Result<Drawn, Error> {
    let mut drawn = Drawn::new(constants_at());
    drawn.add(case, seed, symbolic).map(|()| drawn)
}

#[derive(Default)]
struct Tally {
    compared: usize,
    /// Why a draw was left to the host.
    left: Option<String>,
    failures: Vec<String>,
}

/// Compares a unit's answer with the definition's. `true` when results were equal.
fn check(tally: &mut Tally, case: &Case, drawn: &Drawn, what: &str, answer: Answer) -> bool {
    let wanted = definition(drawn);
    let problem = match (answer, &wanted) {
        (Answer::Left(why), _) => {
            tally.left = Some(why);
            return false;
        }
        (Answer::Results(found), Ok(wanted)) => difference(case.name, drawn, &found, wanted),
        (Answer::Failed(Error::IndexOutOfRange { .. }), Err(Fault::Index { .. })) => None,
        (Answer::Failed(e), Ok(_)) => Some(format!("fails: {e}")),
        (Answer::Failed(e), Err(fault)) => Some(format!("fails: {e}; the definition too: {fault:?}")),
        (Answer::Results(_), Err(Fault::Unsupported(_))) => None,
        (Answer::Results(_), Err(fault)) => Some(format!("gives results where the definition has {fault:?}")),
    };
    tally.compared += 1;
    let good = problem.is_none();
    if let Some(problem) = problem {
        tally.failures.push(format!("{} {what}: {problem}\n{}", case.name, shown(drawn)));
    }
    good && wanted.is_ok()
}

fn precision(seed: u64) -> Precision {
    if Rng(!seed).once_in(2) { Precision::Fast } else { Precision::Exact }
}

/// Every draw of a case.
fn run(case: &Case, base: u64) -> Tally {
    let mut tally = Tally::default();
    let mut gpu = vec![];
    let salt = case.name.bytes().fold(base, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    for n in 0..number("COREAI_CASES", DRAWS) {
        let seed = salt.wrapping_add(n as u64);
        let mut done = false;
        if n % 3 == 0
            && let Ok(graph) = drawn(case, seed, true)
            && let answer @ (Answer::Results(_) | Answer::Failed(Error::IndexOutOfRange { .. })) =
                on_cpu(&graph, precision(seed))
        {
            done = check(&mut tally, case, &graph, &format!("draw {n} with symbols on the CPU"), answer);
            if done {
                gpu.push((n, seed, true));
            }
        }
        if done {
            continue;
        }
        match drawn(case, seed, false) {
            Ok(graph) => {
                let answer = on_cpu(&graph, precision(seed));
                if check(&mut tally, case, &graph, &format!("draw {n} on the CPU"), answer) {
                    gpu.push((n, seed, false));
                }
            }
            Err(Error::Unsupported { .. }) => {}
            Err(e) => tally.failures.push(format!("{} draw {n} is refused: {e}", case.name)),
        }
    }
    if tally.compared == 0 {
        let why = tally.left.take().unwrap_or_default();
        tally.failures.push(format!("no draw of {} can be planned: {why}", case.name));
    }
    let Some(device) = device() else { return tally };
    for (n, seed, symbolic) in gpu.into_iter().take(number("COREAI_CASES_GPU", GPU_DRAWS)) {
        let graph = drawn(case, seed, symbolic).unwrap();
        let answer = on_gpu(&graph, device, precision(seed));
        check(&mut tally, case, &graph, &format!("draw {n} on the GPU"), answer);
    }
    tally
}

fn family(ops: &[&dyn Op]) {
    let seed = number("COREAI_CASES_SEED", 1) as u64;
    let only = std::env::var("COREAI_CASES_ONLY").unwrap_or_default();
    let (mut compared, mut told) = (0, vec![]);
    for case in ops.iter().flat_map(|op| op.cases()).filter(|case| case.name.contains(&only)) {
        let started = std::time::Instant::now();
        let tally = run(&case, seed);
        println!("{}: {} compared, {:?}", case.name, tally.compared, started.elapsed());
        compared += tally.compared;
        let failed = tally.failures.len();
        told.extend(tally.failures.into_iter().take(TOLD));
        if failed > TOLD {
            told.push(format!("{}: {} more", case.name, failed - TOLD));
        }
    }
    println!("{compared} results compared");
    assert!(told.is_empty(), "COREAI_CASES_SEED={seed}\n{}", told.join("\n"));
}

macro_rules! families {
    ($($name:ident $number:literal)*) => { $(
        #[test]
        fn $name() {
            family(OPS[$number]);
        }
    )* };
}

families! {
    elementwise 0
    shape 1
    slice 2
    index 3
    matmul 4
    reduce 5
    conv 6
    scatter 7
    resample 8
    quantized 9
}

#[test]
fn every_family_runs() {
    assert_eq!(OPS.len(), 11, "a family without a test here; the last one is the states");
}
