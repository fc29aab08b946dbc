//! Questions to an OpenAI-compatible endpoint. Tokens are the server's, so verdicts are told by their
//! texts; what the server does not say is never guessed.

use crate::descent::{Descent, NEGLIGIBLE};
use crate::engine::{Accounted, Effort, Engine, Identity, News, Question, Reading, Thought};
use crate::judge::no_verdict;
use crate::spelling::Spellings;
use futures_util::StreamExt;
use futures_util::stream;
use rlaif_openai::{Api, Client, Endpoint, Error, Generation, Lost, Prefill, Prompt, Provenance};
use rlaif_types::{
    Distinct, Hasher, Judgement, Message, Unscorable, UnscorableReason, canonical_json,
    estimated_tokens,
};
use serde_json::json;
use std::cell::OnceCell;
use std::path::Path;
use tokio::runtime::Handle;

/// Answers that are told of at a time: few, since a kill before that loses them.
const TOLD_TOGETHER: usize = 8;
/// Seeds are numbers of 31 bits on some servers.
const SEEDS: u64 = 1 << 31;

/// A model behind an endpoint.
pub struct EndpointEngine {
    client: Client,
    runtime: Handle,
    identity: Identity,
}

/// A question being asked, and what that has taken.
struct Asking<'a> {
    engine: &'a EndpointEngine,
    question: &'a Question,
    /// Of all calls.
    effort: Effort,
    /// Tokens read and written by the calls that gave an answer.
    read: usize,
    wrote: usize,
}

impl EndpointEngine {
    /// Asks the endpoint that the file `path` describes; see [`EndpointEngine::new`].
    ///
    /// # Errors
    /// When the file describes none, or its key cannot be found.
    pub fn open(path: &Path, runtime: Handle) -> Result<Self, Error> {
        Ok(Self::new(Client::new(Endpoint::load(path)?)?, runtime))
    }

    /// Asks `client` on `runtime`; calls of the engine must come from outside of it.
    pub fn new(client: Client, runtime: Handle) -> Self {
        let endpoint = client.endpoint();
        let mut hasher = Hasher::new();
        hasher.field("endpoint").field(&endpoint.base_url).field(&endpoint.model);
        let mut how = vec![json!(endpoint.api), json!(endpoint.prefill), json!(endpoint.extra)];
        // What is not among the tokens named decides which questions have an answer. Who says nothing of either keeps
        // the labels of the time before they counted.
        let usual = Endpoint::default();
        if (endpoint.top_logprobs, &endpoint.revision) != (usual.top_logprobs, &usual.revision) {
            how.extend([json!(endpoint.top_logprobs), json!(endpoint.revision)]);
        }
        hasher.field(canonical_json(&json!(how)));
        let (name, hash) = (endpoint.model.clone(), hasher.finish());
        let identity = Identity { name, hash, parameters: None, place: endpoint.base_url.clone() };
        Self { client, runtime, identity }
    }

    /// The most calls that reading a question's verdicts can take: tokens that the endpoint does not name are asked for
    /// behind each beginning of a verdict, where it can be asked there.
    pub fn most_calls(&self, question: &Question) -> usize {
        let after_space = question.ending().ends_with(char::is_whitespace);
        let spellings = Spellings::new(&question.verdicts, after_space);
        spellings.beginnings().into_iter().filter(|text| self.continues(text)).count()
    }

    async fn answer(&self, question: &Question) -> Accounted<Reading> {
        let mut asking =
            Asking { engine: self, question, effort: Effort::default(), read: 0, wrote: 0 };
        let outcome = asking.reading().await;
        Accounted { outcome, effort: asking.effort }
    }

    /// Whether the model can be made to go on, exactly, after its turn's first words and this `beginning` of a verdict.
    fn continues(&self, beginning: &str) -> bool {
        let endpoint = self.client.endpoint();
        match endpoint.api {
            Api::Completions => true,
            Api::Chat if beginning.is_empty() => true,
            // Chat templates cut white space off.
            Api::Chat => {
                endpoint.prefill != Prefill::UserTurn && !beginning.ends_with(char::is_whitespace)
            }
        }
    }
}

impl Asking<'_> {
    async fn reading(&mut self) -> Judgement<Reading> {
        let question = self.question;
        let rationale = match &question.thought {
            Some(thought) => Some(self.rationale(thought).await?),
            None => None,
        };
        let begun = match &rationale {
            Some(rationale) => question.after(rationale).begun,
            None => question.begun.clone(),
        };
        let verdict_logprobs = match question.verdicts.is_empty() {
            true => Vec::new(),
            false => self.verdicts(begun).await?,
        };
        let (prompt_tokens, completion_tokens) = (self.read, self.wrote);
        Ok(Reading { verdict_logprobs, rationale, prompt_tokens, completion_tokens })
    }

    async fn rationale(&mut self, thought: &Thought) -> Judgement<String> {
        let draws = thought.temperature > 0.0;
        let options = Generation {
            max_tokens: u32::try_from(thought.max_tokens).unwrap_or(u32::MAX),
            temperature: f64::from(thought.temperature),
            top_k: u32::try_from(thought.top_k).ok().filter(|k| draws && *k > 0),
            seed: draws.then_some(thought.seed % SEEDS),
            stop: thought.stop.clone(),
            ..Generation::default()
        };
        let begun = self.question.begun.clone();
        let said = self.engine.client.generate(&self.prompt(&begun), &options).await;
        let said = said.map_err(|error| self.failed(&error))?;
        self.took(&said.provenance, begun.len(), said.text.len());
        Ok(said.text)
    }

    /// Log-probabilities of the verdicts after the answer has begun so.
    async fn verdicts(&mut self, begun: String) -> Judgement<Vec<f64>> {
        let verdicts = &self.question.verdicts;
        let spellings = Spellings::new(verdicts, begun.ends_with(char::is_whitespace));
        let mut descent = Descent::new(spellings, verdicts.len());
        while let Some(open) = descent.pop() {
            let answer = format!("{begun}{}", open.text);
            if self.engine.continues(&open.text) {
                let next = self.engine.client.next_token(&self.prompt(&answer)).await;
                let next = next.map_err(|error| self.failed(&error))?;
                self.took(&next.provenance, answer.len(), 0);
                descent.follow(&open, &next.candidates);
            } else if open.share > NEGLIGIBLE {
                let what = format!(
                    "the answer begins with {:?}, and this endpoint cannot be asked what comes after it: use \
                     api = \"completions\"",
                    open.text
                );
                return Err(no_verdict(what));
            } else {
                descent.leave(&open);
            }
        }
        descent.finish(verdicts).map_err(no_verdict)
    }

    fn prompt(&self, begun: &str) -> Prompt {
        let shown = &self.question.shown;
        match self.engine.client.endpoint().api {
            Api::Completions => Prompt::Text(format!("{shown}{begun}")),
            Api::Chat => Prompt::Chat {
                messages: vec![Message::user(shown.as_str())],
                begun: begun.to_owned(),
            },
        }
    }

    fn took(&mut self, provenance: &Provenance, begun: usize, written: usize) {
        let said = |tokens: Option<u64>| tokens.and_then(|tokens| usize::try_from(tokens).ok());
        // For servers that do not say.
        let guess = estimated_tokens;
        let usage = provenance.usage.as_ref();
        let read = usage.and_then(|usage| said(usage.prompt_tokens));
        let wrote = usage.and_then(|usage| said(usage.completion_tokens));
        let read = read.unwrap_or_else(|| guess(self.question.shown.len() + begun));
        let wrote = wrote.unwrap_or_else(|| guess(written).max(1));
        (self.read, self.wrote) = (self.read + read, self.wrote + wrote);
        self.effort += Effort {
            prompt_tokens: read,
            cached_tokens: usage.and_then(|usage| said(usage.cached_tokens)).unwrap_or(0),
            completion_tokens: wrote,
            attempts: provenance.attempts,
        };
        self.lost(provenance.lost);
    }

    /// Attempts without an answer are paid for, too.
    fn lost(&mut self, lost: Lost) {
        let count = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
        self.effort += Effort {
            prompt_tokens: count(lost.prompt_tokens),
            cached_tokens: count(lost.cached_tokens),
            completion_tokens: count(lost.completion_tokens),
            ..Effort::default()
        };
    }

    fn failed(&mut self, error: &Error) -> Unscorable {
        if let Error::Failed(call) = error {
            self.effort.attempts += call.attempts;
            self.lost(call.lost);
        }
        let reason = if error.is_prompt_too_long() {
            UnscorableReason::PromptTooLong
        } else if error.is_transient() {
            UnscorableReason::EngineUnavailable
        } else if error.is_refusal() {
            UnscorableReason::EngineRefused
        } else {
            UnscorableReason::EngineFailed
        };
        Unscorable::new(reason, error.to_string())
    }
}

impl Engine for EndpointEngine {
    fn check(&self, _ending: &str, verdicts: &[String]) -> Result<(), String> {
        // The server's tokenizer is not known; whether it can spell them is seen when it is asked.
        match verdicts.iter().find(|verdict| verdict.trim().is_empty()) {
            Some(blank) => Err(format!("the verdict {blank:?} is blank")),
            None => Ok(()),
        }
    }

    fn read(&self, questions: &[Question]) -> Vec<Accounted<Reading>> {
        self.read_each(questions, &mut |_| {})
    }

    /// Equal questions, as both orders of two equal responses are, are asked once; the first has the effort.
    fn read_each(
        &self,
        questions: &[Question],
        told: &mut dyn FnMut(News<'_>),
    ) -> Vec<Accounted<Reading>> {
        let ids: Vec<_> = questions.iter().map(|question| question.id(&self.identity)).collect();
        let distinct = Distinct::of(&ids);
        let firsts = distinct.firsts();
        let refusal = OnceCell::new();
        let ask = |(number, place): (usize, &usize)| {
            let (question, refusal) = (&questions[*place], &refusal);
            async move {
                // Who refuses everybody need not be asked by each.
                let answer = match refusal.get() {
                    Some(why) => Accounted::unasked(Unscorable::clone(why)),
                    None => self.answer(question).await,
                };
                if let Err(why) = &answer.outcome
                    && why.reason == UnscorableReason::EngineRefused
                {
                    refusal.get_or_init(|| why.clone());
                }
                (number, answer)
            }
        };
        // As many as are on their way at a time, so that one is answered before the last is begun: a verdict may
        // take several calls, and what is not whole at a kill is lost.
        let at_a_time = self.client.endpoint().max_concurrency.max(1);
        let asked = stream::iter(firsts.iter().enumerate().map(ask)).buffer_unordered(at_a_time);
        let mut answers: Vec<Option<Accounted<Reading>>> = vec![None; firsts.len()];
        self.runtime.block_on(async {
            // What has come in meanwhile is told of together.
            let mut coming = asked.ready_chunks(TOLD_TOGETHER);
            while let Some(some) = coming.next().await {
                let news: Vec<_> =
                    some.iter().map(|(number, answer)| (firsts[*number], answer)).collect();
                told(&news);
                for (number, answer) in some {
                    answers[number] = Some(answer);
                }
            }
        });
        let answers: Vec<_> = answers.into_iter().map(|a| a.expect("each was asked")).collect();
        let mut readings = distinct.spread(&answers);
        for (place, reading) in readings.iter_mut().enumerate() {
            if distinct.firsts().binary_search(&place).is_err() {
                reading.effort = Effort::default();
            }
        }
        readings
    }

    fn prompt_tokens(&self, question: &Question) -> usize {
        estimated_tokens(question.shown.len() + question.begun.len())
    }

    fn at_most(&self, question: &Question) -> Effort {
        question.at_most_by_bytes(self.most_calls(question))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}
