//! Models: what was pulled is still whole, and what direct callers are to be served is there and can be opened.

use super::settings::Told;
use super::{Finding, alike, names};
use rlaif_clerk::Account;
use rlaif_hub::{KNOWN, Store, is_endpoint};
use rlaif_judge::EndpointEngine;
use rlaif_worker::open_checkpoint;
use std::path::Path;
use tokio::runtime::Runtime;

/// Looks over pulled models, those that services are told of, and the prices of a labeler's ledger.
pub fn check(told: &[Told], runtime: &Runtime) -> Vec<Finding> {
    let store = Store::from_env();
    let mut findings = pulled(&store);
    for (spec, services) in alike(told, |service| service.model.as_deref()) {
        let place = format!("direct.model of {} ({spec})", names(&services));
        findings.push(match opened(&store, spec, runtime) {
            Ok(()) => Finding::well("models", place, "there, and can be opened"),
            Err(what) => Finding::wrong("models", place, what, mend(spec)),
        });
    }
    let prices = alike(told, |service| service.worker.as_ref()?.ledger.prices.as_deref());
    for (path, services) in prices {
        let place = format!("worker.ledger.prices of {} ({})", names(&services), path.display());
        findings.push(match Account::read_prices(path) {
            Ok(_) => Finding::well("prices", place, "can be read"),
            Err(error) => {
                let mend = "write a table of prices as docs/labeling.md shows, or leave it out";
                Finding::wrong("prices", place, error, mend)
            }
        });
    }
    findings
}

/// What was pulled, hashed or opened again.
fn pulled(store: &Store) -> Vec<Finding> {
    let place = |name: &str| format!("{name} in {}", store.folder().display());
    let mut findings = Vec::new();
    for known in KNOWN.iter().filter(|known| store.is_pulled(known)) {
        let mend = format!("remove the file, then: rlaif models pull {}", known.name);
        findings.push(match store.is_whole(known) {
            Ok(true) => Finding::well("models", place(known.name), "pulled, with its hash"),
            Ok(false) => {
                let what = "damaged: its hash is not the one that it was pulled with";
                Finding::wrong("models", place(known.name), what, mend)
            }
            Err(error) => Finding::wrong("models", place(known.name), error, mend),
        });
    }
    let from_hub = match store.pulled_from_hub() {
        Ok(specs) => specs,
        Err(error) => {
            let mend = "let the services' user read the folder, or set RLAIF_MODELS to another";
            findings.push(Finding::wrong("models", place("models"), error, mend));
            return findings;
        }
    };
    for spec in from_hub.iter().map(ToString::to_string) {
        let opened = store.find(&spec).map_err(|e| e.to_string()).and_then(|path| open(&path));
        findings.push(match opened {
            Ok(()) => Finding::well("models", place(&spec), "pulled, and can be opened"),
            Err(what) => {
                let mend = format!("remove its folder, then: rlaif models pull {spec}");
                Finding::wrong("models", place(&spec), what, mend)
            }
        });
    }
    if findings.is_empty() {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        let mend = format!(
            "fine where jobs name folders or endpoints; else rlaif models pull {}, or set RLAIF_MODELS",
            names.join(" or ")
        );
        findings.push(Finding::unknown("models", place("models"), "none is pulled", mend));
    }
    findings
}

fn opened(store: &Store, spec: &str, runtime: &Runtime) -> Result<(), String> {
    let path = store.find(spec).map_err(|error| error.to_string())?;
    if is_endpoint(spec) {
        let endpoint = EndpointEngine::open(&path, runtime.handle().clone());
        return endpoint.map(drop).map_err(|error| error.to_string());
    }
    open(&path)
}

/// Header, tokenizer and shapes; the weights themselves are not read.
fn open(path: &Path) -> Result<(), String> {
    open_checkpoint(path).map(drop).map_err(|error| error.to_string())
}

fn mend(spec: &str) -> String {
    match is_endpoint(spec) {
        true => "describe the endpoint as docs/labeling.md shows, and set its key".to_owned(),
        false => format!(
            "rlaif models pull {spec}, as the service's user and with its RLAIF_MODELS; or name another model"
        ),
    }
}
