//! What asking may cost, and what it has cost.

use crate::{Money, Price, Usage};
use serde::{Deserialize, Serialize};

/// What may be spent; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ceiling {
    /// Money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Money>,
    /// Tokens read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
}

impl Ceiling {
    /// Whether it bounds nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `spend` is not above it.
    pub fn allows(&self, spend: Spend) -> bool {
        self.max_cost.is_none_or(|max| spend.cost <= max)
            && self.max_tokens.is_none_or(|max| spend.tokens <= max)
    }

    /// Whether nothing more can be spent below it.
    pub fn is_reached(&self, spend: Spend) -> bool {
        self.max_cost.is_some_and(|max| spend.cost >= max)
            || self.max_tokens.is_some_and(|max| spend.tokens >= max)
    }

    /// These bounds where there are any, else those of `other`, one by one.
    pub fn or(self, other: Self) -> Self {
        Self {
            max_cost: self.max_cost.or(other.max_cost),
            max_tokens: self.max_tokens.or(other.max_tokens),
        }
    }
}

/// Money and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spend {
    /// Money.
    pub cost: Money,
    /// Tokens read and written.
    pub tokens: u64,
}

impl Spend {
    /// What `usage` comes to.
    pub fn of(price: &Price, usage: &Usage) -> Self {
        Self { cost: price.cost(usage), tokens: usage.tokens() }
    }

    /// Both together.
    pub fn with(self, other: Self) -> Self {
        Self { cost: self.cost + other.cost, tokens: self.tokens.saturating_add(other.tokens) }
    }

    /// What is left without `other`.
    pub fn without(self, other: Self) -> Self {
        Self {
            cost: self.cost.without(other.cost),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_allows_what_reaches_it_and_nothing_beyond() {
        let ceiling = Ceiling { max_cost: None, max_tokens: Some(10) };
        let of = |tokens| Spend { cost: Money::parse("99").unwrap(), tokens };
        assert_eq!([9, 10, 11].map(|tokens| ceiling.allows(of(tokens))), [true, true, false]);
        assert_eq!([9, 10, 11].map(|tokens| ceiling.is_reached(of(tokens))), [false, true, true]);
        assert!(Ceiling::default().allows(of(u64::MAX)) && !Ceiling::default().is_reached(of(0)));
    }

    #[test]
    fn bounds_that_are_given_replace_those_that_were() {
        let before = Ceiling { max_cost: Some(Money::parse("5").unwrap()), max_tokens: Some(10) };
        let raised = Ceiling { max_tokens: Some(20), ..Ceiling::default() };
        assert_eq!(raised.or(before), Ceiling { max_tokens: Some(20), ..before });
    }
}
