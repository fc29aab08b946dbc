//! The tokenizer in a GGUF file's metadata: byte-level BPE with a named pre-tokenizer.

use super::gguf::{Gguf, Value};
use crate::error::Error;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, NormalizerWrapper};

/// Kinds of token in `tokenizer.ggml.token_type`.
const CONTROL: i128 = 3;
const USER_DEFINED: i128 = 4;

/// Qwen's split: contractions, letters, single digits, punctuation, whitespace.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Llama 3's split: the same with digits in groups of up to three.
const LLAMA_BPE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Builds the tokenizer.
///
/// # Errors
/// When the metadata is incomplete or names a tokenizer this crate does not know.
pub fn build(file: &Gguf) -> Result<tokenizers::Tokenizer, Error> {
    let model = file.get("tokenizer.ggml.model")?.as_str().unwrap_or("");
    if model != "gpt2" {
        let what = format!("tokenizer model {model:?} (supported: gpt2, which is byte-level BPE)");
        return Err(Error::unsupported(file.path(), what));
    }
    let tokens = strings(file, "tokenizer.ggml.tokens")?;
    let merges = strings(file, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| {
            merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).ok_or_else(|| {
                Error::malformed(file.path(), format!("tokenizer merge {merge:?} has no space"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let vocab: Vec<(String, u32)> =
        tokens.iter().enumerate().map(|(id, token)| (token.to_string(), id as u32)).collect();
    let bpe = BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .build()
        .map_err(|e| Error::malformed(file.path(), format!("tokenizer: {e}")))?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(file)?));
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
    if file.metadata.get("tokenizer.ggml.pre").and_then(Value::as_str) == Some("qwen2") {
        let nfc = NormalizerWrapper::from(tokenizers::normalizers::unicode::NFC);
        tokenizer
            .with_normalizer(Some(nfc))
            .map_err(|e| Error::malformed(file.path(), format!("normalizer: {e}")))?;
    }
    add_special_tokens(file, &tokens, &mut tokenizer)?;
    Ok(tokenizer)
}

/// Whether a BOS is before every text. llama.cpp, for which these files are made, puts one before Llama 3's also
/// where the file does not say so.
pub fn adds_bos(file: &Gguf) -> bool {
    match file.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(said) => *said == Value::Int(1),
        None => {
            file.metadata.get("tokenizer.ggml.pre").and_then(Value::as_str) == Some("llama-bpe")
        }
    }
}

fn strings<'a>(file: &'a Gguf, key: &str) -> Result<Vec<&'a str>, Error> {
    let values = file.get(key)?.as_array().unwrap_or(&[]);
    let strings: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    strings
        .filter(|strings| !strings.is_empty())
        .ok_or_else(|| Error::malformed(file.path(), format!("{key} is not a list of texts")))
}

fn pre_tokenizer(file: &Gguf) -> Result<PreTokenizerWrapper, Error> {
    let name = file.metadata.get("tokenizer.ggml.pre").and_then(Value::as_str).unwrap_or("default");
    let byte_level =
        |use_regex| PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, use_regex));
    let split_by = |regex: &str| -> Result<PreTokenizerWrapper, Error> {
        let pattern = SplitPattern::Regex(regex.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|e| Error::malformed(file.path(), format!("pre-tokenizer: {e}")))?;
        let sequence = Sequence::new(vec![split.into(), byte_level(false)]);
        Ok(PreTokenizerWrapper::Sequence(sequence))
    };
    match name {
        "default" | "gpt-2" => Ok(byte_level(true)),
        "smollm" => {
            let digits = Digits::new(true).into();
            Ok(PreTokenizerWrapper::Sequence(Sequence::new(vec![digits, byte_level(true)])))
        }
        "qwen2" => split_by(QWEN2),
        "llama-bpe" => split_by(LLAMA_BPE),
        other => {
            let what =
                format!("pre-tokenizer {other:?} (supported: gpt-2, smollm, qwen2, llama-bpe)");
            Err(Error::unsupported(file.path(), what))
        }
    }
}

fn add_special_tokens(
    file: &Gguf,
    tokens: &[&str],
    tokenizer: &mut tokenizers::Tokenizer,
) -> Result<(), Error> {
    let kinds = file.get("tokenizer.ggml.token_type")?.as_array().unwrap_or(&[]);
    for (token, kind) in tokens.iter().zip(kinds) {
        let added = AddedToken::from(token.to_string(), *kind == Value::Int(CONTROL));
        let result = match kind {
            Value::Int(CONTROL) => tokenizer.add_special_tokens([added.special(true)]),
            Value::Int(USER_DEFINED) => tokenizer.add_tokens([added]),
            _ => continue,
        };
        result.map_err(|e| Error::malformed(file.path(), format!("token {token:?}: {e}")))?;
    }
    Ok(())
}
