//! Shrinking of a failing plan to a small test.

use super::check::Failure;
use super::plan::Step;

/// Maximum number of runs of a search; a plan that is not minimal is better than none.
const RUNS: u32 = 800;

/// Returns the smallest plan found for which `fails` holds.
pub(crate) fn shrink(plan: &[Step], mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut plan = plan.to_vec();
    let mut runs = 0;
    let mut try_it = |candidate: &[Step]| {
        runs += 1;
        runs <= RUNS && fails(candidate)
    };
    loop {
        let before = plan.clone();
        let mut size = plan.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < plan.len() {
                let mut candidate = plan.clone();
                candidate.drain(at..(at + size).min(plan.len()));
                if try_it(&candidate) {
                    plan = candidate;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        for at in 0..plan.len() {
            while let Some(smaller) = plan[at].smaller().into_iter().find(|step| {
                let mut candidate = plan.clone();
                candidate[at] = step.clone();
                try_it(&candidate)
            }) {
                plan[at] = smaller;
            }
        }
        if plan == before {
            return plan;
        }
    }
}

/// Returns the plan as a test for `simulator.rs`.
pub(crate) fn as_test(seed: u64, plan: &[Step], failure: &Failure) -> String {
    let steps: String = plan
        .iter()
        .map(|step| format!("            {step:?},\n"))
        .collect();
    format!(
        "// {:?}: {}\n#[test]\nfn seed_{seed}() {{\n    use sim::plan::{{Answer::*, Fate::*, Forgery, Reader::*, Step::*, Wire}};\n    sim::replay(\n        {seed},\n        &[\n{steps}        ],\n    );\n}}\n",
        failure.check, failure.what
    )
}
