//! Text to tokens and back, with two rules: text of users never becomes a special token, and what belongs before
//! a text, a BOS or a space, is before the text that begins a sequence, once, and before nothing else.

use crate::chat::Segment;
use crate::error::Error;
use crate::text_start::{self, Continuation};
use rlaif_types::Hasher;
use std::path::Path;
use std::sync::Arc;

/// A model's tokenizer. It ends no text: an EOS is the caller's to add.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    /// The same, blind to special tokens: `<|im_end|>` in a user's text is eight or so tokens.
    plain: Arc<tokenizers::Tokenizer>,
    /// How a text is spelled that goes on from another; none where it is spelled as one that begins.
    continuation: Option<Arc<Continuation>>,
    /// What is before every sequence: a BOS, or nothing.
    start: Arc<[u32]>,
    eos_ids: Arc<[u32]>,
    bos_id: Option<u32>,
}

impl Tokenizer {
    /// Wraps `inner`; `eos_ids` are the tokens that end a text. Whether a BOS is before every sequence is what
    /// `adds_bos` says, and else what the post-processor does.
    pub fn new(
        mut inner: tokenizers::Tokenizer,
        bos_id: Option<u32>,
        eos_ids: Vec<u32>,
        adds_bos: Option<bool>,
    ) -> Self {
        let put = inner.get_post_processor().map(text_start::special_tokens).unwrap_or_default();
        let start: Vec<u32> = match adds_bos {
            Some(false) => Vec::new(),
            Some(true) if put.is_empty() => bos_id.into_iter().collect(),
            Some(true) | None => put,
        };
        let start = start.into_iter().filter(|id| inner.id_to_token(*id).is_some()).collect();
        // Post-processors add tokens, truncation drops them and padding invents them.
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let _ = inner.with_truncation(None);
        inner.with_padding(None);
        let mut plain = inner.clone();
        plain.set_encode_special_tokens(true);
        let continuation = Continuation::of(&plain).map(Arc::new);
        let (inner, plain) = (Arc::new(inner), Arc::new(plain));
        Self { inner, plain, continuation, start, eos_ids: eos_ids.into(), bos_id }
    }

    /// Reads `tokenizer.json`; see [`Tokenizer::new`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_file(
        path: &Path,
        bos_id: Option<u32>,
        eos_ids: Vec<u32>,
        adds_bos: Option<bool>,
    ) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|e| Error::malformed(path, format!("tokenizer: {e}")))?;
        Ok(Self::new(inner, bos_id, eos_ids, adds_bos))
    }

    /// Tokens of a user's text that begins a sequence; what looks like a special token in it is text like any
    /// other. An empty text has none.
    pub fn encode_text(&self, text: &str) -> Vec<u32> {
        self.begin(encode(&self.plain, text))
    }

    /// Tokens of a user's text that goes on from one that is there: `1` after `Response=` is no ` 1`.
    pub fn encode_continuation(&self, text: &str) -> Vec<u32> {
        self.go_on(&self.plain, text)
    }

    /// Tokens of a sequence in pieces. Special tokens of the trusted ones are themselves; one that is at the
    /// beginning already, such as the BOS that a chat template writes, is not put there again.
    pub fn encode_segments(&self, segments: &[Segment]) -> Vec<u32> {
        let mut tokens: Vec<u32> = Vec::new();
        for segment in segments {
            let own = if segment.trusted { &self.inner } else { &self.plain };
            let more = match tokens.is_empty() {
                true => encode(own, &segment.text),
                false => self.go_on(own, &segment.text),
            };
            tokens.extend(more);
        }
        self.begin(tokens)
    }

    fn begin(&self, tokens: Vec<u32>) -> Vec<u32> {
        match tokens.is_empty() || tokens.starts_with(&self.start) {
            true => tokens,
            false => [&self.start[..], &tokens[..]].concat(),
        }
    }

    fn go_on(&self, own: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
        match &self.continuation {
            Some(continuation) => continuation.encode(own, text).unwrap_or_default(),
            None => encode(own, text),
        }
    }

    /// Text of `ids`, which go on from others, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let text = |ids: &[u32]| self.inner.decode(ids, true).unwrap_or_default();
        if self.continuation.is_none() {
            return text(ids);
        }
        // Such a tokenizer takes the space that a text begins with for one that it put there itself.
        let before = encode(&self.inner, "a");
        let whole = text(&[&before[..], ids].concat());
        whole.strip_prefix(text(&before).as_str()).unwrap_or(&whole).to_owned()
    }

    /// Number of tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Tokens that end a text; the first is the one that a text is ended with.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// The same tokenizer, whose texts are ended with `id`; its other ends are ends still.
    pub(crate) fn ending_with(mut self, id: u32) -> Self {
        let others = self.eos_ids.iter().copied().filter(|other| *other != id);
        self.eos_ids = std::iter::once(id).chain(others).collect();
        self
    }

    /// The BOS that the configuration names. Whether one is before every text is another matter.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos_id
    }

    /// A token to pad batches with elsewhere; nothing is padded here. It ends no text: transformers' reward
    /// models look for the last token that is no padding, and would pass over the end of every text. None
    /// where every special token is an end.
    pub fn padding_id(&self) -> Option<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let mut special: Vec<u32> =
            added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        special.sort_unstable();
        let mut candidates = self.bos_id.into_iter().chain(special);
        candidates.find(|id| !self.eos_ids.contains(id))
    }

    /// The id of a token given as the vocabulary spells it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A token as the vocabulary spells it.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The whole definition but for what is before a text, for hashing.
    pub(crate) fn to_json(&self) -> String {
        self.inner.to_string(false).unwrap_or_default()
    }

    /// Adds to `hasher` what is before a text, and how one is spelled that goes on: nothing for a tokenizer that
    /// puts nothing there, so that those models are what they were before this was a part of their identity.
    pub(crate) fn hash_start(&self, hasher: &mut Hasher) {
        if !self.start.is_empty() {
            hasher.field("start").field(format!("{:?}", self.start));
        }
        if self.continuation.is_some() {
            hasher.field("continuations without a space");
        }
    }

    /// Writes `tokenizer.json` into `folder`; it puts before a text what is put there here.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join("tokenizer.json");
        let named = |id: &u32| Some((self.token_text(*id)?, *id));
        let start: Vec<(String, u32)> = self.start.iter().filter_map(named).collect();
        let mut whole = (*self.inner).clone();
        whole.with_post_processor(text_start::post_processor(&start));
        whole.save(&path, false).map_err(|e| Error::io(&path)(std::io::Error::other(e.to_string())))
    }
}

/// Byte-level models can spell any text, so encoding fails only for a broken vocabulary; a text
/// that cannot be spelled then has no tokens, which every caller reports as an empty prompt.
fn encode(tokenizer: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_fast(text, false).map(|e| e.get_ids().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ChatTemplate;
    use rlaif_types::Message;
    use serde_json::{Value, json};
    use std::path::PathBuf;

    fn golden() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
    }

    /// Llama 2's kind: its normalizer puts a space before a text, its post-processor a `<s>`.
    fn prepending() -> Value {
        let text = std::fs::read(golden().join("sentence-piece.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Newer ones: the pre-tokenizer puts the space there, and nothing a `<s>`.
    fn metaspace(scheme: &str) -> Value {
        let mut definition = prepending();
        definition["normalizer"] = Value::Null;
        definition["post_processor"] = Value::Null;
        definition["pre_tokenizer"] = json!({
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false
        });
        definition
    }

    fn tokenizer(definition: &Value, adds_bos: Option<bool>) -> Tokenizer {
        let inner = tokenizers::Tokenizer::from_bytes(definition.to_string()).unwrap();
        Tokenizer::new(inner, Some(0), vec![1], adds_bos)
    }

    fn segment(text: &str, trusted: bool) -> Segment {
        Segment { text: text.to_owned(), trusted }
    }

    #[test]
    fn a_text_that_goes_on_has_no_space_that_nobody_wrote() {
        for definition in [prepending(), metaspace("first"), metaspace("always")] {
            let tokenizer = tokenizer(&definition, Some(false));
            // `▁a`, `=`, `1`; then `1`, `▁1`, and `a` without `▁`.
            assert_eq!(tokenizer.encode_text("a=1"), [7, 4, 3]);
            assert_eq!(tokenizer.encode_continuation("1"), [3]);
            assert_eq!(tokenizer.encode_continuation(" 1"), [6]);
            assert_eq!(tokenizer.encode_continuation("a=1"), [5, 4, 3]);
            assert!(tokenizer.encode_continuation("").is_empty());
        }
    }

    #[test]
    fn text_that_goes_on_keeps_the_space_that_it_begins_with() {
        let replace = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let llama = json!([replace, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]);
        let mut prepending = prepending();
        prepending["decoder"] = json!({"type": "Sequence", "decoders": llama});
        let mut metaspace = metaspace("first");
        metaspace["decoder"] = metaspace["pre_tokenizer"].clone();
        for definition in [prepending, metaspace] {
            let tokenizer = tokenizer(&definition, None);
            assert_eq!(tokenizer.decode(&[6, 4, 7, 1]), " 1= a");
            assert_eq!(tokenizer.decode(&[3]), "1");
            assert_eq!(tokenizer.decode(&[]), "");
        }
    }

    /// `a` goes on from a user's text in the template, and begins anew after `</s>` where the tokenizer does so.
    #[test]
    fn pieces_of_a_conversation_go_on_from_each_other_and_a_user_has_no_special_tokens() {
        let pieces = [segment("a", true), segment("1 <s>", false), segment("=</s>a", true)];
        let user = [3, 2, 8, 9, 10];
        for (definition, last) in
            [(prepending(), 7), (metaspace("always"), 7), (metaspace("first"), 5)]
        {
            let tokens = tokenizer(&definition, Some(false)).encode_segments(&pieces);
            assert_eq!(tokens[0], 7);
            assert_eq!(tokens[1..6], user);
            assert_eq!(tokens[6..], [4, 1, last]);
        }
    }

    #[test]
    fn a_bos_is_before_a_sequence_once_and_before_nothing_else() {
        for (definition, adds_bos) in [(prepending(), None), (metaspace("always"), Some(true))] {
            let tokenizer = tokenizer(&definition, adds_bos);
            assert_eq!(tokenizer.encode_text("1"), [0, 6]);
            assert_eq!(tokenizer.encode_continuation("1"), [3]);
            assert!(tokenizer.encode_text("").is_empty());
            // Whether the template writes it or not.
            for before in ["{{ bos_token }}a", "a"] {
                let source = format!("{before}{{{{ messages[0]['content'] }}}}");
                let template = ChatTemplate::new(source, "<s>".into(), "</s>".into()).unwrap();
                let tokens = template.encode(&tokenizer, &[Message::user("1")], true).unwrap();
                assert_eq!(tokens, [0, 7, 3], "after {before}");
            }
        }
        assert_eq!(tokenizer(&prepending(), Some(false)).encode_text("1"), [6]);
        assert_eq!(tokenizer(&metaspace("always"), None).encode_text("1"), [6]);
    }

    #[test]
    fn a_broken_post_processor_puts_nothing_and_does_not_panic() {
        let mut definition = prepending();
        definition["post_processor"]["special_tokens"] = json!({});
        assert_eq!(tokenizer(&definition, None).encode_text("1"), [6]);
    }

    /// Byte-level BPE without a BOS: what the library makes of a text, wherever that stands.
    #[test]
    fn where_nothing_is_put_before_a_text_it_is_spelled_alike_wherever_it_stands() {
        for name in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"] {
            let path = golden().join(name).join("tokenizer.json");
            let special = tokenizers::Tokenizer::from_file(&path).unwrap();
            let mut plain = special.clone();
            plain.set_encode_special_tokens(true);
            let tokenizer = Tokenizer::from_file(&path, Some(0), vec![1], None).unwrap();
            for text in ["Response=", "1", " 1", "</s> two\n\nlines", ""] {
                let (special, plain) = (encode(&special, text), encode(&plain, text));
                assert_eq!(tokenizer.encode_text(text), plain, "{name}: {text:?}");
                assert_eq!(tokenizer.encode_continuation(text), plain, "{name}: {text:?}");
                let pieces = [segment(text, true), segment(text, false), segment(text, true)];
                let expected = [special.clone(), plain, special].concat();
                assert_eq!(tokenizer.encode_segments(&pieces), expected, "{name}: {text:?}");
            }
        }
    }
}
