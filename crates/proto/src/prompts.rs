//! Prompts, pairs and items on the wire.

use crate::DecodeError;
use crate::common::v1 as wire;
use crate::decode::{each, field, known, required};
use rlaif_types::{Item, Message, Pair, Prompt, Role};

impl From<Role> for wire::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
        }
    }
}

impl From<Message> for wire::Message {
    fn from(message: Message) -> Self {
        Self { role: wire::Role::from(message.role).into(), content: message.content }
    }
}

impl TryFrom<wire::Message> for Message {
    type Error = DecodeError;

    fn try_from(message: wire::Message) -> Result<Self, DecodeError> {
        let role = known(message.role, "role", |role| match role {
            wire::Role::Unspecified => None,
            wire::Role::System => Some(Role::System),
            wire::Role::User => Some(Role::User),
            wire::Role::Assistant => Some(Role::Assistant),
        })?;
        Ok(Self { role, content: message.content })
    }
}

impl From<Prompt> for wire::Prompt {
    fn from(prompt: Prompt) -> Self {
        let form = match prompt {
            Prompt::Text(text) => wire::prompt::Form::Text(text),
            Prompt::Messages(messages) => wire::prompt::Form::Conversation(wire::Conversation {
                messages: messages.into_iter().map(Into::into).collect(),
            }),
        };
        Self { form: Some(form) }
    }
}

impl TryFrom<wire::Prompt> for Prompt {
    type Error = DecodeError;

    /// A conversation without a turn is refused, as in data files.
    fn try_from(prompt: wire::Prompt) -> Result<Self, DecodeError> {
        let conversation = match required(prompt.form, "form")? {
            wire::prompt::Form::Text(text) => return Ok(Self::Text(text)),
            wire::prompt::Form::Conversation(conversation) => conversation,
        };
        let messages: Vec<Message> = each(conversation.messages, "conversation.messages")?;
        if messages.is_empty() {
            return Err(DecodeError::new("conversation.messages", "is empty"));
        }
        Ok(Self::Messages(messages))
    }
}

impl From<Pair> for wire::Pair {
    fn from(pair: Pair) -> Self {
        let prompt = Some(pair.prompt.into());
        Self { prompt, response_a: pair.response_a, response_b: pair.response_b }
    }
}

impl TryFrom<wire::Pair> for Pair {
    type Error = DecodeError;

    /// Empty responses are read: the labeler answers them with `BadItem`.
    fn try_from(pair: wire::Pair) -> Result<Self, DecodeError> {
        let prompt = field(pair.prompt, "prompt")?;
        Ok(Self { prompt, response_a: pair.response_a, response_b: pair.response_b })
    }
}

impl From<Item> for wire::Item {
    fn from(item: Item) -> Self {
        Self { prompt: Some(item.prompt.into()), response: item.response }
    }
}

impl TryFrom<wire::Item> for Item {
    type Error = DecodeError;

    fn try_from(item: wire::Item) -> Result<Self, DecodeError> {
        Ok(Self { prompt: field(item.prompt, "prompt")?, response: item.response })
    }
}
