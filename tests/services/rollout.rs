//! A rollout worker for direct callers.

use crate::{MODEL, config, no_redis, start};
use rlaif_proto::rollout::v1 as rollout;
use rlaif_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use rlaif_rollout::Rollout;
use tonic::Code;
use tonic_types::StatusExt;

fn completion(text: &str, seed: u64) -> rollout::GenerateRequest {
    let prompt = rlaif_types::Prompt::Text(text.to_owned());
    rollout::GenerateRequest {
        input: Some(rollout::generate_request::Input::Prompt(prompt.into())),
        sampling: Some(rollout::Sampling {
            max_new_tokens: 8,
            temperature: Some(1.0),
            seed,
            ..Default::default()
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_depends_on_its_own_seed_and_not_on_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::<Rollout>(&no_redis(folder.path()), folder.path(), |config| {
        config.direct.model = Some(MODEL.to_owned());
        config.direct.chat = false;
    });
    let worker = start::<Rollout>(config).await;
    let client = RolloutServiceClient::new(worker.channel(None));
    let draw = async |request| client.clone().generate(request).await;
    let alone = draw(completion("Once", 3)).await.unwrap().into_inner();
    let logprobs = alone.logprobs.as_ref().unwrap().to_f32s().unwrap();
    assert_eq!((logprobs.len(), alone.policy_version), (alone.tokens.len(), 0));

    // Beside a prompt that does not fit, and another that does.
    let (again, refused, other) = tokio::join!(
        draw(completion("Once", 3)),
        draw(completion(&"long ".repeat(600), 4)),
        draw(completion("Once upon", 5)),
    );
    assert_eq!(again.unwrap().into_inner().tokens, alone.tokens);
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    other.unwrap();

    let mut forgotten = completion("Once", 3);
    forgotten.sampling.as_mut().unwrap().temperature = None;
    let refused = draw(forgotten).await.unwrap_err();
    let violations = refused.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "sampling.temperature");
    worker.stop().await;
}
