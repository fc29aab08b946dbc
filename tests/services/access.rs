//! Every method asks for a token of its roles.

use crate::{config, no_redis, start};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rlaif_labeler::Labeler;
use rlaif_learner::Learner;
use rlaif_reward::Reward;
use rlaif_rollout::Rollout;
use rlaif_service::auth::{Access, Role, Rule, Token};
use rlaif_service::client::Channel;
use rlaif_service::config::Secret;
use rlaif_worker::Service;
use tonic::Code;

/// Calls `path` with an empty message.
async fn call(channel: &Channel, path: &str) -> Code {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = path.parse().unwrap();
    let answer = grpc.unary(tonic::Request::new(()), path, codec).await;
    answer.err().map_or(Code::Ok, |status| status.code())
}

/// Every method of a descriptor, as a path.
fn methods(descriptor: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(descriptor).unwrap();
    let services = set.file.iter().flat_map(|f| f.service.iter().map(move |s| (f.package(), s)));
    services
        .flat_map(|(package, service)| {
            let methods = service.method.iter();
            methods.map(move |m| format!("/{package}.{}/{}", service.name(), m.name()))
        })
        .collect()
}

/// Every method has a rule, is refused without a token, with an unknown one and with that of a role
/// which may not call it, and admits the others.
async fn guards<S: Service>(descriptor: &[u8], rules: &[Rule]) {
    let folder = tempfile::tempdir().unwrap();
    let roles = [Role::Client, Role::Worker, Role::Admin];
    let token = |role: Role| format!("{role:?}").repeat(8);
    let config = config::<S>(&no_redis(folder.path()), folder.path(), |config| {
        config.server.auth.enabled = true;
        for role in roles {
            let token = Token { role, token: Secret::new(token(role)) };
            config.server.auth.tokens.insert(format!("{role:?}"), token);
        }
    });
    let running = start::<S>(config).await;
    let methods = methods(descriptor);
    assert!(!methods.is_empty());
    for method in methods {
        for stranger in [None, Some("nobody-nobody-nobody-nobody")] {
            let code = call(&running.channel(stranger), &method).await;
            assert_eq!(code, Code::Unauthenticated, "{method}");
        }
        let (_, access) = rules.iter().find(|(path, _)| *path == method).unwrap();
        let Access::Roles(allowed) = access else { panic!("{method} is open to everybody") };
        for role in roles {
            let code = call(&running.channel(Some(&token(role))), &method).await;
            let refused = matches!(code, Code::Unauthenticated | Code::PermissionDenied);
            assert_eq!(refused, !allowed.contains(&role), "{method} by {role:?}: {code:?}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_asks_for_a_token_of_its_roles() {
    guards::<Labeler>(rlaif_proto::labeler::DESCRIPTOR_SET, rlaif_labeler::RULES).await;
    guards::<Reward>(rlaif_proto::reward::DESCRIPTOR_SET, rlaif_reward::RULES).await;
    guards::<Rollout>(rlaif_proto::rollout::DESCRIPTOR_SET, rlaif_rollout::RULES).await;
    guards::<Learner>(rlaif_proto::learner::DESCRIPTOR_SET, rlaif_learner::RULES).await;
}
