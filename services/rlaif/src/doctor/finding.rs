//! What an examination finds.

use serde::Serialize;
use std::fmt;

/// What was looked at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `redis`.
    pub check: &'static str,
    /// Where: a setting with its value, and whose it is.
    pub place: String,
    /// How it is.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// As it must be.
    Well {
        /// What was found.
        what: String,
    },
    /// It could not be found out.
    Unknown {
        /// What is not known.
        what: String,
        /// How to find out.
        mend: String,
    },
    /// Something will fail.
    Wrong {
        /// What is wrong.
        what: String,
        /// How to mend it.
        mend: String,
    },
}

impl Finding {
    /// All is as it must be.
    pub fn well(check: &'static str, place: impl Into<String>, what: impl fmt::Display) -> Self {
        let verdict = Verdict::Well { what: what.to_string() };
        Self { check, place: place.into(), verdict }
    }

    /// Nobody can tell from here.
    pub fn unknown(
        check: &'static str,
        place: impl Into<String>,
        what: impl fmt::Display,
        mend: impl fmt::Display,
    ) -> Self {
        let verdict = Verdict::Unknown { what: what.to_string(), mend: mend.to_string() };
        Self { check, place: place.into(), verdict }
    }

    /// Something will fail.
    pub fn wrong(
        check: &'static str,
        place: impl Into<String>,
        what: impl fmt::Display,
        mend: impl fmt::Display,
    ) -> Self {
        let verdict = Verdict::Wrong { what: what.to_string(), mend: mend.to_string() };
        Self { check, place: place.into(), verdict }
    }

    /// Whether something will fail.
    pub fn is_wrong(&self) -> bool {
        matches!(self.verdict, Verdict::Wrong { .. })
    }
}

/// For people: what is well on one line, what is not with how to mend it below.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, place, verdict } = self;
        match verdict {
            Verdict::Well { what } => write!(f, "well     {check:<10} {place}: {what}"),
            Verdict::Unknown { what, mend } => {
                write!(f, "unknown  {check:<10} {place}: {what}\n         mend: {mend}")
            }
            Verdict::Wrong { what, mend } => {
                write!(f, "WRONG    {check:<10} {place}: {what}\n         mend: {mend}")
            }
        }
    }
}
