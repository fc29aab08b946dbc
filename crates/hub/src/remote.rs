//! The Hugging Face hub over HTTP: what a repository holds, and a file of it from any byte on.
//!
//! `hf-hub` knows the addresses, the token (which a redirect to another host does not see) and TLS.
//! Its own download is not used: it waits for ever on a silent server, appends a whole file to a
//! part where the server ignores the range, and keeps links to blobs where we keep plain files.

use crate::Error;
use crate::digest::Expected;
use crate::progress::Progress;
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for an answer to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that a download may stand still.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What a repository holds at one commit.
#[derive(Debug)]
pub struct Listing {
    /// `owner/name`.
    pub repository: String,
    /// The commit that the revision stands for.
    pub commit: String,
    /// Its files.
    pub files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// Path in the repository.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// What its content hashes to.
    pub hash: Expected,
}

impl Listing {
    /// The file at `path`, where there is one.
    pub fn get(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// A connection to a hub.
pub struct Remote {
    api: Api,
    endpoint: String,
    has_token: bool,
}

impl Remote {
    /// A hub at `endpoint`. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(endpoint: &str, token: Option<String>) -> Result<Self, Error> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let has_token = token.is_some();
        // The cache is hf-hub's own, which we do not use; its folder is never touched.
        let api = ApiBuilder::from_cache(Cache::new(Path::new("/nonexistent/hub").into()))
            .with_endpoint(endpoint.clone())
            .with_token(token)
            .with_user_agent("rlaif", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| Error::Unreachable { endpoint: endpoint.clone(), what: e.to_string() })?;
        Ok(Self { api, endpoint, has_token })
    }

    /// What `repository` holds at `revision`.
    ///
    /// # Errors
    /// When the hub is out of reach, refuses, has no such thing, or makes no sense.
    pub fn listing(&self, repository: &str, revision: &str) -> Result<Listing, Error> {
        let mut answer = self
            .repo(repository, revision)
            .info_request()
            .query("blobs", "true")
            .config()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(STALL_TIMEOUT))
            .build()
            .call()
            .map_err(|e| self.unreachable(e))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let code = answer.headers().get("x-error-code").and_then(|c| c.to_str().ok());
            return Err(self.refusal(status, code.unwrap_or(""), repository, revision, None));
        }
        let wire: wire::Listing = answer.body_mut().read_json().map_err(|e| {
            self.nonsense(format!("something that is no list of {repository}'s files: {e}"))
        })?;
        self.check(wire, repository)
    }

    /// A listing whose commit can be a folder's name.
    fn check(&self, wire: wire::Listing, repository: &str) -> Result<Listing, Error> {
        let is_commit = wire.sha.len() == 40 && wire.sha.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit {
            return Err(self.nonsense(format!("{:?} as the commit of {repository}", wire.sha)));
        }
        let files = wire.siblings.into_iter().filter_map(wire::Sibling::into_file).collect();
        Ok(Listing { repository: repository.into(), commit: wire.sha, files })
    }

    /// The content of `file` from byte `from` on, or from its beginning where the hub does not
    /// give parts: the number says which.
    ///
    /// # Errors
    /// When the hub is out of reach, refuses, or has no such file.
    pub fn open(
        &self,
        listing: &Listing,
        file: &RemoteFile,
        from: u64,
    ) -> Result<(u64, impl Read + use<>), Error> {
        let repo = self.repo(&listing.repository, &listing.commit);
        // The one public way to a request that carries hf-hub's agent and token.
        let mut request = repo.info_request().uri(repo.url(&file.path));
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let answer = request
            .config()
            .http_status_as_error(false)
            // A compressed answer has other offsets than the file.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(STALL_TIMEOUT))
            .build()
            .call()
            .map_err(|e| self.unreachable(e))?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let start = match answer.status().as_u16() {
            200 => 0,
            206 if header("content-range")
                .is_some_and(|range| range.starts_with(&format!("bytes {from}-"))) =>
            {
                from
            }
            206 => return Err(self.nonsense(format!("another part of {} than asked", file.path))),
            status => {
                let code = header("x-error-code").unwrap_or("");
                let (repository, commit) = (&listing.repository, &listing.commit);
                return Err(self.refusal(status, code, repository, commit, Some(&file.path)));
            }
        };
        Ok((start, answer.into_body().into_reader()))
    }

    fn repo(&self, repository: &str, revision: &str) -> hf_hub::api::sync::ApiRepo {
        self.api.repo(Repo::with_revision(repository.into(), RepoType::Model, revision.into()))
    }

    fn unreachable(&self, why: impl std::error::Error) -> Error {
        Error::Unreachable { endpoint: self.endpoint.clone(), what: why.to_string() }
    }

    fn nonsense(&self, what: String) -> Error {
        Error::Answer { endpoint: self.endpoint.clone(), what }
    }

    /// What a status other than success means. `code` is the hub's own, which tells a missing
    /// repository from a missing revision.
    fn refusal(
        &self,
        status: u16,
        code: &str,
        repository: &str,
        revision: &str,
        file: Option<&str>,
    ) -> Error {
        let endpoint = &self.endpoint;
        let denied = |what: String| Error::Denied { repository: repository.into(), what };
        let not_found = |what: String| Error::NotFound { repository: repository.into(), what };
        match status {
            401 if self.has_token => denied(format!(
                "{endpoint} does not accept the token in HF_TOKEN for it, or it does not exist"
            )),
            401 => denied(format!(
                "it is gated, private, or does not exist; set HF_TOKEN to an access token that may \
                 read it ({endpoint}/settings/tokens)"
            )),
            403 => denied(format!(
                "access is not granted to this token; ask for it at {endpoint}/{repository} and let \
                 the token in HF_TOKEN read gated repositories"
            )),
            404 if file.is_some() => {
                not_found(format!("no file {} at {revision}", file.unwrap_or_default()))
            }
            404 if code == "RevisionNotFound" => not_found(format!("no revision {revision}")),
            404 => not_found(format!("{endpoint} has no such model repository")),
            429 => self.nonsense("that it was asked too often; wait, or set HF_TOKEN".into()),
            _ => self.nonsense(format!("with status {status} for {repository}; try again later")),
        }
    }
}

/// Says that `file` is checked, in the words all sources use.
pub(crate) fn say_checking(progress: &mut dyn Progress, file: &str) {
    progress.say(&format!("checking the hash of {file}"));
}

/// The hub's answers as they are sent.
mod wire {
    use super::{Deserialize, Expected, RemoteFile};

    #[derive(Deserialize)]
    pub struct Listing {
        pub sha: String,
        pub siblings: Vec<Sibling>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Sibling {
        rfilename: String,
        size: Option<u64>,
        blob_id: Option<String>,
        lfs: Option<Lfs>,
    }

    #[derive(Deserialize)]
    struct Lfs {
        sha256: String,
        size: u64,
    }

    impl Sibling {
        /// The file, if the hub says how to verify it.
        pub fn into_file(self) -> Option<RemoteFile> {
            let (bytes, hash) = match (self.lfs, self.size, self.blob_id) {
                (Some(lfs), _, _) => (lfs.size, Expected::Sha256(lfs.sha256)),
                (None, Some(size), Some(blob)) => (size, Expected::GitBlob(blob)),
                _ => return None,
            };
            Some(RemoteFile { path: self.rfilename, bytes, hash })
        }
    }
}
