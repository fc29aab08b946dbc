"""What a server reflects is what this package was generated from, and what it says is read whole."""

from __future__ import annotations

import dataclasses

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from harness import Cluster

from rlaif_client import Cost
from rlaif_client.wire.v1 import coordinator_pb2, labeler_pb2, rollout_pb2


@pytest.mark.parametrize(
    ("fixture", "ours"),
    [
        ("client", coordinator_pb2.DESCRIPTOR.services_by_name["JobService"]),
        ("labeler_address", labeler_pb2.DESCRIPTOR.services_by_name["LabelService"]),
        ("policy_address", rollout_pb2.DESCRIPTOR.services_by_name["RolloutService"]),
    ],
)
def test_a_server_reflects_the_service_that_this_package_calls(
    request: pytest.FixtureRequest, cluster: Cluster, fixture: str, ours: ServiceDescriptor
) -> None:
    address = request.getfixturevalue(fixture)
    target = (cluster.address if fixture == "client" else address).removeprefix("http://")
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert ours.full_name in database.get_services()
        theirs = DescriptorPool(database).FindServiceByName(ours.full_name)
        assert [described(method) for method in theirs.methods] == [described(m) for m in ours.methods]


def described(method: object) -> tuple[object, ...]:
    """What of a method a client depends on."""
    names = ("name", "client_streaming", "server_streaming")
    types = (getattr(method, kind).full_name for kind in ("input_type", "output_type"))
    return (*(getattr(method, name) for name in names), *types)


def test_every_field_of_a_cost_is_read_and_what_is_absent_is_none() -> None:
    fields = [field.name for field in coordinator_pb2.Cost.DESCRIPTOR.fields]
    values = {name: number for number, name in enumerate(fields, start=1)}
    assert dataclasses.asdict(Cost.from_wire(coordinator_pb2.Cost(**values))) == values
    unbounded = Cost.from_wire(coordinator_pb2.Cost(prompt_tokens=7))
    assert (unbounded.amount, unbounded.max_cost, unbounded.max_tokens) == (None, None, None)
