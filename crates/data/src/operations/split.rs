//! Which part of a split a record belongs to.

use super::fingerprint::{Fingerprint, draw};
use crate::{Example, Record};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What must not be divided between parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupKey {
    /// Records of the same prompt.
    Prompt,
    /// Records of the same value of a field; `info.id` is the field `id` of `info`.
    Field(String),
}

/// Shares of a dataset, drawn by hashing each record's group with a seed: all of a group land in one
/// part, whatever else is in the file, and nothing is remembered. So parts have their shares of the
/// *groups* only about: of `n` groups, a part of share `p` gets `n p` give or take
/// `sqrt(n p (1 - p))`.
#[derive(Debug, Clone)]
pub struct Split {
    key: GroupKey,
    seed: u64,
    weights: Vec<u64>,
}

impl Split {
    /// Parts in proportion to `weights`: `[2, 1]` are two thirds and one third.
    ///
    /// # Errors
    /// When there are fewer than two parts, or a weight is 0 or above a million.
    pub fn new(key: GroupKey, seed: u64, weights: Vec<u64>) -> Result<Self, String> {
        if weights.len() < 2 {
            return Err("a split has at least two parts".into());
        }
        if let Some(weight) = weights.iter().find(|weight| !(1..=1_000_000).contains(*weight)) {
            return Err(format!("a part's weight is from 1 to 1000000, not {weight}"));
        }
        Ok(Self { key, seed, weights })
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.weights.len()
    }

    /// The part, from 0, of `record`, which says `example`.
    ///
    /// # Errors
    /// When the record lacks the field of its group.
    pub fn part(&self, record: &Record, example: &Example) -> Result<usize, String> {
        let mut hasher = Sha256::new().chain_update(self.seed.to_le_bytes());
        match &self.key {
            GroupKey::Prompt => hasher.update(Fingerprint::of_prompt(example.prompt()).to_bytes()),
            GroupKey::Field(field) => hasher.update(group(record, field)?.to_string()),
        }
        Ok(self.part_at(draw(&hasher.finalize().into()) as u64))
    }

    /// The part at `place` of 2⁶⁴: weights laid end to end over the whole range.
    fn part_at(&self, place: u64) -> usize {
        let total: u128 = self.weights.iter().copied().map(u128::from).sum();
        let mut place = (u128::from(place) * total) >> 64;
        let reaches = |weight: &u64| match place.checked_sub(u128::from(*weight)) {
            Some(rest) => {
                place = rest;
                false
            }
            None => true,
        };
        self.weights.iter().position(reaches).expect("a place is below the sum of the weights")
    }
}

fn group<'a>(record: &'a Record, field: &str) -> Result<&'a Value, String> {
    let mut names = field.split('.');
    let first = names.next().and_then(|name| record.get(name));
    let value = names.fold(first, |value, name| value?.get(name));
    value.filter(|value| !value.is_null()).ok_or_else(|| format!("field {field:?} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples_of;
    use serde_json::json;

    fn parts(split: &Split, records: &[Value]) -> Vec<usize> {
        let part = |record: &Value| {
            let record = record.as_object().unwrap();
            split.part(record, &examples_of(record).unwrap()[0]).unwrap()
        };
        records.iter().map(part).collect()
    }

    #[test]
    fn shares_are_about_the_weights_and_a_seed_repeats_itself() {
        let records: Vec<Value> = (0..3000).map(|i| json!({"prompt": format!("{i}")})).collect();
        let split = |seed| Split::new(GroupKey::Prompt, seed, vec![2, 1]).unwrap();
        let one = parts(&split(1), &records);
        // Two thirds of 3000, and five standard deviations of 25.8.
        let first = one.iter().filter(|part| **part == 0).count();
        assert!((1871..=2129).contains(&first), "{first}");
        assert_eq!(one, parts(&split(1), &records));
        assert_ne!(one, parts(&split(2), &records));
    }

    #[test]
    fn a_group_lands_in_one_part() {
        let by_prompt = Split::new(GroupKey::Prompt, 7, vec![1; 8]).unwrap();
        let spaced = [json!({"prompt": "a b"}), json!({"prompt": " a\n b"})];
        let parts_of = parts(&by_prompt, &spaced);
        assert_eq!(parts_of[0], parts_of[1]);
        let by_post = Split::new(GroupKey::Field("info.id".into()), 7, vec![1; 8]).unwrap();
        let posts: Vec<Value> =
            (0..50).map(|i| json!({"prompt": format!("{i}"), "info": {"id": i % 5}})).collect();
        let parts_of = parts(&by_post, &posts);
        assert!((0..50).all(|i| parts_of[i] == parts_of[i % 5]));
        let error =
            by_post.part(&Record::new(), &examples_of(posts[0].as_object().unwrap()).unwrap()[0]);
        assert!(error.unwrap_err().contains("info.id"));
    }

    #[test]
    fn every_place_has_a_part_and_bounds_are_exact() {
        let split = Split::new(GroupKey::Prompt, 0, vec![1, 2, 1]).unwrap();
        let quarter = 1 << 62;
        let places = [0, quarter - 1, quarter, 3 * quarter - 1, 3 * quarter, u64::MAX];
        assert_eq!(places.map(|place| split.part_at(place)), [0, 0, 1, 1, 2, 2]);
        assert!(Split::new(GroupKey::Prompt, 0, vec![1]).is_err());
        assert!(Split::new(GroupKey::Prompt, 0, vec![1, 0]).is_err());
    }
}
