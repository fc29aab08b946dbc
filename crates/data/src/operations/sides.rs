//! Which candidate of a pair stands first.

use super::fingerprint::{Fingerprint, draw};
use rlaif_types::Preference;
use sha2::{Digest, Sha256};

/// Exchanges the candidates of about half of all pairs, so that the chosen one is not always first:
/// a labeler that leans towards a position would look right. Drawn from `seed` and the pair's texts,
/// so the same wherever in a file it stands.
pub fn shuffle_sides(preference: Preference, seed: u64) -> Preference {
    let texts = Fingerprint::of_pair(&preference.pair).to_bytes();
    let hash = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(texts).finalize();
    if draw(&hash.into()).is_multiple_of(2) { preference } else { preference.swapped() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{Finish, HumanLabel, Pair, Prompt, SoftLabel};

    #[test]
    fn about_half_are_exchanged_with_their_labels_and_a_seed_repeats_itself() {
        let pair = |i: usize| Pair {
            prompt: Prompt::Text(format!("{i}")),
            response_a: "better".into(),
            response_b: "worse".into(),
        };
        let human = Some(HumanLabel::new(SoftLabel::new(1.0).unwrap()));
        let shuffled = |seed| -> Vec<Preference> {
            let read = |i| Preference {
                pair: pair(i),
                human: human.clone(),
                ai: None,
                finish: [Finish::Stop; 2],
            };
            (0..1000).map(|i| shuffle_sides(read(i), seed)).collect()
        };
        let (one, other) = (shuffled(1), shuffled(2));
        let a_is_better = |p: &&Preference| p.pair.response_a == "better";
        // 1000 fair coins are outside 420..580 with a chance of 4 in 10 million.
        assert!((420..580).contains(&one.iter().filter(a_is_better).count()));
        for preference in &one {
            let label = preference.prefers_a().unwrap();
            assert_eq!(label.prefers_a(), a_is_better(&preference));
        }
        assert_eq!(one, shuffled(1));
        assert_ne!(one, other);
    }
}
