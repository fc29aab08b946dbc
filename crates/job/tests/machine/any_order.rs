//! What a job leaves does not depend on the order in which results come, on how often, or on how often
//! the machine is built anew from them.

use crate::bench::{PAIRS, STEPS, machine, machine_of, run};
use crate::mixture::MIXTURE;
use crate::selection::SELECTION;
use crate::staleness::STALENESS;
use proptest::prelude::*;
use rlaif_job::Machine;

#[test]
fn a_job_is_done_with_every_task_done_once() {
    let (left, tasks) = run(&|| machine(0), &mut |_| 0, usize::MAX);
    assert_eq!(left.files["labels.jsonl"].len(), PAIRS);
    assert_eq!(left.files["samples.jsonl"].len(), 6 * STEPS);
    assert_eq!(left.files["evaluation.jsonl"].len(), 7);
    // 2 checks, 3 chunks sampled and labelled, the reward model, per step 2 chunks drawn and scored
    // and the step itself, 2 chunks answered and judged.
    assert_eq!(tasks.len(), 2 + 2 * 3 + 1 + STEPS * (2 * 2 + 1) + 2 * 2);
    assert!(left.artifacts.is_empty(), "batches that a checkpoint covers are deleted");
    assert!(["label", "reward", "policy", "evaluate"].iter().all(|s| left.stages.contains_key(s)));
}

proptest! {
    #[test]
    fn neither_order_nor_restarts_change_what_a_job_leaves(
        choices in prop::collection::vec(any::<prop::sample::Index>(), 64),
        rebuild_every in 1usize..40,
        ahead in 0usize..3,
    ) {
        // Both are due after the same steps.
        let measured_twice = format!("{STALENESS}selection = {{ every = 2, candidates = 2, prompts = 2 }}\n");
        let makers: [&dyn Fn() -> Machine; 5] = [
            &|| machine(ahead),
            &|| machine_of(MIXTURE),
            &|| machine_of(STALENESS),
            &|| machine_of(SELECTION),
            &|| machine_of(&measured_twice),
        ];
        for make in makers {
            let expected = run(make, &mut |_| 0, usize::MAX);
            let mut choices = choices.iter();
            let mut choose = |count: usize| choices.next().map_or(0, |choice| choice.index(count));
            prop_assert_eq!(run(make, &mut choose, rebuild_every), expected);
        }
    }
}
