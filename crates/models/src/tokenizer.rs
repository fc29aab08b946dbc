//! Text to tokens and back, with one rule: text of users never becomes a special token.

use crate::error::Error;
use std::path::Path;
use std::sync::Arc;

/// A model's tokenizer. Nothing is ever added to what it is given: no BOS, no EOS.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    /// The same, blind to special tokens: `<|im_end|>` in a user's text is eight or so tokens.
    plain: Arc<tokenizers::Tokenizer>,
    eos_ids: Arc<[u32]>,
    bos_id: Option<u32>,
}

impl Tokenizer {
    /// Wraps `inner`; `eos_ids` are the tokens that end a text.
    pub fn new(mut inner: tokenizers::Tokenizer, bos_id: Option<u32>, eos_ids: Vec<u32>) -> Self {
        // Post-processors add tokens, truncation drops them and padding invents them.
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let _ = inner.with_truncation(None);
        inner.with_padding(None);
        let mut plain = inner.clone();
        plain.set_encode_special_tokens(true);
        Self { inner: Arc::new(inner), plain: Arc::new(plain), eos_ids: eos_ids.into(), bos_id }
    }

    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_file(path: &Path, bos_id: Option<u32>, eos_ids: Vec<u32>) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|e| Error::malformed(path, format!("tokenizer: {e}")))?;
        Ok(Self::new(inner, bos_id, eos_ids))
    }

    /// Tokens of a user's text; what looks like a special token is text like any other.
    pub fn encode_plain(&self, text: &str) -> Vec<u32> {
        encode(&self.plain, text)
    }

    /// Tokens of trusted text, such as a chat template's, in which special tokens are themselves.
    pub fn encode_with_specials(&self, text: &str) -> Vec<u32> {
        encode(&self.inner, text)
    }

    /// Text of `ids`, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, true).unwrap_or_default()
    }

    /// Number of tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Tokens that end a text.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// The token before every text, where the model wants one.
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

    /// The whole definition, for hashing.
    pub(crate) fn to_json(&self) -> String {
        self.inner.to_string(false).unwrap_or_default()
    }

    /// Writes `tokenizer.json` into `folder`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join("tokenizer.json");
        self.inner
            .save(&path, false)
            .map_err(|e| Error::io(&path)(std::io::Error::other(e.to_string())))
    }
}

/// Byte-level models can spell any text, so encoding fails only for a broken vocabulary; a text
/// that cannot be spelled then has no tokens, which every caller reports as an empty prompt.
fn encode(tokenizer: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_fast(text, false).map(|e| e.get_ids().to_vec()).unwrap_or_default()
}
