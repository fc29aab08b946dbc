//! Reading what came over the wire: whatever is missing or senseless is an error that names the
//! path of its field, so that a caller who speaks another language finds it.

use rlaif_types::ContentHash;

/// A message that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct DecodeError {
    /// Where, from the message that was read down to the field: `pair.prompt.messages[3].role`.
    pub path: String,
    /// What is wrong there.
    pub what: String,
}

impl DecodeError {
    /// Something is wrong with `field`.
    pub fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: field.into(), what: what.into() }
    }

    /// The same error, seen from the message that holds this one in its `field`.
    pub fn within(self, field: &str) -> Self {
        Self { path: format!("{field}.{}", self.path), what: self.what }
    }
}

/// A field that must be there, as it stands.
///
/// # Errors
/// When it is missing.
pub fn required<W>(value: Option<W>, field: &str) -> Result<W, DecodeError> {
    value.ok_or_else(|| DecodeError::new(field, "is missing"))
}

/// A message that must be there, as the type of the domain it stands for.
///
/// # Errors
/// When it is missing, or senseless.
pub fn field<T, W>(value: Option<W>, field: &str) -> Result<T, DecodeError>
where
    T: TryFrom<W, Error = DecodeError>,
{
    required(value, field)?.try_into().map_err(|e: DecodeError| e.within(field))
}

/// Every message of a list, as the type of the domain it stands for.
///
/// # Errors
/// When one is senseless; its index is in the path.
pub fn each<T, W>(values: Vec<W>, field: &str) -> Result<Vec<T>, DecodeError>
where
    T: TryFrom<W, Error = DecodeError>,
{
    let one = |(i, value): (usize, W)| {
        value.try_into().map_err(|e: DecodeError| e.within(&format!("{field}[{i}]")))
    };
    values.into_iter().enumerate().map(one).collect()
}

/// What the value of an enumeration stands for; `meaning` has none for the unspecified. Numbers that
/// a newer peer knows are errors too: to guess what was meant would be worse.
///
/// # Errors
/// When it is unspecified, or unknown here.
pub fn known<E: TryFrom<i32>, T>(
    number: i32,
    field: &str,
    meaning: impl FnOnce(E) -> Option<T>,
) -> Result<T, DecodeError> {
    let value = E::try_from(number).map_err(|_| {
        let what = format!("has the unknown value {number}; do all services have this version?");
        DecodeError::new(field, what)
    })?;
    meaning(value).ok_or_else(|| DecodeError::new(field, "is unspecified"))
}

/// A content hash, or what is identified by one.
///
/// # Errors
/// When it is missing, or not a hash.
pub fn hash(text: &str, field: &str) -> Result<ContentHash, DecodeError> {
    match text {
        "" => Err(DecodeError::new(field, "is missing")),
        text => text.parse().map_err(|what: String| DecodeError::new(field, what)),
    }
}

/// A number that must be there and be finite.
pub(crate) fn finite(value: Option<f64>, field: &str) -> Result<f64, DecodeError> {
    match required(value, field)? {
        value if value.is_finite() => Ok(value),
        value => Err(DecodeError::new(field, format!("must be a finite number, not {value}"))),
    }
}

/// A list of finite numbers.
pub(crate) fn all_finite(values: Vec<f64>, field: &str) -> Result<Vec<f64>, DecodeError> {
    for (i, value) in values.iter().enumerate() {
        finite(Some(*value), &format!("{field}[{i}]"))?;
    }
    Ok(values)
}

/// A number of things in memory.
pub(crate) fn count(value: u64, field: &str) -> Result<usize, DecodeError> {
    value.try_into().map_err(|_| DecodeError::new(field, format!("{value} is out of range")))
}
