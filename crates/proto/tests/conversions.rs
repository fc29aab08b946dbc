//! What goes over the wire comes back as it was; what is missing or unknown is an error that names
//! the field.

use proptest::collection::vec;
use proptest::prelude::*;
use rlaif_proto::common::v1 as common;
use rlaif_proto::labeler::v1 as labeler;
use rlaif_proto::reward::v1 as reward;
use rlaif_proto::{DecodeError, decode};
use rlaif_types::{
    Answered, Comparison, ContentHash, Item, Judgement, Message, OrderScores, Pair, Prompt, Rating,
    Rationale, Role, SoftLabel, Unscorable, UnscorableReason,
};

/// Through bytes, as between two machines.
fn sent<W: prost::Message + Default>(message: &W) -> W {
    W::decode(message.encode_to_vec().as_slice()).expect("our own bytes decode")
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant)]
}

fn prompt() -> impl Strategy<Value = Prompt> {
    let message = (role(), ".*").prop_map(|(role, content)| Message { role, content });
    prop_oneof![".*".prop_map(Prompt::Text), vec(message, 1..5).prop_map(Prompt::Messages),]
}

fn one_order_label() -> impl Strategy<Value = SoftLabel> {
    (0.0..=1.0).prop_map(|p| SoftLabel::new(p).unwrap())
}

/// Labels of both orders, half of which are off the grid of one order.
fn label() -> impl Strategy<Value = SoftLabel> {
    (one_order_label(), one_order_label()).prop_map(|(ab, ba)| SoftLabel::from_both_orders(ab, ba))
}

fn logprob() -> impl Strategy<Value = f64> {
    prop_oneof![-700.0..=0.0, Just(f64::MIN), Just(-0.0)]
}

fn tokens() -> impl Strategy<Value = usize> {
    prop_oneof![0..100_000usize, Just(usize::MAX)]
}

fn rationales() -> impl Strategy<Value = Vec<Rationale>> {
    let rationale = (".*", vec(logprob(), 2..11), proptest::option::of(one_order_label()));
    let rationale = rationale.prop_map(|(text, verdict_logprobs, prefers_first)| Rationale {
        text,
        verdict_logprobs,
        prefers_first,
    });
    vec(rationale, 0..3)
}

fn order() -> impl Strategy<Value = OrderScores> {
    ([logprob(), logprob()], one_order_label(), tokens(), tokens(), rationales()).prop_map(
        |(verdict_logprobs, prefers_first, prompt_tokens, completion_tokens, rationales)| {
            OrderScores {
                verdict_logprobs,
                prefers_first,
                prompt_tokens,
                completion_tokens,
                rationales,
            }
        },
    )
}

fn unscorable() -> impl Strategy<Value = Unscorable> {
    use UnscorableReason::*;
    let reason = prop_oneof![
        Just(PromptTooLong),
        Just(NoVerdict),
        Just(BadItem),
        Just(EngineFailed),
        Just(EngineUnavailable),
        Just(EngineRefused)
    ];
    (reason, ".*").prop_map(|(reason, detail)| Unscorable { reason, detail })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    (label(), order(), order()).prop_map(|(label, ab, ba)| Comparison { label, ab, ba })
}

fn rating() -> impl Strategy<Value = Rating> {
    let verdicts = vec((logprob(), 0.0..=1.0), 2..11);
    let answered = (verdicts, tokens(), tokens(), rationales()).prop_map(
        |(verdicts, prompt_tokens, completion_tokens, rationales)| {
            let (verdict_logprobs, distribution) = verdicts.into_iter().unzip();
            Answered {
                verdict_logprobs,
                distribution,
                prompt_tokens,
                completion_tokens,
                rationales,
            }
        },
    );
    (-1.0..=1.0, 0.0..=10.0, vec(answered, 1..4)).prop_map(|(reward, score, answers)| Rating {
        reward,
        score,
        answers,
    })
}

/// A judgement of `T`, or a failure.
fn judgement<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Judgement<T>> {
    prop_oneof![value.prop_map(Ok), unscorable().prop_map(Err)]
}

proptest! {
    #[test]
    fn pairs_and_items_come_back(prompt in prompt(), a in ".*", b in ".*") {
        let pair = Pair { prompt: prompt.clone(), response_a: a.clone(), response_b: b };
        prop_assert_eq!(Pair::try_from(sent(&common::Pair::from(pair.clone()))), Ok(pair));
        let item = Item { prompt, response: a };
        prop_assert_eq!(Item::try_from(sent(&common::Item::from(item.clone()))), Ok(item));
    }

    #[test]
    fn soft_labels_come_back_bit_for_bit(one in one_order_label(), both in label()) {
        for label in [one, both] {
            let received = SoftLabel::try_from(sent(&common::SoftLabel::from(label))).unwrap();
            prop_assert_eq!(received.value().to_bits(), label.value().to_bits());
            prop_assert_eq!(received.swapped().value(), 1.0 - label.value());
        }
    }

    #[test]
    fn comparisons_and_their_failures_come_back(judgement in judgement(comparison())) {
        let result = Some(judgement.clone().into());
        let answer = labeler::ComparisonAnswer { result, ..Default::default() };
        prop_assert_eq!(sent(&answer).judgement(), Ok(judgement));
    }

    #[test]
    fn ratings_and_their_failures_come_back(judgement in judgement(rating())) {
        let result = Some(judgement.clone().into());
        let answer = labeler::RatingAnswer { result, ..Default::default() };
        prop_assert_eq!(sent(&answer).judgement(), Ok(judgement));
    }

    #[test]
    fn rewards_and_their_failures_come_back(judgement in judgement(-1e6f32..1e6)) {
        let result = Some(judgement.clone().into());
        let answer = reward::ScoreAnswer { result, ..Default::default() };
        prop_assert_eq!(sent(&answer).judgement(), Ok(judgement));
    }
}

#[test]
fn labels_at_the_ends_are_sent_like_all_others() {
    // proto3 leaves zeros out: without presence, "certainly B" and "no label" would be one.
    for p in [0.0, 0.5, 1.0] {
        let label = SoftLabel::new(p).unwrap();
        assert_eq!(SoftLabel::try_from(sent(&common::SoftLabel::from(label))), Ok(label));
    }
}

fn pair() -> common::Pair {
    let turns = vec![Message::user("Hi"), Message::assistant("Yo"), Message::user("Bye")];
    let prompt = Prompt::Messages(turns);
    Pair { prompt, response_a: "A".into(), response_b: "B".into() }.into()
}

fn turns(pair: &mut common::Pair) -> &mut Vec<common::Message> {
    match pair.prompt.as_mut().unwrap().form.as_mut().unwrap() {
        common::prompt::Form::Conversation(conversation) => &mut conversation.messages,
        common::prompt::Form::Text(_) => panic!("the pair's prompt is a conversation"),
    }
}

#[test]
fn a_senseless_question_is_refused_with_the_path_of_its_field() {
    let path = |break_it: fn(&mut common::Pair)| {
        let mut pair = pair();
        break_it(&mut pair);
        let question = labeler::ComparisonQuestion { pair: Some(pair), ..Default::default() };
        decode::field::<Pair, _>(question.pair, "pair").unwrap_err().to_string()
    };
    let messages = "pair.prompt.conversation.messages";
    assert_eq!(path(|p| p.prompt = None), "pair.prompt: is missing");
    assert_eq!(path(|p| p.prompt = Some(Default::default())), "pair.prompt.form: is missing");
    assert_eq!(path(|p| turns(p).clear()), format!("{messages}: is empty"));
    assert_eq!(
        path(|p| turns(p)[2].role = 9),
        format!("{messages}[2].role: has the unknown value 9; do all services have this version?")
    );
    assert_eq!(path(|p| turns(p)[0].role = 0), format!("{messages}[0].role: is unspecified"));
    let absent = decode::field::<Pair, common::Pair>(None, "pair").unwrap_err();
    assert_eq!(absent.to_string(), "pair: is missing");
}

#[test]
fn a_senseless_label_is_refused_and_never_becomes_a_number() {
    let read = |p| SoftLabel::try_from(common::SoftLabel { probability_a: p });
    for p in [None, Some(-0.1), Some(1.1), Some(f64::NAN), Some(f64::INFINITY), Some(1.0 / 3.0)] {
        assert_eq!(read(p).unwrap_err().path, "probability_a", "{p:?}");
    }
}

fn compared() -> labeler::Comparison {
    let half = SoftLabel::new(0.5).unwrap();
    let order = OrderScores {
        verdict_logprobs: [-1.0; 2],
        prefers_first: half,
        prompt_tokens: 9,
        completion_tokens: 0,
        rationales: Vec::new(),
    };
    Comparison { label: half, ab: order.clone(), ba: order }.into()
}

fn order_ab(comparison: &mut labeler::Comparison) -> &mut labeler::OrderScores {
    comparison.ab.as_mut().unwrap()
}

#[test]
fn a_senseless_comparison_is_refused_with_the_path_of_its_field() {
    use labeler::comparison_answer::Result as Answer;
    let path = |result| {
        let answer = labeler::ComparisonAnswer { result, ..Default::default() };
        answer.judgement().unwrap_err().path
    };
    assert_eq!(path(None), "result");
    let broken = |break_it: fn(&mut labeler::Comparison)| {
        let mut comparison = compared();
        break_it(&mut comparison);
        path(Some(Answer::Comparison(comparison)))
    };
    assert_eq!(broken(|c| c.label = None), "comparison.label");
    assert_eq!(broken(|c| c.ba = None), "comparison.ba");
    assert_eq!(broken(|c| order_ab(c).second_logprob = None), "comparison.ab.second_logprob");
    assert_eq!(
        broken(|c| order_ab(c).first_logprob = Some(f64::NAN)),
        "comparison.ab.first_logprob"
    );
    let unscorable = |reason| common::Unscorable { reason, detail: String::new() };
    for reason in [0, 99] {
        assert_eq!(path(Some(Answer::Unscorable(unscorable(reason)))), "unscorable.reason");
    }
}

#[test]
fn a_senseless_rating_is_refused_with_the_path_of_its_field() {
    let answered = Answered {
        verdict_logprobs: vec![-1.0; 2],
        distribution: vec![0.5; 2],
        prompt_tokens: 9,
        completion_tokens: 0,
        rationales: Vec::new(),
    };
    let rating = Rating { reward: 0.0, score: 0.5, answers: vec![answered.clone(), answered] };
    let broken = |break_it: fn(&mut labeler::Rating)| {
        let mut rating = labeler::Rating::from(rating.clone());
        break_it(&mut rating);
        Rating::try_from(rating).unwrap_err().path
    };
    assert_eq!(broken(|r| r.reward = None), "reward");
    assert_eq!(broken(|r| r.score = Some(f64::INFINITY)), "score");
    assert_eq!(broken(|r| r.answers[1].distribution.truncate(1)), "answers[1].distribution");
    assert_eq!(broken(|r| r.answers[0].distribution[1] = f64::NAN), "answers[0].distribution[1]");
}

#[test]
fn a_reward_that_is_missing_is_not_zero() {
    use reward::score_answer::Result as Answer;
    for reward in [None, Some(f32::NAN), Some(f32::INFINITY)] {
        let result = Some(Answer::Score(reward::Score { reward }));
        let answer = reward::ScoreAnswer { result, ..Default::default() };
        assert_eq!(answer.judgement().unwrap_err().path, "score.reward");
    }
    assert_eq!(reward::ScoreAnswer::default().judgement().unwrap_err().path, "result");
}

#[test]
fn a_hash_is_read_only_as_a_hash() {
    let hash = ContentHash::of("abc");
    assert_eq!(decode::hash(hash.as_str(), "label_id"), Ok(hash));
    assert_eq!(decode::hash("", "label_id"), Err(DecodeError::new("label_id", "is missing")));
    assert_eq!(decode::hash("../../etc", "label_id").unwrap_err().path, "label_id");
}
