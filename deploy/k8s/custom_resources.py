"""Holds custom resources against the models of those who define them: every field known, of its type, none missing.

    python3 custom_resources.py rendered/*.yaml
"""

import sys

import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus

MODELS = {
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): keda.TriggerAuthentication,
    ("monitoring.coreos.com/v1", "PodMonitor"): prometheus.PodMonitor,
    ("monitoring.coreos.com/v1", "PrometheusRule"): prometheus.PrometheusRule,
}
# Groups of Kubernetes itself, whose schemas kubernetes-validate has.
BUILT_IN = ("v1", "apps/", "policy/", "networking.k8s.io/")


def unknown(given, understood, path=""):
    """Paths of what a model dropped: it reads past fields that it does not know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(understood, dict) or key not in understood:
                yield f"{path}.{key}"
            else:
                yield from unknown(value, understood[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from unknown(value, understood[index], f"{path}[{index}]")


def problems(document):
    kind = (document["apiVersion"], document["kind"])
    if kind[0].startswith(BUILT_IN):
        return
    if kind not in MODELS:
        yield f"there is no model for {kind[1]} of {kind[0]}"
        return
    try:
        model = MODELS[kind].model_validate(document)
    except ValueError as error:
        yield str(error)
        return
    understood = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    yield from (f"unknown field {path}" for path in unknown(document, understood))


def main(files):
    checked, wrong = 0, 0
    for file in files:
        with open(file) as opened:
            for document in yaml.safe_load_all(opened):
                checked += not document["apiVersion"].startswith(BUILT_IN)
                for problem in problems(document):
                    print(f"{file}: {document['kind']} {document['metadata']['name']}: {problem}")
                    wrong += 1
    print(f"{checked} custom resources, {wrong} problems", file=sys.stderr)
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
