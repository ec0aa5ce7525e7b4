"""gRPC's own reflection client, without any file of ours: what grpcurl does."""

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from conftest import CHAT, EMBEDDER

SERVICES = {
    "treeline.v1.InferenceService",
    "treeline.v1.ModelService",
    "treeline.v1.NodeService",
    "treeline.v1.JobService",
    "treeline.v1.IpcService",
    "inference.GRPCInferenceService",
    "grpc.health.v1.Health",
}


@pytest.fixture(scope="module")
def channel(address):
    with grpc.insecure_channel(address) as made:
        yield made


@pytest.fixture(scope="module")
def database(channel):
    return ProtoReflectionDescriptorDatabase(channel)


def call(channel, database, service, method, /, **fields):
    """Calls a method that is known by reflection alone; a stream becomes a list."""
    pool = DescriptorPool(database)
    described = pool.FindServiceByName(service).methods_by_name[method]
    request = message_factory.GetMessageClass(described.input_type)
    answer = message_factory.GetMessageClass(described.output_type)
    path = f"/{service}/{method}"
    kind = channel.unary_stream if described.server_streaming else channel.unary_unary
    made = kind(path, request.SerializeToString, answer.FromString)(request(**fields), timeout=60)
    return list(made) if described.server_streaming else made


def test_services_are_listed(database):
    assert SERVICES <= set(database.get_services())


def test_an_embedding(channel, database):
    answer = call(channel, database, "treeline.v1.InferenceService", "Embed", model=EMBEDDER, texts=["hello world"])
    assert answer.dimensions == 384 and len(answer.vectors) == 4 * 384


def test_a_generation(channel, database):
    pieces = call(
        channel, database, "treeline.v1.InferenceService", "Generate", model=CHAT, prompt="Once upon a time", max_tokens=8
    )
    assert pieces[0].model == CHAT and pieces[-1].usage.completion_tokens == 8
    assert "".join(piece.text for piece in pieces).strip() != ""


def test_models_and_nodes(channel, database):
    models = call(channel, database, "treeline.v1.ModelService", "ListModels")
    assert {EMBEDDER, CHAT} <= {model.name for model in models.models}
    node = call(channel, database, "treeline.v1.NodeService", "GetNode")
    assert node.id and node.address.startswith("http://")


def test_the_boundary(channel, database):
    answer = call(channel, database, "treeline.v1.IpcService", "Call", operation="echo", data=b"hello")
    assert answer.data == b"hello" and answer.elapsed_ns > 0


def test_health(channel, database):
    answer = call(channel, database, "grpc.health.v1.Health", "Check", service="treeline.v1.InferenceService")
    assert answer.status == 1


def test_failures_have_code_and_detail(channel, database):
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, database, "treeline.v1.InferenceService", "Embed", model="none", texts=["a"])
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    metadata = dict(refused.value.trailing_metadata())
    assert metadata["failure-code"] == "model_not_found" and "grpc-status-details-bin" in metadata
