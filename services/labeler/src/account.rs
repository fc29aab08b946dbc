//! Judges asked on the worker's account. What an answer took is told to who asks, also where nothing comes of it: a
//! job that ends by it has paid all the same.

use rlaif_clerk::Asked;
use rlaif_job::Tokens;
use rlaif_judge::{Identity, Judge};
use rlaif_service::telemetry;
use rlaif_types::{
    Comparison, Item, Judgement, Pair, Rating, SoftLabel, Unscorable, UnscorableReason,
};
use rlaif_worker::{Failure, JobResources};
use tracing::Span;

/// How often more an endpoint is asked at once for what it had no answer to, where it answers others.
const MORE_ROUNDS: usize = 2;
/// So many answers that are all no good are no chance: the endpoint cannot answer such questions.
const NO_CHANCE: usize = 8;

/// Labels pairs, and adds what that took to `used`.
pub(crate) fn compare(
    job: &JobResources,
    judge: &Judge,
    pairs: &[Pair],
    used: &mut Tokens,
) -> Result<Vec<Judgement<Comparison>>, Failure> {
    let trace_id = telemetry::trace_id(&Span::current());
    answers(
        judge.labeler(),
        pairs,
        || is_there(job, judge),
        |pairs| Ok(job.clerk().compare(judge, pairs, trace_id.as_deref())?),
        used,
    )
}

/// Who of each pair is better; adds what it took to know that to `used`. What silence settles is not asked about.
pub(crate) fn settle(
    job: &JobResources,
    judge: &Judge,
    pairs: &[Pair],
    used: &mut Tokens,
) -> Result<Vec<Judgement<SoftLabel>>, Failure> {
    let settled: Vec<Option<SoftLabel>> = pairs.iter().map(Pair::by_silence).collect();
    let open = pairs.iter().zip(&settled).filter(|(_, settled)| settled.is_none());
    let open: Vec<Pair> = open.map(|(pair, _)| pair.clone()).collect();
    let mut judged =
        compare(job, judge, &open, used)?.into_iter().map(|said| said.map(|said| said.label));
    let labels = settled.into_iter().filter_map(|label| match label {
        Some(label) => Some(Ok(label)),
        None => judged.next(),
    });
    Ok(labels.collect())
}

/// Rates items, and adds what that took to `used`.
pub(crate) fn rate(
    job: &JobResources,
    judge: &Judge,
    items: &[Item],
    used: &mut Tokens,
) -> Result<Vec<Judgement<Rating>>, Failure> {
    let trace_id = telemetry::trace_id(&Span::current());
    answers(
        judge.labeler(),
        items,
        || is_there(job, judge),
        |items| Ok(job.clerk().rate(judge, items, trace_id.as_deref())?),
        used,
    )
}

/// Whether the endpoint says something, be it that it has no answer, to something short that is put to it. It counts on
/// the worker's account alone: the attempt that asks is made again, and a job's account has what came to an end.
fn is_there(job: &JobResources, judge: &Judge) -> Result<bool, Failure> {
    let answers = said(job.clerk().check_presence(judge)?)?;
    Ok(answers.iter().all(Result::is_ok))
}

/// The answers to `questions`. Those that an endpoint gives no answer to while it answers others are asked again: what
/// goes back into a job stays unscorable there. Where it answers none of them, `is_there` asks it something else, to
/// tell whether it is away. What they took is added to `used`.
fn answers<Q: Clone, T>(
    labeler: &Identity,
    questions: &[Q],
    is_there: impl FnOnce() -> Result<bool, Failure>,
    mut ask: impl FnMut(&[Q]) -> Result<Asked<T>, Failure>,
    used: &mut Tokens,
) -> Result<Vec<Judgement<T>>, Failure> {
    let mut tokens = Tokens::default();
    let mut ask = |questions: &[Q]| {
        let asked = ask(questions)?;
        let took = Tokens::new(asked.effort.prompt_tokens, asked.effort.completion_tokens);
        tokens += took;
        *used += took;
        said(asked)
    };
    let mut answers = ask(questions)?;
    for _ in 0..MORE_ROUNDS {
        let is_away = |place: &usize| is(&answers[*place], UnscorableReason::EngineUnavailable);
        let away: Vec<usize> = (0..answers.len()).filter(is_away).collect();
        if away.is_empty() || !answers.iter().any(Result::is_ok) {
            break;
        }
        let again: Vec<Q> = away.iter().map(|place| questions[*place].clone()).collect();
        for (place, said) in away.into_iter().zip(ask(&again)?) {
            answers[place] = said;
        }
    }
    let why = match check(labeler, &answers, tokens) {
        Err(Failure::Away(why)) => why,
        checked => return checked.map(|()| answers),
    };
    // Away for these questions alone it would be for ever, and keep their job waiting as an outage does.
    match is_there()? {
        true => {
            Err(Failure::Retry(format!("{why}; it answers another question, so it is about these")))
        }
        false => Err(Failure::Away(why)),
    }
}

fn said<T>(asked: Asked<T>) -> Result<Vec<Judgement<T>>, Failure> {
    if let Some(refused) = asked.refused {
        return Err(Failure::impossible(format!(
            "the labeler stopped at its ceiling (labeler.max_cost and max_tokens of the job, --max-cost and \
             --max-tokens of `rlaif run`, or worker.ledger): {refused}, then resume the job"
        )));
    }
    Ok(asked.answers.into_iter().flatten().collect())
}

/// # Errors
/// When it is the endpoint that is at fault, and not single questions. They took these `tokens`.
fn check<T>(labeler: &Identity, answers: &[Judgement<T>], tokens: Tokens) -> Result<(), Failure> {
    if labeler.is_local() {
        return Ok(());
    }
    let first = |reason| answers.iter().find(|answer| is(answer, reason))?.as_ref().err();
    let told = |why: &Unscorable| format!("{} at {}: {why}", labeler.name, labeler.place);
    if let Some(why) = first(UnscorableReason::EngineRefused) {
        return Err(Failure::impossible(format!(
            "{}; mend the endpoint's file, its key or the account, start the labeler again, then resume the job",
            told(why)
        )));
    }
    if answers.iter().any(Result::is_ok) {
        return Ok(());
    }
    // An endpoint that answers nothing at all is down: another time it may be up. Where it may have worked, as behind a
    // timeout that is too short, each time is charged and no job's account hears of it: that is tried a few times only.
    if let Some(why) = first(UnscorableReason::EngineUnavailable) {
        let is_free = tokens == Tokens::default();
        return Err(if is_free { Failure::Away(told(why)) } else { Failure::Retry(told(why)) });
    }
    // What the endpoint said, or could not say, of what it was asked; not what could not be asked.
    let is_vain = |answer: &&Judgement<T>| {
        [UnscorableReason::EngineFailed, UnscorableReason::NoVerdict]
            .iter()
            .any(|reason| is(answer, *reason))
    };
    let vain: Vec<&Judgement<T>> = answers.iter().filter(is_vain).collect();
    match vain.first() {
        Some(Err(why)) if vain.len() >= NO_CHANCE && vain.len() == answers.len() => {
            let (count, why) = (vain.len(), told(why));
            Err(Failure::impossible(format!("none of {count} questions could be answered: {why}")))
        }
        _ => Ok(()),
    }
}

fn is<T>(answer: &Judgement<T>, reason: UnscorableReason) -> bool {
    answer.as_ref().is_err_and(|why| why.reason == reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_judge::Effort;
    use rlaif_types::ContentHash;

    fn endpoint() -> Identity {
        Identity {
            name: "m".into(),
            hash: ContentHash::of("m"),
            parameters: None,
            place: "http://judge/v1".into(),
        }
    }

    fn fails(reason: UnscorableReason) -> Judgement<u32> {
        Err(Unscorable::new(reason, "said the server"))
    }

    /// An answer to each question, for a token.
    fn asked(answers: Vec<Judgement<u32>>) -> Result<Asked<u32>, Failure> {
        let effort = Effort { prompt_tokens: answers.len(), ..Effort::default() };
        Ok(Asked { answers: answers.into_iter().map(Some).collect(), effort, refused: None })
    }

    /// Of one question; nothing was charged.
    fn unreached() -> Result<Asked<u32>, Failure> {
        let answers = vec![Some(fails(UnscorableReason::EngineUnavailable))];
        Ok(Asked { answers, effort: Effort::default(), refused: None })
    }

    /// The endpoint's answers, and what they took.
    fn ask_all(
        questions: &[u32],
        is_there: impl FnOnce() -> Result<bool, Failure>,
        ask: impl FnMut(&[u32]) -> Result<Asked<u32>, Failure>,
    ) -> (Result<Vec<Judgement<u32>>, Failure>, Tokens) {
        let mut used = Tokens::default();
        let answered = answers(&endpoint(), questions, is_there, ask, &mut used);
        (answered, used)
    }

    #[test]
    fn what_had_no_answer_is_asked_again_alone_while_others_have_theirs() {
        let mut batches = Vec::new();
        let ask = |questions: &[u32]| {
            batches.push(questions.to_vec());
            let is_first = batches.len() == 1;
            let answer = |question: &u32| match (is_first, question) {
                (true, 2) => fails(UnscorableReason::EngineUnavailable),
                (_, 3) => fails(UnscorableReason::EngineFailed),
                (_, question) => Ok(*question),
            };
            asked(questions.iter().map(answer).collect())
        };
        let (answered, used) = ask_all(&[1, 2, 3], || Ok(true), ask);
        assert_eq!(answered.unwrap(), [Ok(1), Ok(2), fails(UnscorableReason::EngineFailed)]);
        assert_eq!(batches, [vec![1, 2, 3], vec![2]]);
        assert_eq!(used, Tokens::new(4, 0));
    }

    #[test]
    fn one_that_never_has_an_answer_does_not_hold_the_others_up_for_good() {
        let mut rounds = 0;
        let ask = |questions: &[u32]| {
            rounds += 1;
            let answer = |question: &u32| match question {
                2 => fails(UnscorableReason::EngineUnavailable),
                question => Ok(*question),
            };
            asked(questions.iter().map(answer).collect())
        };
        let (answered, _) = ask_all(&[1, 2], || Ok(true), ask);
        assert_eq!(answered.unwrap(), [Ok(1), fails(UnscorableReason::EngineUnavailable)]);
        assert_eq!(rounds, 1 + MORE_ROUNDS);
    }

    #[test]
    fn an_endpoint_that_answers_another_question_is_not_away() {
        let of = |answers_another: bool| {
            ask_all(&[1], || Ok(answers_another), |_: &[u32]| unreached()).0
        };
        assert!(matches!(of(false), Err(Failure::Away(_))));
        let failed = of(true).unwrap_err();
        assert!(matches!(&failed, Failure::Retry(why) if why.contains("answers another question")));
        // Where the ceiling leaves nothing to ask that with, it leaves nothing for the questions either.
        let ceiling = || Err(Failure::impossible("the ceiling"));
        let (ended, _) = ask_all(&[1], ceiling, |_: &[u32]| unreached());
        assert!(matches!(ended, Err(Failure::Impossible(_))), "{ended:?}");
    }

    #[test]
    fn an_endpoint_that_is_down_is_tried_another_time_and_one_that_refuses_ends_the_job() {
        use UnscorableReason::{BadItem, EngineFailed, EngineRefused, EngineUnavailable};
        let of = |reasons: &[UnscorableReason]| {
            let failures: Vec<Judgement<u32>> = reasons.iter().map(|r| fails(*r)).collect();
            check(&endpoint(), &failures, Tokens::default())
        };
        assert!(matches!(of(&[EngineUnavailable; 2]), Err(Failure::Away(_))));
        let refused = of(&[EngineUnavailable, EngineRefused]).unwrap_err();
        assert!(matches!(&refused, Failure::Impossible(why) if why.contains("said the server")));
        // The account may be used up in the middle.
        let mixed = [Ok(1), fails(EngineRefused)];
        let ended = check(&endpoint(), &mixed, Tokens::default());
        assert!(matches!(ended, Err(Failure::Impossible(_))));
        // Some have what cannot be answered; all of many have not.
        assert_eq!(of(&[EngineFailed]), Ok(()));
        assert_eq!(of(&[BadItem; NO_CHANCE]), Ok(()));
        assert!(matches!(of(&[EngineFailed; NO_CHANCE]), Err(Failure::Impossible(_))));
    }

    #[test]
    fn an_endpoint_that_charges_for_no_answer_is_not_tried_for_ever() {
        let late = |_: &[u32]| asked(vec![fails(UnscorableReason::EngineUnavailable)]);
        let (ended, _) = ask_all(&[1], || Ok(false), late);
        assert!(matches!(ended, Err(Failure::Retry(_))), "{ended:?}");
        // Who was not reached has charged nothing.
        let (ended, _) = ask_all(&[1], || Ok(false), |_: &[u32]| unreached());
        assert!(matches!(ended, Err(Failure::Away(_))), "{ended:?}");
    }

    #[test]
    fn what_was_paid_is_told_also_where_it_ends_the_job() {
        let failing = |reason| {
            move |questions: &[u32]| asked(questions.iter().map(|_| fails(reason)).collect())
        };
        for reason in [UnscorableReason::EngineFailed, UnscorableReason::EngineRefused] {
            let (ended, used) = ask_all(&[1; NO_CHANCE], || Ok(true), failing(reason));
            assert!(matches!(ended, Err(Failure::Impossible(_))), "{ended:?}");
            assert_eq!(used, Tokens::new(NO_CHANCE, 0));
        }
    }
}
