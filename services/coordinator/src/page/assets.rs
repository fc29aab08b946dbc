//! The page's own files, which are in the program. Browsers ask whether theirs is still the same.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use rlaif_types::ContentHash;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file: where it is asked for, what it is, what is in it.
type Asset = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($kind:ident $($name:literal)+;)+) => {
        &[$($((concat!("/", $name), $kind, include_str!(concat!("../../page/", $name))),)+)+]
    };
}

const FILES: &[Asset] = files! {
    HTML "index.html";
    CSS "page.css";
    SVG "icon.svg";
    JS "app.js" "api.js" "chart.js" "dom.js" "format.js" "live.js" "session.js" "jobs.js" "job.js"
       "labels.js" "training.js" "samples.js" "dead_letters.js" "turns.js" "workers.js";
};

/// The look of reports, which the page's is built on.
const LOOK: Asset = ("/report.css", CSS, rlaif_report::STYLE);

/// A route for each file, and the page itself at the root.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let index = FILES.iter().find(|(path, ..)| *path == "/index.html");
    let root = index.map(|(_, kind, text)| ("/", *kind, *text));
    let all = FILES.iter().copied().chain([LOOK]).chain(root);
    all.fold(Router::new(), |routes, (path, kind, text)| {
        let tag = format!("\"{}\"", ContentHash::of(text).short());
        let tag = HeaderValue::try_from(tag).expect("hexadecimal digits are a header's value");
        let answer = move |headers: HeaderMap| async move { file(&headers, kind, text, tag) };
        routes.route(path, get(answer))
    })
}

fn file(asked: &HeaderMap, kind: &'static str, text: &'static str, tag: HeaderValue) -> Response {
    let known = asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let ours = tag.to_str().unwrap_or_default();
    let is_known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == ours));
    // Always asked again, so that a newer coordinator's page is seen at once.
    let always = [(ETAG, tag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if is_known {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    (always, [(CONTENT_TYPE, kind)], text).into_response()
}
