//! What a question costs, in exact integers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// Picodollars a dollar. Prices are quoted a million tokens with up to six decimals, so that the price
/// of one token is a whole number of them.
const PICODOLLARS: u64 = 1_000_000_000_000;

/// What people are paid for labels: 0.11 a 50 words read (paper section 1).
pub const HUMAN_LABEL_PER_50_WORDS: Money = Money(110_000_000_000);

/// An amount of money in the price table's currency. Up to 18 million; sums stay there.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(u64);

impl Money {
    /// From 10⁻¹² of a dollar.
    pub fn from_picodollars(picodollars: u64) -> Self {
        Self(picodollars)
    }

    /// In 10⁻¹² of a dollar.
    pub fn picodollars(self) -> u64 {
        self.0
    }

    /// As a number, for gauges and pictures: exact to 15 digits.
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / PICODOLLARS as f64
    }

    /// `count` times as much.
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// What is left without `other`; nothing where that is more.
    pub fn without(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// For people: with two decimals, rounded up, so that little never reads as nothing.
    pub fn rounded_to_cents(self) -> Self {
        Self(self.0.div_ceil(PICODOLLARS / 100).saturating_mul(PICODOLLARS / 100))
    }

    /// Reads an amount as people write it: `12.50`.
    ///
    /// # Errors
    /// When it is no amount, or finer than 10⁻¹².
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        decimal(text, 12).map(Self).ok_or_else(|| PriceError::Amount { text: text.to_owned() })
    }
}

/// Amounts as people write them into files: `12.5`, or `"12.50"`. For `#[serde(with = "amount")]`.
pub mod amount {
    use super::Money;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an amount of money like 12.50")]
    enum Written {
        Whole(u64),
        Decimal(f64),
        Text(String),
    }

    /// # Errors
    /// When it is no amount of money.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Money>, D::Error> {
        let text = match Option::<Written>::deserialize(from)? {
            None => return Ok(None),
            Some(Written::Whole(amount)) => amount.to_string(),
            Some(Written::Decimal(amount)) => amount.to_string(),
            Some(Written::Text(text)) => text,
        };
        Money::parse(&text).map(Some).map_err(D::Error::custom)
    }

    /// # Errors
    /// When it cannot be written.
    pub fn serialize<S: Serializer>(amount: &Option<Money>, to: S) -> Result<S::Ok, S::Error> {
        match amount {
            Some(amount) => to.collect_str(amount),
            None => to.serialize_none(),
        }
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Money {
    /// With two decimals, or as many as there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:012}", self.0 % PICODOLLARS);
        let kept = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / PICODOLLARS, &decimals[..kept])
    }
}

/// Tokens and time that a question took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, cached ones among them.
    pub prompt_tokens: u64,
    /// Tokens read that the engine had in its cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Milliseconds of a device of one's own.
    pub device_ms: u64,
}

impl Usage {
    /// Tokens read and written.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// What a labeler charges. In files it is written as vendors quote it: `input_per_1k` or `input_per_1m`,
/// `cached_input_...`, `output_...`, `device_hour`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Quoted", into = "Quoted")]
pub struct Price {
    /// A token read.
    pub input: Money,
    /// A token read that the engine had in its cache.
    pub cached_input: Money,
    /// A token written.
    pub output: Money,
    /// An hour of a device.
    pub device_hour: Money,
}

impl Price {
    /// What `usage` costs. Part of a device's hour is rounded up to a whole picodollar, all else is
    /// exact.
    pub fn cost(&self, usage: &Usage) -> Money {
        const MS_PER_HOUR: u128 = 3_600_000;
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let device = u128::from(self.device_hour.0) * u128::from(usage.device_ms);
        let device = u64::try_from(device.div_ceil(MS_PER_HOUR)).unwrap_or(u64::MAX);
        self.input.times(usage.prompt_tokens - cached)
            + self.cached_input.times(cached)
            + self.output.times(usage.completion_tokens)
            + Money(device)
    }
}

/// Prices by model, from a TOML file:
///
/// ```toml
/// currency = "USD"
///
/// [prices."gpt-4"]
/// input_per_1k = 0.03
/// output_per_1k = 0.06
///
/// [prices."https://api.example.com/v1 small"]  # at one endpoint only
/// input_per_1m = 0.15
/// cached_input_per_1m = 0.075
/// output_per_1m = 0.6
///
/// [prices.local]  # models of one's own
/// device_hour = 2.5
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// The currency of all amounts.
    pub currency: String,
    prices: BTreeMap<String, Price>,
    /// Of what has none of its own.
    flat: Option<Price>,
}

/// What is wrong with a price table or an amount.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// The file is not such a table.
    #[error("the price table cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A price that cannot be meant.
    #[error("prices.{model:?}: {what}")]
    Price {
        /// Whose.
        model: String,
        /// What is wrong with it.
        what: String,
    },
    /// An amount that cannot be meant.
    #[error("{text:?} is no amount of money; write it like 12.50")]
    Amount {
        /// What was written.
        text: String,
    },
    /// A model without a price, where there is a ceiling to keep.
    #[error(
        "there is no price for {model:?} at {engine}; add [prices.{model:?}] with input_per_1m and \
         output_per_1m to the price table"
    )]
    Unknown {
        /// The engine.
        engine: String,
        /// The model.
        model: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default = "dollars")]
    currency: String,
    prices: BTreeMap<String, Quoted>,
}

fn dollars() -> String {
    "USD".into()
}

/// A price as vendors quote it, in dollars. Of `..._per_1k` and `..._per_1m` only one is given; what is not given
/// costs nothing.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Quoted {
    /// A thousand tokens read.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_per_1k: Option<f64>,
    /// A million tokens read.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_per_1m: Option<f64>,
    /// A thousand tokens read that the engine had in its cache; they cost what others do where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_input_per_1k: Option<f64>,
    /// A million tokens read that the engine had in its cache; they cost what others do where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_input_per_1m: Option<f64>,
    /// A thousand tokens written.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_per_1k: Option<f64>,
    /// A million tokens written.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_per_1m: Option<f64>,
    /// An hour of a device of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_hour: Option<f64>,
}

/// A table without prices.
impl Default for Prices {
    fn default() -> Self {
        Self { currency: dollars(), prices: BTreeMap::new(), flat: None }
    }
}

impl Prices {
    /// Reads a table.
    ///
    /// # Errors
    /// When it is no such table, or a price in it is negative, given twice or too fine.
    pub fn parse(toml: &str) -> Result<Self, PriceError> {
        let Table { currency, prices } = toml::from_str(toml)?;
        let price = |(model, quoted): (String, Quoted)| match quoted.try_into() {
            Ok(price) => Ok((model, price)),
            Err(what) => Err(PriceError::Price { model, what }),
        };
        let prices = prices.into_iter().map(price).collect::<Result<_, _>>()?;
        Ok(Self { currency, prices, flat: None })
    }

    /// A table in which every model has this price.
    pub fn flat(price: Price) -> Self {
        Self { flat: Some(price), ..Self::default() }
    }

    /// The same table, in which `model` at `engine` has this price.
    #[must_use]
    pub fn with(mut self, engine: &str, model: &str, price: Price) -> Self {
        self.prices.insert(at(engine, model), price);
        self
    }

    /// Whether it names no price.
    pub fn is_empty(&self) -> bool {
        self.prices.is_empty() && self.flat.is_none()
    }

    /// The price of `model` at `engine`: the one for both, else the model's, else the engine's. A local
    /// model is free where nothing is said.
    ///
    /// # Errors
    /// When nothing is known.
    pub fn of(&self, engine: &str, model: &str) -> Result<Price, PriceError> {
        let both = at(engine, model);
        let names = [both.as_str(), model, engine];
        let named = names.into_iter().find_map(|name| self.prices.get(name));
        match named.or(self.flat.as_ref()) {
            Some(price) => Ok(*price),
            None if engine == "local" => Ok(Price::default()),
            None => Err(PriceError::Unknown { engine: engine.into(), model: model.into() }),
        }
    }
}

/// How a table names a model at one engine only.
fn at(engine: &str, model: &str) -> String {
    format!("{engine} {model}")
}

impl TryFrom<Quoted> for Price {
    type Error = String;

    fn try_from(quoted: Quoted) -> Result<Self, String> {
        let input = per_token("input", quoted.input_per_1k, quoted.input_per_1m)?;
        let cached =
            per_token("cached_input", quoted.cached_input_per_1k, quoted.cached_input_per_1m)?;
        let output = per_token("output", quoted.output_per_1k, quoted.output_per_1m)?;
        Ok(Self {
            input: input.unwrap_or_default(),
            // Without a price of their own, cached tokens cost what others do.
            cached_input: cached.or(input).unwrap_or_default(),
            output: output.unwrap_or_default(),
            device_hour: match quoted.device_hour {
                Some(price) => exact("device_hour", price, 12)?,
                None => Money::default(),
            },
        })
    }
}

impl From<Price> for Quoted {
    fn from(price: Price) -> Self {
        let free = Money::default();
        let quoted = |money: Money, a: u64| {
            (money != free).then(|| money.0 as f64 / (PICODOLLARS / a) as f64)
        };
        let per_1m = |money| quoted(money, 1_000_000);
        // What cached tokens cost without a word of their own need not be said.
        let cached = (price.cached_input != price.input).then_some(price.cached_input);
        Self {
            input_per_1m: per_1m(price.input),
            cached_input_per_1m: cached.map(|money| per_1m(money).unwrap_or(0.0)),
            output_per_1m: per_1m(price.output),
            device_hour: quoted(price.device_hour, 1),
            ..Self::default()
        }
    }
}

fn per_token(
    what: &str,
    per_1k: Option<f64>,
    per_1m: Option<f64>,
) -> Result<Option<Money>, String> {
    match (per_1k, per_1m) {
        (Some(_), Some(_)) => Err(format!("give {what}_per_1k or {what}_per_1m, not both")),
        (Some(price), None) => exact(&format!("{what}_per_1k"), price, 9).map(Some),
        (None, Some(price)) => exact(&format!("{what}_per_1m"), price, 6).map(Some),
        (None, None) => Ok(None),
    }
}

/// `price` times 10^`places`, through the digits that were written: 0.1 is a tenth.
fn exact(what: &str, price: f64, places: usize) -> Result<Money, String> {
    decimal(&price.to_string(), places).map(Money).ok_or_else(|| {
        format!("{what} is {price}; a price is not negative and has at most {places} decimals")
    })
}

/// A decimal number times 10^`places`, where that is whole.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > places || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        [prices."gpt-4"]
        input_per_1k = 0.03
        output_per_1k = 0.06
        [prices."https://a/v1 small"]
        input_per_1m = 0.15
        cached_input_per_1m = 0.0375
        output_per_1m = 0.6
        [prices.local]
        device_hour = 3.6
    "#;

    #[test]
    fn the_papers_label_costs_0_057() {
        let price = Prices::parse(TABLE).unwrap().of("https://api/v1", "gpt-4").unwrap();
        let order = Usage { prompt_tokens: 830, completion_tokens: 61, ..Usage::default() };
        assert_eq!(price.cost(&order).times(2).to_string(), "0.05712");
    }

    #[test]
    fn cached_tokens_have_their_own_price_and_fractions_of_a_nanodollar_are_exact() {
        let price = Prices::parse(TABLE).unwrap().of("https://a/v1", "small").unwrap();
        let usage = Usage { prompt_tokens: 3, cached_tokens: 1, ..Usage::default() };
        assert_eq!(price.cost(&usage), Money::parse("0.0000003375").unwrap());
    }

    #[test]
    fn a_device_is_paid_by_the_hour_and_rounded_up() {
        let price = Prices::parse(TABLE).unwrap().of("local", "any").unwrap();
        let cost = |device_ms| price.cost(&Usage { device_ms, ..Usage::default() });
        assert_eq!(cost(1000), Money::parse("0.001").unwrap());
        let third = Price { device_hour: Money(1), ..Price::default() };
        assert_eq!(third.cost(&Usage { device_ms: 1, ..Usage::default() }), Money(1));
    }

    #[test]
    fn only_local_models_are_free_when_nothing_is_said() {
        let prices = Prices::parse("[prices]").unwrap();
        assert_eq!(prices.of("local", "smol").unwrap(), Price::default());
        let error = prices.of("https://a/v1", "smol").unwrap_err();
        assert!(error.to_string().contains("[prices.\"smol\"]"), "{error}");
    }

    #[test]
    fn prices_that_cannot_be_meant_are_refused() {
        for (line, says) in [
            ("input_per_1k = -1.0", "not negative"),
            ("input_per_1m = 0.1234567", "at most 6 decimals"),
            ("input_per_1k = nan", "not negative"),
            ("input_per_1k = 1\ninput_per_1m = 1", "not both"),
            ("input = 1", "unknown field"),
        ] {
            let error = Prices::parse(&format!("[prices.m]\n{line}")).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_price_in_a_file_reads_back_to_the_picodollar() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct File {
            price: Price,
            #[serde(with = "amount", default, skip_serializing_if = "Option::is_none")]
            max_cost: Option<Money>,
        }
        for table in [
            "price = { input_per_1k = 0.03, output_per_1k = 0.06 }\nmax_cost = 12.5",
            "price = { input_per_1m = 0.15, cached_input_per_1m = 0.0375, output_per_1m = 0.6 }",
            "price = { input_per_1m = 0.000001, cached_input_per_1m = 0 }\nmax_cost = 7",
            "price = { device_hour = 3.6 }\nmax_cost = '0.000000000001'",
        ] {
            let file: File = toml::from_str(table).unwrap();
            let again = toml::to_string(&file).unwrap();
            assert_eq!(toml::from_str::<File>(&again).unwrap(), file, "{table} became {again}");
        }
        for (odd, says) in [
            ("price = { input_per_1k = 1, input_per_1m = 1 }", "not both"),
            ("price = {}\nmax_cost = -1", "amount of money"),
            ("price = {}\nmax_cost = 'much'", "is no amount of money"),
        ] {
            let error = toml::from_str::<File>(odd).unwrap_err().to_string();
            assert!(error.contains(says), "{odd}: {error}");
        }
    }

    #[test]
    fn a_flat_price_is_that_of_every_model() {
        let price = Price { input: Money(3), ..Price::default() };
        let prices = Prices::flat(price);
        assert!(!prices.is_empty());
        assert_eq!(prices.of("https://a/v1", "any").unwrap(), price);
        assert_eq!(prices.of("local", "any").unwrap(), price);
    }

    #[test]
    fn cents_are_rounded_up() {
        let cents = |text| Money::parse(text).unwrap().rounded_to_cents().to_string();
        assert_eq!([cents("0.000001"), cents("1.25"), cents("0")], ["0.01", "1.25", "0.00"]);
    }

    #[test]
    fn amounts_are_read_and_written_like_people_do() {
        for (text, shown) in
            [("12.5", "12.50"), ("3", "3.00"), ("0.000000000001", "0.000000000001")]
        {
            assert_eq!(Money::parse(text).unwrap().to_string(), shown);
        }
        for odd in ["", "-1", "1e3", ".5", "0.0000000000001", "99999999999"] {
            assert!(Money::parse(odd).is_err(), "{odd:?} was accepted");
        }
    }
}
