//! The artifact store: whether what is written there is read again and can be removed.

use super::settings::Told;
use super::{Finding, Limits, alike, names};
use rlaif_artifacts::ArtifactStore;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

const CONTENT: &[u8] = b"rlaif doctor was here";

/// Writes, reads and removes a small artifact in each store that services are told of.
pub fn check(told: &[Told], limits: &Limits, runtime: &Runtime) -> Vec<Finding> {
    let stores = alike(told, |service| Some((&service.artifacts.url, &service.artifacts.cache)));
    let finding = |((url, cache), services): ((&String, &PathBuf), Vec<&Told>)| {
        let place = format!("artifacts.url of {} ({url})", names(&services));
        let tried = runtime.block_on(async {
            let tried = tokio::time::timeout(limits.patience, there_and_back(url, cache));
            tried.await.unwrap_or_else(|_| Err(format!("no answer for {:?}", limits.patience)))
        });
        match tried {
            Ok(()) => Finding::well("artifacts", place, "written, read and removed"),
            Err(what) => Finding::wrong("artifacts", place, what, mend(url)),
        }
    };
    stores.into_iter().map(finding).collect()
}

async fn there_and_back(url: &str, cache: &Path) -> Result<(), String> {
    let said = |error: rlaif_artifacts::Error| error.to_string();
    // The empty name is the store itself: no job's artifacts are touched.
    let artifacts =
        ArtifactStore::open(url, cache).and_then(|store| store.job("")).map_err(said)?;
    let name = format!("doctor-{}", std::process::id());
    artifacts.put(&name, CONTENT).await.map_err(said)?;
    let read = artifacts.get(&name).await.map_err(said);
    artifacts.delete(&name).await.map_err(said)?;
    match read? == CONTENT {
        true => Ok(()),
        false => Err("what is read is not what was written".to_owned()),
    }
}

fn mend(url: &str) -> &'static str {
    match url.split_once("://") {
        Some(("s3" | "gs", _)) => {
            "set the bucket's credentials in the environment of each service (AWS_ACCESS_KEY_ID, \
             AWS_SECRET_ACCESS_KEY, AWS_REGION; GOOGLE_APPLICATION_CREDENTIALS), with rights to read, write, \
             list and delete; where nobody answers, AWS_ENDPOINT or the network between"
        }
        _ => {
            "make it a folder that the services' user may write, on a disk with room, or an address of a \
             bucket; it is the same for all services"
        }
    }
}
