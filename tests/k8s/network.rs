//! Who may talk to whom: network policies, evaluated as Kubernetes does.

use crate::overlay::{Labels, Overlay, labels, list, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Somebody who may want to talk.
struct Peer {
    name: String,
    /// None for addresses that are no pod's.
    namespace: Option<&'static str>,
    labels: Labels,
    /// Those addresses; none for pods, whose addresses nobody knows beforehand.
    addresses: Option<&'static str>,
}

impl Peer {
    fn new(name: &str, namespace: Option<&'static str>, label: (&str, &str)) -> Self {
        let labels = Labels::from([(label.0.to_owned(), label.1.to_owned())]);
        Self { name: name.to_owned(), namespace, labels, addresses: None }
    }

    fn at(name: &str, addresses: &'static str) -> Self {
        let (name, addresses) = (name.to_owned(), Some(addresses));
        Self { name, namespace: None, labels: Labels::new(), addresses }
    }

    fn is_ours(&self) -> bool {
        self.namespace == Some("rlaif")
    }
}

/// What no policy allows is denied, to pods of any kind and in both directions.
pub fn all_is_denied_by_default(overlay: &Overlay) {
    let denies = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] });
    assert!(overlay.all("NetworkPolicy").any(|policy| policy["spec"] == denies));
}

/// Who may go to any address may not go to a node's own, where clouds hand out its credentials, nor to private ones, which
/// pods have. A Redis and a bucket of somebody else may have private ones too.
pub fn all_addresses_are_without_those_of_nodes_and_pods(overlay: &Overlay) {
    let mut blocks = 0;
    for policy in overlay.all("NetworkPolicy") {
        let managed = policy["metadata"]["name"] == "to-redis";
        let rules = list(&policy["spec"]["egress"]).iter();
        for block in rules.flat_map(|rule| list(&rule["to"])).map(|peer| &peer["ipBlock"]) {
            let closed: &[&str] = match (text(&block["cidr"]), managed) {
                ("0.0.0.0/0", true) => &["169.254.0.0/16"],
                ("0.0.0.0/0", false) => {
                    &["169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
                }
                ("::/0", true) => &["fe80::/10", "fd00:ec2::254/128"],
                ("::/0", false) => &["fe80::/10", "fc00::/7"],
                _ => continue,
            };
            let except: Vec<&str> = list(&block["except"]).iter().map(text).collect();
            for range in closed {
                assert!(except.contains(range), "{range} is open by {policy}");
            }
            blocks += 1;
        }
    }
    assert!(blocks > 0, "models come from outside");
}

/// Every way that is open, as `from -> to:port`.
pub fn open_ways(overlay: &Overlay) -> BTreeSet<String> {
    let ours = overlay.pods().into_iter().map(|(name, pods)| Peer {
        name: name.to_owned(),
        namespace: Some("rlaif"),
        labels: pods.labels(),
        addresses: None,
    });
    let others = [
        Peer::new("stranger-beside", Some("rlaif"), ("app", "stranger")),
        Peer::new("stranger", Some("elsewhere"), ("app", "stranger")),
        Peer::new("client", Some("elsewhere"), ("rlaif.dev/client", "true")),
        Peer::new("keda", Some("keda"), ("app", "keda-operator")),
        Peer::new("observability", Some("observability"), ("app", "any")),
        Peer::new("names", Some("kube-system"), ("k8s-app", "kube-dns")),
        Peer::new("api-server", Some("kube-system"), ("component", "kube-apiserver")),
        // NodeLocal DNSCache answers where every pod's own node is.
        Peer::at("names-of-the-node", "169.254.20.10/32"),
        Peer::at("outside", "0.0.0.0/0"),
    ];
    let peers: Vec<Peer> = ours.chain(others).collect();
    let mut ways = BTreeSet::new();
    for from in &peers {
        for to in &peers {
            // Policies of other namespaces are not ours to know.
            let leaves = from.is_ours().then(|| ports(overlay, from, to, "Egress"));
            let enters = to.is_ours().then(|| ports(overlay, to, from, "Ingress"));
            let open = match (leaves, enters) {
                (Some(leaves), Some(enters)) => leaves.intersection(&enters).copied().collect(),
                (Some(ports), None) | (None, Some(ports)) => ports,
                (None, None) => BTreeSet::new(),
            };
            ways.extend(open.iter().map(|port| format!("{} -> {}:{port}", from.name, to.name)));
        }
    }
    ways
}

/// Ports that the policies of `pod` open in one direction, towards or from `other`.
fn ports(overlay: &Overlay, pod: &Peer, other: &Peer, direction: &str) -> BTreeSet<u64> {
    let (rules, peers) =
        if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    let policies = overlay.all("NetworkPolicy").map(|policy| &policy["spec"]).filter(|policy| {
        let types = list(&policy["policyTypes"]);
        types.iter().any(|t| t == direction) && selects(&policy["podSelector"], &pod.labels)
    });
    let policies: Vec<&Value> = policies.collect();
    assert!(!policies.is_empty(), "{direction} of {} is not denied by default", pod.name);
    let mut open = BTreeSet::new();
    for rule in policies.iter().flat_map(|policy| list(&policy[rules])) {
        let (peers, ports) = (list(&rule[peers]), list(&rule["ports"]));
        assert!(!peers.is_empty() && !ports.is_empty(), "open to all: {rule}");
        if peers.iter().any(|peer| is_meant(peer, other)) {
            open.extend(ports.iter().map(|port| port["port"].as_u64().expect("a number")));
        }
    }
    open
}

fn is_meant(peer: &Value, other: &Peer) -> bool {
    let Some(namespace) = other.namespace else {
        return peer["ipBlock"]["cidr"].as_str() == other.addresses;
    };
    if peer["ipBlock"].is_object() {
        return false;
    }
    let here = match &peer["namespaceSelector"] {
        Value::Null => namespace == "rlaif",
        selector => {
            let name = ("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
            selects(selector, &Labels::from([name]))
        }
    };
    here && (peer["podSelector"].is_null() || selects(&peer["podSelector"], &other.labels))
}

fn selects(selector: &Value, of: &Labels) -> bool {
    let all = labels(&selector["matchLabels"]).into_iter().all(|(k, v)| of.get(&k) == Some(&v));
    let expressions = list(&selector["matchExpressions"]);
    all && expressions.iter().all(|expression| {
        assert_eq!(expression["operator"], "In", "{expression}");
        let value = of.get(text(&expression["key"]));
        value.is_some_and(|value| list(&expression["values"]).iter().any(|v| v == value.as_str()))
    })
}
