//! Prompts and the pairs of responses an AI labeler compares.

use crate::SoftLabel;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Who speaks in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name used in chat templates and datasets.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// What a policy answers: plain text, or a conversation (TRL's two forms).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text to continue.
    Text(String),
    /// A conversation whose next turn is the model's.
    Messages(Vec<Message>),
}

impl Prompt {
    /// The prompt as a labeler reads it: text as it stands, a conversation one turn a paragraph
    /// under its speaker's name. A conversation of one user message reads as that message.
    pub fn as_context(&self) -> String {
        match self {
            Prompt::Text(text) => text.clone(),
            Prompt::Messages(messages) => match messages.as_slice() {
                [Message { role: Role::User, content }] => content.clone(),
                turns => {
                    let mut context = String::new();
                    for (i, turn) in turns.iter().enumerate() {
                        let gap = if i == 0 { "" } else { "\n\n" };
                        let speaker = match turn.role {
                            Role::System => "System",
                            Role::User => "User",
                            Role::Assistant => "Assistant",
                        };
                        write!(context, "{gap}{speaker}: {}", turn.content)
                            .expect("writing to a String cannot fail");
                    }
                    context
                }
            },
        }
    }
}

/// Bytes of text that a token has: about what tokenizers make of English.
const BYTES_PER_TOKEN: usize = 4;

/// About as many tokens as `bytes` of text are, where the tokenizer is not at hand: what a text really
/// has is known to its model only.
pub fn estimated_tokens(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// One prompt and two candidate responses: what a labeler compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// What was asked.
    pub prompt: Prompt,
    /// First candidate.
    pub response_a: String,
    /// Second candidate.
    pub response_b: String,
}

impl Pair {
    /// The same pair with its candidates exchanged.
    pub fn swapped(&self) -> Self {
        Self {
            prompt: self.prompt.clone(),
            response_a: self.response_b.clone(),
            response_b: self.response_a.clone(),
        }
    }

    /// Characters of A and of B.
    pub fn lengths(&self) -> [usize; 2] {
        [&self.response_a, &self.response_b].map(|response| response.chars().count())
    }

    /// What silence settles without a judge: an answer that says nothing loses against one that says something, and
    /// two of them tie. None where both say something.
    pub fn by_silence(&self) -> Option<SoftLabel> {
        match [&self.response_a, &self.response_b].map(|response| says_nothing(response)) {
            [false, false] => None,
            [true, true] => Some(SoftLabel::TIE),
            [a_is_silent, _] => Some(SoftLabel::certain(!a_is_silent)),
        }
    }
}

/// Whether a response holds nothing but white space.
pub fn says_nothing(response: &str) -> bool {
    response.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_loses_against_words_and_ties_with_silence() {
        let settled = |a: &str, b: &str| {
            let (response_a, response_b) = (a.to_owned(), b.to_owned());
            let pair = Pair { prompt: Prompt::Text("Well?".into()), response_a, response_b };
            pair.by_silence().map(SoftLabel::value)
        };
        assert_eq!(settled(" \n", "Yes."), Some(0.0));
        assert_eq!(settled("Yes.", ""), Some(1.0));
        assert_eq!(settled("", " "), Some(0.5));
        assert_eq!(settled("Yes.", "No."), None);
    }

    #[test]
    fn a_prompt_is_read_as_text_or_as_messages() {
        let text: Prompt = serde_json::from_str(r#""Say hello""#).unwrap();
        assert_eq!(text.as_context(), "Say hello");
        let chat: Prompt =
            serde_json::from_str(r#"[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":"Bye"}]"#)
                .unwrap();
        assert_eq!(chat.as_context(), "User: Hi\n\nAssistant: Hello\n\nUser: Bye");
    }
}
