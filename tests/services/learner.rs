//! What a learner says of its versions.

use crate::{config, no_redis, start};
use rlaif_learner::Learner;
use rlaif_proto::learner::v1::learner_service_client::LearnerServiceClient;
use rlaif_proto::learner::v1::{GetStatusRequest, ListVersionsRequest};
use rlaif_types::ContentHash;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_learners_versions_come_newest_first_and_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Learner>(&no_redis(folder.path()), folder.path(), |_| {});
    let store = config.artifacts.clone();
    let store = rlaif_artifacts::ArtifactStore::open(&store.url, &store.cache).unwrap();
    let job = store.job("job-1").unwrap();
    for step in [8, 9, 10] {
        let name = format!("versions/policy-{step:08}.safetensors");
        job.put(&name, format!("weights of {step}")).await.unwrap();
    }
    let worker = start::<Learner>(config).await;
    let mut client = LearnerServiceClient::new(worker.channel(None));
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListVersionsRequest { job_id: "job-1".to_owned(), page_size: 2, page_token };
        let page = client.list_versions(request).await.unwrap().into_inner();
        assert!(page.versions.len() <= 2);
        found.extend(page.versions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let versions: Vec<_> = found.iter().map(|version| version.policy_version).collect();
    assert_eq!(versions, [10, 9, 8]);
    assert_eq!(found[0].artifact_uri, "job-1/versions/policy-00000010.safetensors");
    let hash = ContentHash::of("weights of 10").to_string();
    assert_eq!((found[0].hash.as_str(), found[1].hash == hash), (hash.as_str(), false));
    for job_id in ["", "../job-1"] {
        let request = ListVersionsRequest { job_id: job_id.to_owned(), ..Default::default() };
        let refused = client.list_versions(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{job_id:?}");
    }
    let status = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.job_id.as_str(), status.policy_version), ("", 0));
    worker.stop().await;
}
