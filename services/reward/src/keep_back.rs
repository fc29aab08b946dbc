//! Pairs kept back to measure on, by prompt: with one of a prompt's pairs to learn from and another to be measured on,
//! a model would be measured on what it has seen.

use rlaif_data::Fingerprint;
use rlaif_job::shuffled;
use std::collections::HashMap;

/// Which of the pairs with these prompts are kept back, and which are left to learn from.
///
/// Prompts are taken in an order drawn by the seed for `purpose`. One is kept back, with all its pairs, where that
/// brings them nearer to `share` of all pairs; where each pair has a prompt of its own, they are that share rounded
/// down. At least one prompt is left to learn from.
pub(crate) fn keep_back(
    prompts: &[Fingerprint],
    share: f64,
    seed: u64,
    purpose: &str,
) -> (Vec<usize>, Vec<usize>) {
    let groups = by_prompt(prompts);
    let wanted = (prompts.len() as f64 * share) as usize;
    let (mut kept_back, mut left) = (Vec::<usize>::new(), Vec::<usize>::new());
    let order = shuffled(groups.len(), seed, purpose, 0).into_iter().enumerate();
    for (drawn_before, group) in order {
        let pairs = &groups[group];
        let brings_nearer = pairs.len() < 2 * wanted.saturating_sub(kept_back.len());
        let is_the_last_to_learn_from = left.is_empty() && drawn_before + 1 == groups.len();
        match brings_nearer && !is_the_last_to_learn_from {
            true => kept_back.extend(pairs),
            false => left.extend(pairs),
        }
    }
    (kept_back, left)
}

/// Numbers of the pairs of each prompt, prompts in the order in which they first come.
fn by_prompt(prompts: &[Fingerprint]) -> Vec<Vec<usize>> {
    let (mut groups, mut known) = (Vec::<Vec<usize>>::new(), HashMap::new());
    for (pair, prompt) in prompts.iter().enumerate() {
        let group = *known.entry(*prompt).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(pair);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::Prompt;

    /// Pairs of so many prompts, which take turns.
    fn pairs(count: usize, prompts: usize) -> Vec<Fingerprint> {
        let prompt = |i| Fingerprint::of_prompt(&Prompt::Text(format!("{}", i % prompts)));
        (0..count).map(prompt).collect()
    }

    #[test]
    fn no_prompt_is_on_both_sides_and_no_pair_is_lost() {
        for (prompts, share) in [(3, 0.25), (7, 0.1), (24, 0.5), (5, 0.99)] {
            let all = pairs(24, prompts);
            let (kept_back, left) = keep_back(&all, share, 7, "held-out labels");
            assert!(kept_back.iter().all(|k| left.iter().all(|l| all[*k] != all[*l])));
            let mut both = [kept_back, left].concat();
            both.sort_unstable();
            assert_eq!(both, (0..24).collect::<Vec<_>>(), "{share} of {prompts} prompts");
        }
    }

    #[test]
    fn as_many_are_kept_back_as_whole_prompts_allow() {
        let kept = |prompts, share| keep_back(&pairs(24, prompts), share, 7, "test").0.len();
        assert_eq!([kept(24, 0.25), kept(12, 0.25), kept(3, 0.25)], [6, 6, 8]);
        assert_eq!(kept(3, 0.1), 0, "a third is further from a tenth than nothing");
        assert_eq!([kept(1, 0.9), kept(2, 0.9)], [0, 12], "something is left to learn from");
    }

    #[test]
    fn pairs_that_share_no_prompt_are_drawn_one_by_one() {
        let (kept_back, left) = keep_back(&pairs(8, 8), 0.25, 7, "test");
        assert_eq!([kept_back, left].concat(), shuffled(8, 7, "test", 0));
    }
}
