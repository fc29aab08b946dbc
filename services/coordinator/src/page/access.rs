//! Who may see the page's data and who may steer: each request has the rule of the call that it stands
//! for, and takes the same bearer tokens.

use super::Site;
use super::answer::refusal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use rlaif_service::auth::{Caller, Guard};
use std::net::IpAddr;
use tonic::Status;

const SERVICE: &str = "/rlaif.coordinator.v1.JobService";
/// Calls that change nothing.
const LOOKING: [&str; 6] =
    ["GetJob", "ListJobs", "WatchJob", "ExportPreferences", "GetReport", "ListDeadLetters"];

/// Decides about requests.
#[derive(Clone)]
pub struct Door {
    /// The table of rules, and the tokens.
    pub guard: Guard,
    /// Whether callers need a token at all.
    pub asks_for_tokens: bool,
    /// Whether looking takes none nevertheless.
    pub public: bool,
}

impl Door {
    /// Who makes a request that stands for the call `rpc`; none where it is done without a token.
    ///
    /// # Errors
    /// As the call's own.
    pub fn admit(&self, rpc: &str, headers: &HeaderMap) -> Result<Option<Caller>, Status> {
        let authorization = headers.get(AUTHORIZATION);
        if self.public && authorization.is_none() && LOOKING.contains(&rpc) {
            return Ok(None);
        }
        self.guard.admit(&format!("{SERVICE}/{rpc}"), authorization)
    }
}

/// Lets a request through that may make the call it stands for.
pub async fn admit(
    State((site, rpc)): State<(Site, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    match site.door.admit(rpc, request.headers()) {
        Ok(_) => next.run(request).await,
        Err(status) => refusal(status),
    }
}

/// Where no token protects the page, only this machine reaches it; but a page from elsewhere, open in a
/// browser here, could have its own name resolved to us and read along (DNS rebinding). So we answer to
/// no name but the machine's own.
pub async fn only_our_name(State(site): State<Site>, request: Request, next: Next) -> Response {
    if site.door.asks_for_tokens || is_our_name(request.headers()) {
        return next.run(request).await;
    }
    refusal(Status::permission_denied(
        "open this page by its address or as localhost: without tokens it answers to no other name",
    ))
}

fn is_our_name(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_others_can_point_at_us_is_not_ours() {
        let ours = |host: &str| is_our_name(&HeaderMap::from_iter([(HOST, host.parse().unwrap())]));
        assert!(
            ["localhost:7402", "127.0.0.1:7402", "[::1]:7402", "LOCALHOST"]
                .map(ours)
                .iter()
                .all(|ok| *ok)
        );
        let others = ["rebind.example:7402", "localhost.example", "127.0.0.1.nip.io", "", "user@"];
        assert!(!others.map(ours).iter().any(|ok| *ok));
        assert!(!is_our_name(&HeaderMap::new()));
    }
}
