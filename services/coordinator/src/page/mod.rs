//! The live page: what a coordinator does, in a browser, and the data behind it. It is a view of
//! `JobService` and of run folders; nothing is decided here.
//!
//! ```text
//! assets   the page's files, in the program
//! access   who may see and who may steer
//! api      the data; events: what changes, as it happens
//! ```
//!
//! Models write much of what the page shows, so none of it is trusted: data is JSON, the page's scripts
//! put it in as text, and a policy for content keeps browsers from running or fetching anything else.

mod access;
mod answer;
mod api;
mod assets;
mod config;
mod events;
mod labels_so_far;
mod records;
mod view;

pub use config::PageConfig;

use crate::service::{Config, Handler, RULES};
use access::Door;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use http::header::{self, HeaderName};
use http::{HeaderValue, StatusCode};
use hyper_util::service::TowerToHyperService;
use labels_so_far::LabelsSoFar;
use rlaif_proto::coordinator::FILE_DESCRIPTOR_SET;
use rlaif_service::auth::{self, AuthRules, Guard};
use rlaif_service::http::HttpServer;
use rlaif_service::server::BindError;
use rlaif_service::tls;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Only the page's own files, and nothing inline.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not ours to take.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate or key is unusable.
    #[error("page.tls: {0}")]
    Tls(#[from] tls::Error),
    /// The table of access rules is not whole.
    #[error(transparent)]
    Rules(#[from] auth::Error),
}

/// A page that has its port and shows nothing yet.
pub struct Page {
    server: HttpServer,
    door: Door,
    max_request_bytes: usize,
}

/// What answers requests; clones are the same.
#[derive(Clone)]
struct Site {
    handler: Handler,
    door: Door,
    labels_so_far: Arc<LabelsSoFar>,
}

impl Page {
    /// Takes the port; none where the page is switched off.
    ///
    /// # Errors
    /// When the port is not to be had, or a certificate is unusable.
    pub async fn bind(config: &Config) -> Result<Option<Self>, Error> {
        let (page, server) = (&config.page, &config.server);
        if !page.enabled {
            return Ok(None);
        }
        let guard = Guard::new(&server.auth, AuthRules::new(FILE_DESCRIPTOR_SET, RULES)?);
        let door = Door { guard, asks_for_tokens: server.auth.enabled, public: page.public };
        let mut bound = HttpServer::bind("page.address", &page.http()).await?;
        if let Some(tls) = page.tls_beside(server) {
            bound = bound.with_tls(&tls)?;
        }
        Ok(Some(Self { server: bound, door, max_request_bytes: page.max_request_bytes }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Shows what `handler` answers, until `shutdown`.
    ///
    /// # Errors
    /// None; the type is that of a [task](rlaif_service::shutdown::Tasks::spawn).
    pub(crate) async fn serve(
        self,
        handler: Handler,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible> {
        let site = Site { handler, door: self.door, labels_so_far: Arc::default() };
        let routes = routes(site).layer(DefaultBodyLimit::max(self.max_request_bytes));
        self.server.serve_service(TowerToHyperService::new(routes), shutdown).await
    }
}

fn routes(site: Site) -> Router {
    let nowhere = || async { (StatusCode::NOT_FOUND, "there is nothing here\n") };
    let our_name = from_fn_with_state(site.clone(), access::only_our_name);
    assets::routes()
        .merge(api::routes(&site))
        .fallback(nowhere)
        .layer(our_name)
        .layer(map_response(with_policies))
        .with_state(site)
}

/// What browsers are told with every answer.
async fn with_policies(mut response: Response) -> Response {
    let policies = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in policies {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Data is never kept; files say themselves how.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
