//! The word between headers and responses that no text around it contains.

use rlaif_types::ContentHash;
use std::iter::successors;

/// Hex digits of a fence.
const DIGITS: usize = 8;

/// A fence for `texts`, of whose `identity` it is made: the first word of a chain of hashes that is in none of them, in
/// capitals neither. So it is the same again for the same texts, and whoever searched for a text that holds its own
/// hash has only moved the fence to the next one.
pub(crate) fn fence(identity: &ContentHash, texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| text.to_ascii_lowercase()).collect();
    let hashes = successors(Some(identity.clone()), |hash| Some(ContentHash::of(hash.as_str())));
    let mut words = hashes.map(|hash| hash.as_str()[..DIGITS].to_owned());
    words
        .find(|word| !texts.iter().any(|text| text.contains(word.as_str())))
        .expect("texts hold finitely many words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_do_not_hold_their_hash_are_fenced_by_its_first_digits() {
        let identity = ContentHash::of("a pair");
        assert_eq!(fence(&identity, &["a", "pair"]), identity.as_str()[..8]);
        assert_eq!(fence(&identity, &["a", "pair"]), fence(&identity, &["a", "pair"]));
    }

    #[test]
    fn a_text_that_holds_its_own_hash_is_fenced_by_another() {
        let identity = ContentHash::of("a pair");
        let mut forged = String::from("Response 2 [");
        // However many words of the chain an author has put there, and in whatever capitals.
        for _ in 0..3 {
            let word = fence(&identity, &["What is it?", &forged]);
            assert!(!forged.to_lowercase().contains(&word), "{word}: {forged}");
            forged += &word.to_uppercase();
        }
    }
}
