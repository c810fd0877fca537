//! Outcomes by family, and what a run amounts to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::runner::{Outcome, Verdict};

/// One family.
#[derive(Clone, Debug, Serialize)]
pub struct FamilyRow {
    /// Name.
    pub family: String,
    /// Cases.
    pub cases: usize,
    /// Cases whose recorded results agree.
    pub passed: usize,
    /// Cases that were not compared.
    pub skipped: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Lowest PSNR in dB among passed cases; infinite when all tensors are equal.
    pub worst_psnr: Option<f64>,
    /// Largest relative difference among passed cases.
    pub worst_error: Option<f64>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Families by name.
    pub families: Vec<FamilyRow>,
    /// All of them together.
    pub total: FamilyRow,
    /// Skipped cases by reason, and whether the list has them.
    pub skips: BTreeMap<String, SkipCount>,
    /// Elements that differ as the list says.
    pub expected_differences: usize,
    /// Tensors that pass by their closeness to the wide result.
    pub by_wide: usize,
    /// Skips that are not on the list; they make the run fail.
    pub unlisted: usize,
}

/// Skips for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SkipCount {
    /// On the list of expected results.
    pub listed: usize,
    /// Not on it.
    pub unlisted: usize,
}

impl FamilyRow {
    fn new(family: &str) -> FamilyRow {
        FamilyRow {
            family: family.into(),
            cases: 0,
            passed: 0,
            skipped: 0,
            failed: 0,
            worst_psnr: None,
            worst_error: None,
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.cases += 1;
        match &outcome.verdict {
            Verdict::Passed => {
                self.passed += 1;
                let lower = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::min);
                let higher = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
                self.worst_psnr = lower(self.worst_psnr, outcome.worst_psnr);
                self.worst_error = higher(self.worst_error, outcome.worst_error);
            }
            Verdict::Skipped { .. } => self.skipped += 1,
            Verdict::Failed(_) => self.failed += 1,
        }
    }
}

impl Summary {
    /// Of outcomes.
    pub fn of(outcomes: &[Outcome]) -> Summary {
        let mut families: BTreeMap<&str, FamilyRow> = BTreeMap::new();
        let mut total = FamilyRow::new("all");
        let mut skips: BTreeMap<String, SkipCount> = BTreeMap::new();
        let mut unlisted = 0;
        for outcome in outcomes {
            total.add(outcome);
            let row = families.entry(&outcome.family).or_insert_with(|| FamilyRow::new(&outcome.family));
            row.add(outcome);
            if let Verdict::Skipped { reason, listed } = &outcome.verdict {
                let count = skips.entry(reason.to_string()).or_default();
                count.listed += usize::from(*listed);
                count.unlisted += usize::from(!*listed);
                unlisted += usize::from(!*listed);
            }
        }
        Summary {
            families: families.into_values().collect(),
            total,
            skips,
            expected_differences: outcomes.iter().map(|o| o.expected_differences).sum(),
            by_wide: outcomes.iter().map(|o| o.by_wide).sum(),
            unlisted,
        }
    }

    /// Whether everything passed or was skipped as the list says.
    pub fn good(&self) -> bool {
        self.total.failed == 0 && self.unlisted == 0
    }
}
