//! What a tokenizer puts before a text: special tokens, and a space. Neither belongs before a text that goes on
//! from one that is there already.

use serde_json::{Map, Value, json};
use std::collections::HashSet;
use tokenizers::normalizers::Sequence;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

/// Ids of the special tokens that `processor` puts before a text.
pub(crate) fn special_tokens(processor: &PostProcessorWrapper) -> Vec<u32> {
    serde_json::to_value(processor).map(|json| special_tokens_in(&json)).unwrap_or_default()
}

/// Read from its definition: the library runs one without checking it, and a broken one panics.
fn special_tokens_in(processor: &Value) -> Vec<u32> {
    let list = |key: &str| processor[key].as_array().map(Vec::as_slice).unwrap_or_default();
    match processor["type"].as_str() {
        Some("Sequence") => list("processors").iter().flat_map(special_tokens_in).collect(),
        Some("TemplateProcessing") => {
            let mut ids: Vec<u64> = Vec::new();
            for piece in list("single") {
                let Some(name) = piece["SpecialToken"]["id"].as_str() else { break };
                let token = &processor["special_tokens"][name]["ids"];
                ids.extend(token.as_array().into_iter().flatten().filter_map(Value::as_u64));
            }
            ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()
        }
        _ => Vec::new(),
    }
}

/// A post-processor that puts `tokens` before a text, for other readers of `tokenizer.json`; none where there is
/// nothing to put.
pub(crate) fn post_processor(tokens: &[(String, u32)]) -> Option<PostProcessorWrapper> {
    if tokens.is_empty() {
        return None;
    }
    let sequence = |text: &str| {
        let special = tokens.iter().map(|(name, _)| ("SpecialToken", name.as_str()));
        let pieces = special.chain([("Sequence", text)]);
        pieces.map(|(kind, id)| json!({kind: {"id": id, "type_id": 0}})).collect::<Vec<Value>>()
    };
    let named = |(name, id): &(String, u32)| {
        (name.clone(), json!({"id": name, "ids": [id], "tokens": [name]}))
    };
    let (single, pair) = (sequence("A"), [sequence("A"), sequence("B")].concat());
    let special_tokens: Map<String, Value> = tokens.iter().map(named).collect();
    let template = json!({
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": special_tokens,
    });
    Some(serde_json::from_value(template).expect("a template as the library writes it"))
}

/// Encodes a text that goes on from another one, for a tokenizer that puts a space before every text
/// (SentencePiece's dummy prefix).
pub(crate) struct Continuation {
    /// The tokenizer without that space, blind to special tokens.
    bare: tokenizers::Tokenizer,
    /// Tokens beside the vocabulary: what follows one of them is a piece that the tokenizer begins anew.
    added: HashSet<u32>,
}

impl Continuation {
    /// None where the tokenizer puts no space before a text, and so spells it alike wherever it stands.
    /// `plain` is blind to special tokens.
    pub(crate) fn of(plain: &tokenizers::Tokenizer) -> Option<Self> {
        let mut normalizer = plain.get_normalizer().cloned();
        let mut pre_tokenizer = plain.get_pre_tokenizer().cloned();
        let normalizes = normalizer.as_mut().is_some_and(take_from_normalizer);
        let splits = pre_tokenizer.as_mut().is_some_and(take_from_pre_tokenizer);
        if !normalizes && !splits {
            return None;
        }
        let mut bare = plain.clone();
        bare.with_normalizer(normalizer).ok()?;
        bare.with_pre_tokenizer(pre_tokenizer);
        let added = plain.get_added_tokens_decoder().keys().copied().collect();
        Some(Self { bare, added })
    }

    /// Tokens of `text`. Up to the first special token it goes on; from there `own`, the tokenizer that would
    /// encode it at the beginning, does as it always does.
    ///
    /// # Errors
    /// When the vocabulary cannot spell it.
    pub(crate) fn encode(
        &self,
        own: &tokenizers::Tokenizer,
        text: &str,
    ) -> tokenizers::Result<Vec<u32>> {
        let whole = own.encode(text, false)?;
        let ids = whole.get_ids();
        let special = ids.iter().position(|id| self.added.contains(id)).unwrap_or(ids.len());
        let end = whole.get_offsets().get(special).map_or(text.len(), |(start, _)| *start);
        let before = self.bare.encode_fast(text.get(..end).unwrap_or_default(), false)?;
        Ok([before.get_ids(), &ids[special..]].concat())
    }
}

/// Takes the space before a text out of `normalizer`; false where it puts none.
fn take_from_normalizer(normalizer: &mut NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::Sequence(steps) => {
            let steps: &mut [NormalizerWrapper] = steps.as_mut();
            steps.iter_mut().map(take_from_normalizer).filter(|taken| *taken).count() > 0
        }
        NormalizerWrapper::Prepend(_) => {
            *normalizer = NormalizerWrapper::Sequence(Sequence::new(Vec::new()));
            true
        }
        _ => false,
    }
}

/// As [`take_from_normalizer`].
fn take_from_pre_tokenizer(pre_tokenizer: &mut PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::Sequence(steps) => {
            let steps: &mut [PreTokenizerWrapper] = steps.as_mut();
            steps.iter_mut().map(take_from_pre_tokenizer).filter(|taken| *taken).count() > 0
        }
        PreTokenizerWrapper::Metaspace(space) => {
            let scheme = std::mem::replace(&mut space.prepend_scheme, PrependScheme::Never);
            scheme != PrependScheme::Never
        }
        PreTokenizerWrapper::ByteLevel(bytes) => std::mem::take(&mut bytes.add_prefix_space),
        _ => false,
    }
}
