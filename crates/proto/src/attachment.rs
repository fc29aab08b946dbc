//! Files that travel with a job.

use crate::DecodeError;
use crate::coordinator::v1::Attachment;
use crate::decode::hash;
use bytes::Bytes;
use rlaif_types::ContentHash;

impl Attachment {
    /// A file that the job file calls `name`.
    pub fn new(name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { name: name.into(), sha256: ContentHash::of(&content).to_string(), content }
    }

    /// The content's hash, once it is known to be the announced one.
    ///
    /// # Errors
    /// When there is no name, or the content is not what was announced.
    pub fn verify(&self) -> Result<ContentHash, DecodeError> {
        if self.name.is_empty() {
            return Err(DecodeError::new("name", "is missing"));
        }
        let announced = hash(&self.sha256, "sha256")?;
        let found = ContentHash::of(&self.content);
        if announced != found {
            let what =
                format!("the content of {:?} has the hash {found}; send it again", self.name);
            return Err(DecodeError::new("sha256", what));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_was_damaged_is_noticed() {
        let sent = Attachment::new("prompts.jsonl", "{\"prompt\":\"Hi\"}\n");
        assert_eq!(sent.verify(), Ok(ContentHash::of("{\"prompt\":\"Hi\"}\n")));
        let torn = Attachment { content: sent.content.slice(1..), ..sent.clone() };
        assert_eq!(torn.verify().unwrap_err().path, "sha256");
        let nameless = Attachment { name: String::new(), ..sent };
        assert_eq!(nameless.verify().unwrap_err().path, "name");
    }
}
