//! Questions to a language model of this process: verdicts are read from its log-probabilities, right
//! after the ending or after a rationale that it writes first.

use crate::engine::{Accounted, Effort, Engine, Identity, Question, Reading, Thought};
use crate::verdict::VerdictTrie;
use rlaif_models::{
    ChatTemplate, Error, GenerateRequest, Generation, LanguageModel, Sampling, ScoreRequest, Then,
};
use rlaif_template::Layout;
use rlaif_types::{Judgement, Message, Unscorable, UnscorableReason};
use std::sync::Arc;

/// A model of this process.
pub struct LocalEngine {
    model: Arc<dyn LanguageModel>,
    identity: Identity,
}

/// What all questions of a judge show is kept between calls where it has at least so many tokens. Less is
/// computed sooner than looked after, and is shared within a call anyway.
const WORTH_KEEPING: usize = 256;
/// Tokens at the end of a text that may be spelled otherwise when it goes on.
const UNSETTLED: usize = 2;

/// A question in the model's tokens.
struct Prepared {
    prompt: Vec<u32>,
    /// How many tokens of it are the same in all questions of the judge.
    fixed: usize,
    verdicts: VerdictTrie,
    thought: Option<Thinking>,
}

/// One reading for each question, or why the engine refuses all of them.
type Readings = Result<Vec<Accounted<Reading>>, Error>;

/// How a rationale is written, and the tokens of the ending after it.
struct Thinking {
    sampling: Sampling,
    ending: Vec<u32>,
}

impl LocalEngine {
    /// Asks `model`.
    pub fn new(model: Arc<dyn LanguageModel>) -> Self {
        let info = model.info();
        let (name, hash) = (info.name.clone(), info.hash.clone());
        let (parameters, place) = (Some(info.parameters), Identity::LOCAL.to_owned());
        let identity = Identity { name, hash, parameters, place };
        Self { model, identity }
    }

    fn trie(&self, ending: &str, verdicts: &[String]) -> Result<VerdictTrie, String> {
        VerdictTrie::new(verdicts, self.model.tokenizer(), ending.ends_with(char::is_whitespace))
    }

    /// # Errors
    /// When it does not fit the model's context.
    fn prepare(&self, question: &Question, fixed: &[u32]) -> Judgement<Prepared> {
        let bad = |what: String| Unscorable::new(UnscorableReason::BadItem, what);
        let prompt = self.encode(question).map_err(|e| bad(e.to_string()))?;
        let verdicts = self.trie(question.ending(), &question.verdicts).map_err(bad)?;
        let thought = question.thought.as_ref().map(|thought| self.thought(thought));
        let after =
            thought.as_ref().map_or(0, |how| how.sampling.max_new_tokens + how.ending.len());
        let needed = prompt.len() + after + verdicts.depth();
        let available = self.model.info().context_length;
        if needed > available {
            let detail = format!("{needed} tokens where the labeler's context holds {available}");
            return Err(Unscorable::new(UnscorableReason::PromptTooLong, detail));
        }
        let fixed = prompt.iter().zip(fixed).take_while(|(mine, all)| mine == all).count();
        Ok(Prepared { prompt, fixed, verdicts, thought })
    }

    fn thought(&self, thought: &Thought) -> Thinking {
        let tokenizer = self.model.tokenizer();
        let sampling = Sampling {
            max_new_tokens: thought.max_tokens,
            min_new_tokens: 1,
            temperature: thought.temperature,
            top_k: Some(thought.top_k).filter(|k| *k > 0),
            top_p: None,
            stop_tokens: tokenizer.eos_ids().to_vec(),
            stop_texts: thought.stop.clone(),
            seed: thought.seed,
        };
        Thinking { sampling, ending: tokenizer.encode_continuation(&thought.ending) }
    }

    /// A user's turn where the model chats, with what is begun as the first words of its own turn; else
    /// one text.
    fn encode(&self, question: &Question) -> Result<Vec<u32>, Error> {
        let tokenizer = self.model.tokenizer();
        let chat: Option<&ChatTemplate> = match question.layout {
            Layout::Chat => self.model.chat_template(),
            Layout::Text => None,
        };
        let Some(chat) = chat else {
            return Ok(tokenizer.encode_text(&(question.shown.clone() + &question.begun)));
        };
        let mut tokens = chat.encode(tokenizer, &[Message::user(question.shown.as_str())], true)?;
        tokens.extend(tokenizer.encode_continuation(&question.begun));
        Ok(tokens)
    }

    /// Tokens of what all the questions show first, without the last ones: how those are spelled depends on
    /// what follows.
    fn fixed(&self, questions: &[Question]) -> Vec<u32> {
        // So few bytes have fewer tokens. Rationales are not written after a beginning that is kept.
        let is_worth_it =
            |first: &&Question| first.fixed >= WORTH_KEEPING && first.thought.is_none();
        let Some(first) = questions.first().filter(is_worth_it) else { return Vec::new() };
        let shown = first.shown[..first.fixed].to_owned();
        let alone = Question { shown, begun: String::new(), ..first.clone() };
        let mut tokens = self.encode(&alone).unwrap_or_default();
        tokens.truncate(tokens.len().saturating_sub(UNSETTLED));
        tokens
    }

    /// Verdicts right after the prompts.
    fn score(&self, prepared: &[&Prepared]) -> Readings {
        let requests: Vec<Vec<ScoreRequest>> =
            prepared.iter().map(|p| p.verdicts.requests(&p.prompt)).collect();
        let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
        let fixed = prepared.iter().map(|p| p.fixed).min().unwrap_or(0);
        let beginning = if fixed < WORTH_KEEPING { 0 } else { fixed };
        let requests = requests.into_iter().flatten().collect();
        let answers = self.model.score_after(beginning, requests)?;
        let mut rest = answers.as_slice();
        let readings = prepared.iter().zip(lengths).map(|(prepared, length)| {
            let (mine, others) = rest.split_at(length);
            rest = others;
            let verdict_logprobs = prepared.verdicts.logprobs_of(mine);
            accounted(prepared, 0, verdict_logprobs, None)
        });
        Ok(readings.collect())
    }

    /// Rationales, and the verdicts after them, for which neither prompt nor rationale is computed again.
    fn think(&self, prepared: &[(&Prepared, &Thinking)]) -> Readings {
        let request = |(prepared, how): &(&Prepared, &Thinking)| GenerateRequest {
            prompt: prepared.prompt.clone(),
            sampling: how.sampling.clone(),
            then: prepared
                .verdicts
                .branches()
                .map(|(path, candidates)| Then { tokens: [&how.ending, path].concat(), candidates })
                .collect(),
        };
        let generations = self.model.generate(prepared.iter().map(request).collect())?;
        let readings = prepared.iter().zip(generations).map(|((prepared, how), said)| {
            let Generation { tokens, then, .. } = said;
            let tokenizer = self.model.tokenizer();
            let content = how.sampling.content_len(&tokens, tokenizer);
            let verdict_logprobs = prepared.verdicts.logprobs(&then);
            let rationale = Some(tokenizer.decode(&tokens[..content]));
            accounted(prepared, tokens.len(), verdict_logprobs, rationale)
        });
        Ok(readings.collect())
    }
}

impl Engine for LocalEngine {
    fn check(&self, ending: &str, verdicts: &[String]) -> Result<(), String> {
        self.trie(ending, verdicts).map(drop)
    }

    fn read(&self, questions: &[Question]) -> Vec<Accounted<Reading>> {
        let fixed = self.fixed(questions);
        let prepared: Vec<Judgement<Prepared>> =
            questions.iter().map(|q| self.prepare(q, &fixed)).collect();
        let sound = || prepared.iter().flatten();
        let plain: Vec<&Prepared> = sound().filter(|p| p.thought.is_none()).collect();
        let thoughtful: Vec<_> =
            sound().filter_map(|p| p.thought.as_ref().map(|thought| (p, thought))).collect();
        let mut scored = each(&plain, &|some| self.score(some)).into_iter();
        let mut thought = each(&thoughtful, &|some| self.think(some)).into_iter();
        let readings = prepared.iter().map(|prepared| match prepared {
            Ok(Prepared { thought: None, .. }) => scored.next().expect(ONE_EACH),
            Ok(Prepared { thought: Some(_), .. }) => thought.next().expect(ONE_EACH),
            Err(why) => Accounted::unasked(why.clone()),
        });
        readings.collect()
    }

    fn prompt_tokens(&self, question: &Question) -> usize {
        self.encode(question).map_or(0, |prompt| prompt.len())
    }

    /// The prompt's own tokens: it is read once, whatever comes after it. What cannot be asked takes nothing.
    fn at_most(&self, question: &Question) -> Effort {
        let Ok(Prepared { prompt, thought, .. }) = self.prepare(question, &[]) else {
            return Effort::default();
        };
        Effort {
            prompt_tokens: prompt.len(),
            completion_tokens: thought.map_or(0, |how| how.sampling.max_new_tokens),
            ..Effort::default()
        }
    }

    fn fits(&self, question: &Question) -> bool {
        let prepared = self.prepare(question, &[]);
        !prepared.is_err_and(|why| why.reason == UnscorableReason::PromptTooLong)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

const ONE_EACH: &str = "one reading for each question asked";

fn accounted(
    asked: &Prepared,
    completion_tokens: usize,
    verdict_logprobs: Vec<f64>,
    rationale: Option<String>,
) -> Accounted<Reading> {
    let prompt_tokens = asked.prompt.len();
    let effort = Effort { prompt_tokens, completion_tokens, attempts: 1, ..Effort::default() };
    let reading = Reading { verdict_logprobs, rationale, prompt_tokens, completion_tokens };
    Accounted { outcome: Ok(reading), effort }
}

/// Asks all together. When the engine refuses the whole, each is asked alone, so that one bad item
/// costs one item.
fn each<Q>(asked: &[Q], ask: &dyn Fn(&[Q]) -> Readings) -> Vec<Accounted<Reading>> {
    match ask(asked) {
        Ok(readings) => readings,
        Err(error) if asked.len() <= 1 => {
            let failed = || Unscorable::new(UnscorableReason::EngineFailed, error.to_string());
            asked.iter().map(|_| Accounted::unasked(failed())).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "a batch of judgements failed; asking one at a time");
            asked.chunks(1).flat_map(|one| each(one, ask)).collect()
        }
    }
}
