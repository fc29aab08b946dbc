//! Who may call what.

use rlaif_service::auth::{Access, Role, Rule};

/// Whoever submits jobs. Who may see one job may see and steer all: a coordinator serves one team.
const CLIENTS: Access = Access::Roles(&[Role::Client, Role::Admin]);
/// Whoever operates the cluster.
const OPERATORS: Access = Access::Roles(&[Role::Admin]);

/// A rule for every method.
pub const RULES: &[Rule] = &[
    ("/rlaif.coordinator.v1.JobService/SubmitJob", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/GetJob", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/ListJobs", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/WatchJob", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/CancelJob", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/PauseJob", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/ResumeJob", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/DeleteJob", OPERATORS),
    ("/rlaif.coordinator.v1.JobService/ExportPreferences", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/GetReport", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/ListDeadLetters", CLIENTS),
    ("/rlaif.coordinator.v1.JobService/RequeueDeadLetters", OPERATORS),
];
