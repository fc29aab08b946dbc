//! Who may do what in the Redis that is shipped: services and KEDA are a user with the rights of queues alone.

use crate::settings::made_secrets;
use rlaif_queue::{Address, acl_rules, checkup};
use rlaif_testkit::{RedisServer, free_port};
use std::time::Duration;

/// What `rlaif doctor` looks at besides: how Redis syncs.
const LOOKED_AT: &str = "+config|get";

#[tokio::test]
async fn services_are_a_user_of_redis_who_may_do_what_queues_need_and_nothing_else() {
    let queue = made_secrets().remove("queue").unwrap();
    let [operator, user]: [&str; 2] =
        queue["redis.conf"].lines().collect::<Vec<_>>().try_into().expect("two lines");
    assert_eq!(operator, format!("requirepass {}", queue["operator"]));
    let user: Vec<&str> = user.strip_prefix("user ").expect("a user").split(' ').collect();
    let password = format!(">{}", queue["password"]);
    assert_eq!(user[..3], [queue["username"].as_str(), "on", password.as_str()]);
    let needed = acl_rules();
    let rules: Vec<&str> = needed.iter().map(String::as_str).chain([LOOKED_AT]).collect();
    assert_eq!(user[3..], rules[..], "deploy/redis.rules is not what queues need");

    let port = free_port().to_string();
    let mut options = vec!["--port", &port, "--appendfsync", "always", "--user"];
    options.extend(user);
    let _server = RedisServer::start_with(&options);
    let url = queue["url"].replace("@redis:6379", &format!("@127.0.0.1:{port}"));
    let looked = checkup(&Address::new(&url), &["label"], Duration::from_secs(30)).await.unwrap();
    assert!(looked.warnings.is_empty(), "{:?}", looked.warnings);
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    // Who may pause or cut off others' connections stops a cluster as well.
    for denied in ["FLUSHALL", "SHUTDOWN", "CLIENT PAUSE 1", "CLIENT KILL TYPE normal"] {
        let mut words = denied.split(' ');
        let mut command = redis::cmd(words.next().expect("a name"));
        for word in words {
            command.arg(word);
        }
        let refused = command.exec(&mut connection).unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"), "{denied}");
    }
}
