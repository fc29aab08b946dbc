//! A labeler: one model, one template, verdicts from log-probabilities.

use crate::fill::fill;
use crate::verdict::VerdictTrie;
use crate::{Error, Kind, Layout, Template};
use rlaif_models::{ChatTemplate, LanguageModel};
use rlaif_types::{
    ContentHash, Hasher, Judgement, LabelId, Message, Pair, Unscorable, UnscorableReason,
};
use std::sync::Arc;

/// A model that answers a template's questions. Cheap to clone.
#[derive(Clone)]
pub struct Judge {
    model: Arc<dyn LanguageModel>,
    template: Arc<Template>,
    template_hash: ContentHash,
    /// One for the template's ending, or one for each question of a rubric.
    pub(crate) endings: Arc<[Ending]>,
}

/// An ending and the verdicts that may follow it.
pub(crate) struct Ending {
    text: String,
    pub(crate) verdicts: VerdictTrie,
}

impl Judge {
    /// A judge that asks `model` what `template` says.
    ///
    /// # Errors
    /// When the model's tokenizer cannot spell the verdicts.
    pub fn new(model: Arc<dyn LanguageModel>, template: Template) -> Result<Self, Error> {
        let ending = |text: &str, verdicts: &[String]| {
            let after_space = text.ends_with(char::is_whitespace);
            let verdicts = VerdictTrie::new(verdicts, model.tokenizer(), after_space)
                .map_err(|what| Error::Template { name: template.name.clone(), what })?;
            Ok::<_, Error>(Ending { text: text.to_owned(), verdicts })
        };
        let endings = match template.kind {
            Kind::Compare | Kind::Rate => vec![ending(&template.ending, &template.verdicts)?],
            Kind::Rubric => template
                .questions
                .iter()
                .map(|q| ending(&q.ending, &[q.good.clone(), q.bad.clone()]))
                .collect::<Result<_, _>>()?,
        };
        let (template_hash, endings) = (template.hash(), endings.into());
        Ok(Self { model, template: Arc::new(template), template_hash, endings })
    }

    /// What it asks.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Identity of what it asks.
    pub fn template_hash(&self) -> &ContentHash {
        &self.template_hash
    }

    /// What it asks with.
    pub fn model(&self) -> &dyn LanguageModel {
        self.model.as_ref()
    }

    /// Identity of the question "which of this pair", asked by this judge.
    pub fn label_id(&self, pair: &Pair) -> LabelId {
        let mut hasher = Hasher::new();
        hasher.field(self.model.info().hash.as_str()).field(self.template_hash.as_str());
        hasher.field(pair.prompt.as_context()).field(&pair.response_a).field(&pair.response_b);
        LabelId(hasher.finish())
    }

    pub(crate) fn expect_kind(&self, kinds: &[Kind], wanted: &'static str) -> Result<(), Error> {
        if kinds.contains(&self.template.kind) {
            return Ok(());
        }
        let name = self.template.name.clone();
        Err(Error::WrongKind { name, found: self.template.kind.describe(), wanted })
    }

    /// Tokens of the prompt that shows `responses` in this order and ends in `ending`.
    ///
    /// # Errors
    /// When it does not fit the model, or a response is empty.
    pub(crate) fn render(
        &self,
        context: &str,
        responses: &[&str],
        ending: &Ending,
    ) -> Judgement<Vec<u32>> {
        if responses.iter().any(|response| response.trim().is_empty()) {
            return Err(Unscorable::new(UnscorableReason::BadItem, "a response is empty"));
        }
        let text = self.text(context, responses);
        let tokens = self.encode(text, &ending.text)?;
        let needed = tokens.len() + ending.verdicts.depth();
        let available = self.model.info().context_length;
        if needed > available {
            let detail = format!("{needed} tokens where the labeler's context holds {available}");
            return Err(Unscorable::new(UnscorableReason::PromptTooLong, detail));
        }
        Ok(tokens)
    }

    /// Preamble, exemplars and sample.
    fn text(&self, context: &str, responses: &[&str]) -> String {
        let template = self.template.as_ref();
        let mut text = template.preamble.clone();
        for exemplar in &template.exemplars {
            text += &fill(
                &template.exemplar,
                &[
                    ("context", &exemplar.context),
                    ("response", &exemplar.response_1),
                    ("response_1", &exemplar.response_1),
                    ("response_2", &exemplar.response_2),
                    ("rationale", &exemplar.rationale),
                    ("verdict", &exemplar.verdict),
                ],
            );
        }
        let fence = fence(context, responses);
        let values: Vec<(&str, &str)> = match responses {
            [one] => vec![("context", context), ("response", one), ("fence", &fence)],
            [one, two, ..] => vec![
                ("context", context),
                ("response_1", one),
                ("response_2", two),
                ("fence", &fence),
            ],
            [] => Vec::new(),
        };
        text + &fill(&template.sample, &values)
    }

    /// The text as the model's tokens: a user's turn where it chats, with the ending as the first
    /// words of its own turn.
    fn encode(&self, text: String, ending: &str) -> Judgement<Vec<u32>> {
        let tokenizer = self.model.tokenizer();
        let chat: Option<&ChatTemplate> = match self.template.layout {
            Layout::Chat => self.model.chat_template(),
            Layout::Text => None,
        };
        let Some(chat) = chat else { return Ok(tokenizer.encode_plain(&(text + ending))) };
        let mut tokens = chat
            .encode(tokenizer, &[Message::user(text)], true)
            .map_err(|e| Unscorable::new(UnscorableReason::BadItem, e.to_string()))?;
        tokens.extend(tokenizer.encode_plain(ending));
        Ok(tokens)
    }

    /// Log-probabilities of the verdicts after each prompt. When the engine refuses the whole, each
    /// prompt is asked alone, so that one bad item costs one item.
    pub(crate) fn ask(&self, prompts: &[(&[u32], &VerdictTrie)]) -> Vec<Judgement<Vec<f64>>> {
        let requests: Vec<_> =
            prompts.iter().map(|(prompt, verdicts)| verdicts.requests(prompt)).collect();
        let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
        match self.model.score(requests.into_iter().flatten().collect()) {
            Ok(answers) => {
                let mut rest = answers.as_slice();
                let each = prompts.iter().zip(lengths).map(|((_, verdicts), length)| {
                    let (mine, others) = rest.split_at(length);
                    rest = others;
                    Ok(verdicts.logprobs(mine))
                });
                each.collect()
            }
            Err(error) if prompts.len() <= 1 => prompts
                .iter()
                .map(|_| Err(Unscorable::new(UnscorableReason::EngineFailed, error.to_string())))
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "a batch of judgements failed; asking one at a time");
                prompts.chunks(1).flat_map(|one| self.ask(one)).collect()
            }
        }
    }
}

/// Eight hex digits that depend on everything shown, whichever order it is shown in: no response
/// can be written to contain the fence around it.
fn fence(context: &str, responses: &[&str]) -> String {
    let mut sorted = responses.to_vec();
    sorted.sort_unstable();
    let mut hasher = Hasher::new();
    hasher.field(context);
    for response in sorted {
        hasher.field(response);
    }
    hasher.finish().as_str()[..8].to_owned()
}
