//! Pairs as rollout workers draw them.

use crate::bench::{Process, generate, named, prompts};
use rlaif_job::{SampledPair, TaskId, Work, WorkResult};
use rlaif_types::Finish;

/// Pairs whose responses have one token each.
fn sampled(process: &Process, stop: Vec<String>) -> Vec<SampledPair> {
    let mut asked = generate(named(), 0, prompts(8));
    (asked.sampling.max_new_tokens, asked.sampling.stop) = (1, stop);
    match process.done(TaskId::Sample(0), Work::SamplePairs(asked)) {
        WorkResult::Pairs(pairs) => pairs,
        other => panic!("sampling gave {other:?}"),
    }
}

fn finishes(sampled: &SampledPair) -> [Finish; 2] {
    [sampled.finish_a, sampled.finish_b]
}

fn responses(sampled: &SampledPair) -> [&String; 2] {
    [&sampled.pair.response_a, &sampled.pair.response_b]
}

#[test]
fn each_response_of_a_pair_says_whether_it_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    // No response ends before its first token (sampling.min_new_tokens), and there is no second.
    let cut = sampled(&process, Vec::new());
    assert!(cut.iter().all(|pair| finishes(pair) == [Finish::Length; 2]), "{cut:?}");

    // One of these responses, which are drawn again, now says all that it is to say.
    let stop = cut.iter().flat_map(responses).find(|text| !text.is_empty()).unwrap().clone();
    let stopped = sampled(&process, vec![stop.clone()]);
    for (before, now) in cut.iter().zip(&stopped) {
        assert_eq!(now.pair, before.pair);
        let expected = responses(now).map(|text| match text.contains(stop.as_str()) {
            true => Finish::Stop,
            false => Finish::Length,
        });
        assert_eq!(finishes(now), expected, "{now:?}");
    }
}
