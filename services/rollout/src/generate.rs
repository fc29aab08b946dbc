//! Responses to prompts: pairs for the labeler to compare, and rollouts to learn from.

use crate::prompts::encode;
use rlaif_job::{Generate, Rollout, SampledPair, SamplingConfig, Tokens, WorkResult, seed_for};
use rlaif_models::LanguageModel;
use rlaif_types::{Episode, Pair, Unscorable, UnscorableReason};
use rlaif_worker::{Dialogue, Failure, JobResources, Progress};

/// Two responses to each prompt.
pub(crate) fn sample_pairs(
    job: &JobResources,
    generate: &Generate,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    job.with_engine(&generate.policy.model, |engine| {
        let dialogue = Dialogue::with(engine, generate.policy.chat)?;
        let requests: Vec<_> = encode(&dialogue, generate)?
            .into_iter()
            .zip(generate.first..)
            .flat_map(|(tokens, number)| {
                ["response a", "response b"].map(|purpose| {
                    let seed = seed_for(generate.seed, purpose, number as u64);
                    dialogue.request(tokens.clone(), &generate.sampling, seed)
                })
            })
            .collect();
        let read = requests.iter().map(|request| request.prompt.len()).sum();
        let drawn = engine.generate(requests)?;
        let written = drawn.iter().map(|g| g.tokens.len()).sum();
        progress.used(Tokens::new(read, written));
        let pairs = generate.prompts.iter().zip(drawn.chunks_exact(2));
        let pairs = pairs.map(|(prompt, drawn)| {
            let (a, b) = (&drawn[0], &drawn[1]);
            let pair = Pair {
                prompt: prompt.clone(),
                response_a: dialogue.text(&a.tokens),
                response_b: dialogue.text(&b.tokens),
            };
            SampledPair { pair, finish_a: a.finish, finish_b: b.finish }
        });
        Ok(WorkResult::Pairs(pairs.collect()))
    })
}

/// One response to each prompt, with log-probabilities.
pub(crate) fn rollout(
    job: &JobResources,
    generate: &Generate,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    job.with_engine(&generate.policy.model, |engine| {
        let dialogue = Dialogue::with(engine, generate.policy.chat)?;
        let tokens = encode(&dialogue, generate)?;
        let (how, seed) = (&generate.sampling, generate.seed);
        let rollouts = draw(engine, &dialogue, how, seed, generate.first, tokens)?;
        progress.used(tokens_of(&rollouts));
        Ok(WorkResult::Rollouts(rollouts))
    })
}

/// What was read and written for rollouts.
pub(crate) fn tokens_of(rollouts: &[Rollout]) -> Tokens {
    let read = rollouts.iter().map(|rollout| rollout.episode.prompt.len()).sum();
    let written = rollouts.iter().map(|rollout| rollout.episode.response.len()).sum();
    Tokens::new(read, written)
}

/// Draws one response to each prompt; `first` is the number of the first.
pub(crate) fn draw(
    engine: &dyn LanguageModel,
    dialogue: &Dialogue,
    how: &SamplingConfig,
    seed: u64,
    first: usize,
    prompts: Vec<Vec<u32>>,
) -> Result<Vec<Rollout>, Failure> {
    let requests = prompts.iter().zip(first..).map(|(tokens, number)| {
        dialogue.request(tokens.clone(), how, seed_for(seed, "rollout", number as u64))
    });
    let generations = engine.generate(requests.collect())?;
    let pending = || Unscorable::new(UnscorableReason::NoVerdict, "not judged yet");
    if generations.iter().flat_map(|g| &g.logprobs).any(|logprob| logprob.is_nan()) {
        return Err(Failure::impossible(format!(
            "the policy gives its tokens probabilities that are not numbers; the weights of {} are \
             damaged",
            engine.info().name
        )));
    }
    let rollouts = prompts.into_iter().zip(generations).map(|(prompt, generation)| Rollout {
        text: dialogue.text(&generation.tokens),
        finish: generation.finish,
        episode: Episode {
            prompt,
            response: generation.tokens,
            logprobs: generation.logprobs,
            reward: Err(pending()),
            off_policy_steps: 0,
        },
    });
    Ok(rollouts.collect())
}
