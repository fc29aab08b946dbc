//! Statistics behind every number a report shows: intervals, tests, calibration, length correction.
//!
//! Pure functions on `f64`; nothing here knows what a label or a model is.

mod binomial;
mod calibration;
mod interval;
mod length_correction;
mod position;
mod ranking;

pub use binomial::binomial_two_sided;
pub use calibration::{CalibrationBin, brier, ece, reliability};
pub use interval::{Interval, wilson};
pub use length_correction::{LengthCorrected, length_corrected_win_rate};
pub use position::PositionBias;
pub use ranking::auc;
