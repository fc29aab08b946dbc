//! Soft labels and failed judgements on the wire.

use crate::DecodeError;
use crate::common::v1 as wire;
use crate::decode::{known, required};
use rlaif_types::{SoftLabel, Unscorable, UnscorableReason};

impl From<SoftLabel> for wire::SoftLabel {
    fn from(label: SoftLabel) -> Self {
        Self { probability_a: Some(label.value()) }
    }
}

impl TryFrom<wire::SoftLabel> for SoftLabel {
    type Error = DecodeError;

    /// The label bit for bit: a probability off the labels' grid is refused instead of rounded, for
    /// whoever sent it would no longer hold the same label.
    fn try_from(label: wire::SoftLabel) -> Result<Self, DecodeError> {
        let field = "probability_a";
        let p = required(label.probability_a, field)?;
        let label = SoftLabel::try_from(p).map_err(|what| DecodeError::new(field, what))?;
        if label.value().to_bits() != p.to_bits() {
            return Err(DecodeError::new(field, format!("{p} is not a multiple of 2^-41")));
        }
        Ok(label)
    }
}

impl From<UnscorableReason> for wire::UnscorableReason {
    fn from(reason: UnscorableReason) -> Self {
        match reason {
            UnscorableReason::PromptTooLong => Self::PromptTooLong,
            UnscorableReason::NoVerdict => Self::NoVerdict,
            UnscorableReason::BadItem => Self::BadItem,
            UnscorableReason::EngineFailed => Self::EngineFailed,
            UnscorableReason::EngineUnavailable => Self::EngineUnavailable,
            UnscorableReason::EngineRefused => Self::EngineRefused,
        }
    }
}

impl From<Unscorable> for wire::Unscorable {
    fn from(unscorable: Unscorable) -> Self {
        let reason = wire::UnscorableReason::from(unscorable.reason).into();
        Self { reason, detail: unscorable.detail }
    }
}

impl TryFrom<wire::Unscorable> for Unscorable {
    type Error = DecodeError;

    fn try_from(unscorable: wire::Unscorable) -> Result<Self, DecodeError> {
        use wire::UnscorableReason as Wire;
        let reason = known(unscorable.reason, "reason", |reason| match reason {
            Wire::Unspecified => None,
            Wire::PromptTooLong => Some(UnscorableReason::PromptTooLong),
            Wire::NoVerdict => Some(UnscorableReason::NoVerdict),
            Wire::BadItem => Some(UnscorableReason::BadItem),
            Wire::EngineFailed => Some(UnscorableReason::EngineFailed),
            Wire::EngineUnavailable => Some(UnscorableReason::EngineUnavailable),
            Wire::EngineRefused => Some(UnscorableReason::EngineRefused),
        })?;
        Ok(Self { reason, detail: unscorable.detail })
    }
}
