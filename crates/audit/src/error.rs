//! What keeps an audit from being made.

/// An input that would make numbers wrong without anybody noticing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A pair is there twice in one arm and would count twice.
    #[error("{arm}: the pair {id:?} is there twice; give each pair its own id")]
    DuplicateId {
        /// The arm, as reports name it.
        arm: String,
        /// The pair.
        id: String,
    },
    /// A verdict's mass is no probability.
    #[error(
        "{arm}: the verdict tokens of the pair {id:?} have a mass of {mass}, which must be in [0, 1]"
    )]
    Mass {
        /// The arm, as reports name it.
        arm: String,
        /// The pair.
        id: String,
        /// What was given.
        mass: f64,
    },
    /// A price is no amount of money.
    #[error("{arm}: a price of {price} dollars; prices are finite and not negative")]
    Price {
        /// The arm, as reports name it.
        arm: String,
        /// What was given.
        price: f64,
    },
    /// The floor of verdict mass is no probability.
    #[error("the mass floor is {0}, which must be in [0, 1]")]
    MassFloor(f64),
}
