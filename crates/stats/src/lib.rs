//! Statistics behind every number a report shows: intervals, tests, calibration, length correction.
//!
//! Pure functions on `f64`; nothing here knows what a label or a model is. Shares, estimates and
//! calibration are told which observations belong together, such as pairs of one prompt: those are not independent.

mod binomial;
mod bootstrap;
mod calibration;
mod clusters;
mod concordance;
mod interval;
mod length_control;
mod length_correction;
mod logistic;
mod mcnemar;
mod position;
mod ranking;
mod rater_agreement;
mod share;
mod temperature;

pub use binomial::binomial_two_sided;
pub use bootstrap::{Estimate, bootstrap, bootstrap_mean, quantile};
pub use calibration::{CalibrationBin, Prediction, brier, ece, reliability};
pub use clusters::clusters;
pub use concordance::kendall_w;
pub use interval::{Interval, wilson};
pub use length_control::length_controlled_win_rate;
pub use length_correction::{
    LengthCorrected, LengthRegressor, SizedPreference, length_corrected_win_rate,
};
pub use logistic::{Logistic, logistic_regression};
pub use mcnemar::McNemar;
pub use position::PositionBias;
pub use ranking::auc;
pub use rater_agreement::{cohen_kappa, coincidences, krippendorff_alpha};
pub use share::Share;
pub use temperature::{Temperature, at_temperature, fit_temperature};
