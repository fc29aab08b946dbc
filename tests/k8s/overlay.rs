//! A rendered overlay, as the rules read it: objects, the pods that they make, and what their containers are told.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub type Labels = BTreeMap<String, String>;

/// Subcommands that run as services.
pub const SERVICES: [&str; 5] = ["coordinator", "labeler", "learner", "reward", "rollout"];
/// Those of them that take work from a queue.
pub const WORKERS: [&str; 4] = ["labeler", "learner", "reward", "rollout"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Objects of a stream of YAML documents.
pub fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("{e}"))
}

/// The elements of a list; none where it is missing.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Labels, or what selects them.
pub fn labels(value: &Value) -> Labels {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

pub struct Overlay {
    objects: Vec<Value>,
}

impl Overlay {
    /// What `deploy/k8s/render` has left.
    pub fn read(name: &str) -> Self {
        let path = root().join(format!("deploy/k8s/rendered/{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { objects: documents(&text) }
    }

    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter()
    }

    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object, or null.
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.all(kind).find(|object| object["metadata"]["name"] == name).unwrap_or(&Value::Null)
    }

    /// Everything that makes pods, by the component that they are.
    pub fn pods(&self) -> BTreeMap<&str, Pods<'_>> {
        let objects = self.objects.iter().filter(|object| object["spec"]["template"].is_object());
        let pods = objects.map(|object| {
            let pods = Pods { overlay: self, object };
            (text(&pods.template()["metadata"]["labels"]["app.kubernetes.io/component"]), pods)
        });
        pods.collect()
    }

    /// Those that run a service of ours, by its subcommand.
    pub fn services(&self) -> BTreeMap<&str, Pods<'_>> {
        let mut pods = self.pods();
        pods.retain(|component, pods| pods.container()["args"] == serde_json::json!([component]));
        pods
    }
}

/// A Deployment or a StatefulSet.
pub struct Pods<'a> {
    overlay: &'a Overlay,
    pub object: &'a Value,
}

impl<'a> Pods<'a> {
    fn template(&self) -> &'a Value {
        &self.object["spec"]["template"]
    }

    pub fn labels(&self) -> Labels {
        labels(&self.template()["metadata"]["labels"])
    }

    /// What each pod is.
    pub fn spec(&self) -> &'a Value {
        &self.template()["spec"]
    }

    /// Its one container.
    pub fn container(&self) -> &'a Value {
        let containers = list(&self.spec()["containers"]);
        assert!(containers.len() == 1 && self.spec()["initContainers"].is_null());
        &containers[0]
    }

    /// Plain values of its environment, a ConfigMap's below its own.
    pub fn environment(&self) -> Labels {
        let mut all = Labels::new();
        for source in list(&self.container()["envFrom"]) {
            if let Some(name) = source["configMapRef"]["name"].as_str() {
                let settings = self.overlay.get("ConfigMap", name);
                assert!(settings.is_object(), "there is no ConfigMap {name}");
                all.extend(labels(&settings["data"]));
            }
        }
        for variable in list(&self.container()["env"]) {
            all.insert(text(&variable["name"]).to_owned(), text(&variable["value"]).to_owned());
        }
        all
    }

    /// Where its volumes are mounted, by their names.
    pub fn mounts(&self) -> BTreeMap<&'a str, &'a Value> {
        let mounts = list(&self.container()["volumeMounts"]);
        mounts.iter().map(|mount| (text(&mount["name"]), mount)).collect()
    }

    /// The volume that a path lies in, where it is one that may be written.
    pub fn writable(&self, path: &str) -> Option<&'a str> {
        let mut mounts = self.mounts().into_iter();
        let found = mounts.find(|(_, mount)| {
            Path::new(path).starts_with(text(&mount["mountPath"])) && mount["readOnly"].is_null()
        });
        found.map(|(name, _)| name)
    }

    /// Names of the volumes that stay when a pod goes.
    pub fn claims(&self) -> Vec<&'a str> {
        let templates = list(&self.object["spec"]["volumeClaimTemplates"]);
        templates.iter().map(|claim| text(&claim["metadata"]["name"])).collect()
    }

    /// Files that its secrets become, but for those that may be missing: the path, the secret and the key.
    pub fn secret_files(&self) -> Vec<(String, &'a str, &'a str)> {
        let mounts = self.mounts();
        let mut files = Vec::new();
        for volume in list(&self.spec()["volumes"]) {
            let projected = list(&volume["projected"]["sources"]).iter().map(|s| &s["secret"]);
            let sources = projected.chain(volume["secret"].is_object().then(|| &volume["secret"]));
            for secret in sources.filter(|secret| secret["optional"] != true) {
                let name = text(if secret["name"].is_null() {
                    &secret["secretName"]
                } else {
                    &secret["name"]
                });
                let folder = text(&mounts[text(&volume["name"])]["mountPath"]);
                let items = list(&secret["items"]);
                assert!(!items.is_empty(), "all of the secret {name} is mounted");
                for item in items {
                    let path = format!("{folder}/{}", text(&item["path"]));
                    files.push((path, name, text(&item["key"])));
                }
            }
        }
        files
    }
}
