"""Triton's own gRPC client: inference.GRPCInferenceService over HTTP/2 without TLS."""

import asyncio
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import aio, service_pb2
from tritonclient.utils import InferenceServerException

from conftest import CHAT, EMBEDDER, HELLO_WORLD, IDENTITIES
from tensors import VALUES, same

TIMEOUT_SECONDS = 60


@pytest.fixture(scope="module")
def client(address):
    with triton.InferenceServerClient(address) as made:
        yield made


def inputs():
    made = []
    for name, values in VALUES.items():
        tensor = triton.InferInput(f"INPUT_{name}", list(values.shape), name)
        tensor.set_data_from_numpy(values)
        made.append(tensor)
    return made


def texts(name, values):
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array([value.encode() for value in values], dtype=object))
    return tensor


def prompt(text, settings='{"temperature": 0, "max_tokens": 8}', stream=True):
    flag = triton.InferInput("stream", [1], "BOOL")
    flag.set_data_from_numpy(np.array([stream]))
    return [texts("text_input", [text]), flag, texts("sampling_parameters", [settings])]


def test_server_and_models_are_ready(client):
    assert client.is_server_live() and client.is_server_ready()
    for name in [EMBEDDER, CHAT, IDENTITIES]:
        assert client.is_model_ready(name)


def test_metadata_and_configuration(client):
    assert "binary_tensor_data" in client.get_server_metadata().extensions
    model = client.get_model_metadata(IDENTITIES)
    assert {tensor.name: tensor.datatype for tensor in model.inputs} == {f"INPUT_{name}": name for name in VALUES}
    config = client.get_model_config(CHAT, as_json=True)["config"]
    assert config["model_transaction_policy"]["decoupled"] is True


def test_every_datatype(client):
    answer = client.infer(IDENTITIES, inputs(), request_id="call-1", client_timeout=TIMEOUT_SECONDS)
    assert answer.get_response().id == "call-1"
    for name, values in VALUES.items():
        assert same(answer.as_numpy(f"OUTPUT_{name}"), values), name


def test_typed_contents(address):
    """What this client never sends, and KServe's does: elements in the message instead of raw bytes."""
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name=EMBEDDER)
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(b"hello world")
        answer = stub.ModelInfer(request, timeout=TIMEOUT_SECONDS)
    vector = np.frombuffer(answer.raw_output_contents[0], dtype=np.float32)
    assert np.allclose(vector[:4], HELLO_WORLD, atol=0.01)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_compression(client, algorithm):
    answer = client.infer(IDENTITIES, inputs(), compression_algorithm=algorithm)
    assert same(answer.as_numpy("OUTPUT_BYTES"), VALUES["BYTES"])


def test_a_callback_gets_the_answer(client):
    answers = queue.Queue()
    client.async_infer(EMBEDDER, [texts("text", ["hello world"])], lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=TIMEOUT_SECONDS)
    assert error is None and np.allclose(result.as_numpy("embedding")[0][:4], HELLO_WORLD, atol=0.01)


def test_a_stream_answers_requests_in_their_order(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(8):
        client.async_stream_infer(EMBEDDER, [texts("text", [f"text {number}"])], request_id=str(number))
    client.async_stream_infer("none", [texts("text", ["a"])], request_id="8")
    client.async_stream_infer(EMBEDDER, [texts("text", ["after"])], request_id="9")
    got = [answers.get(timeout=TIMEOUT_SECONDS) for _ in range(10)]
    client.stop_stream()
    assert [result.get_response().id for result, error in got if error is None] == [*map(str, range(8)), "9"]
    assert "no model named" in str(got[8][1])


def test_a_language_model_streams(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer(CHAT, prompt("Once upon a time"), enable_empty_final_response=True)
    pieces = []
    while True:
        result, error = answers.get(timeout=TIMEOUT_SECONDS)
        assert error is None
        if result.get_response().parameters["triton_final_response"].bool_param:
            break
        pieces.append(result.as_numpy("text_output")[0].decode())
    client.stop_stream()
    assert len(pieces) > 2 and "".join(pieces).strip() != ""
    whole = client.infer(CHAT, prompt("Once upon a time", stream=False), client_timeout=TIMEOUT_SECONDS)
    assert whole.as_numpy("text_output")[0].decode() == "Once upon a time" + "".join(pieces)


async def call_by_asyncio(address):
    async with aio.InferenceServerClient(address) as client:
        answers = [client.infer(EMBEDDER, [texts("text", [f"text {number}"])]) for number in range(8)]
        vectors = [(await answer).as_numpy("embedding").tobytes() for answer in answers]

        async def requests():
            for number in range(3):
                yield {"model_name": EMBEDDER, "inputs": [texts("text", [f"text {number}"])]}

        streamed = [result.as_numpy("embedding").tobytes() async for result, _ in client.stream_infer(requests())]
        return vectors, streamed


def test_asyncio(address):
    vectors, streamed = asyncio.run(call_by_asyncio(address))
    assert len(set(vectors)) == 8
    for one, other in zip(vectors, streamed):
        assert np.allclose(np.frombuffer(one, np.float32), np.frombuffer(other, np.float32), atol=0.01)


def test_a_deadline_ends_the_call(client):
    with pytest.raises(InferenceServerException, match="(?i)deadline"):
        client.infer(CHAT, prompt("Once", '{"max_tokens": 2000, "ignore_eos": true}', stream=False), client_timeout=0.2)


def test_the_repository(client):
    index = client.get_model_repository_index()
    assert (IDENTITIES, "READY") in {(model.name, model.state) for model in index.models}
    client.unload_model(IDENTITIES)
    try:
        assert not client.is_model_ready(IDENTITIES)
    finally:
        client.load_model(IDENTITIES)
    assert client.is_model_ready(IDENTITIES)


def test_statistics(client):
    def count():
        return client.get_inference_statistics(EMBEDDER).model_stats[0].inference_stats.success.count

    before = count()
    client.infer(EMBEDDER, [texts("text", ["a"])])
    assert count() == before + 1


def test_failures_have_the_right_code(client):
    for model, tensors, code in [
        ("none", [texts("text", ["a"])], "NOT_FOUND"),
        (EMBEDDER, [texts("text", [""])], "INVALID_ARGUMENT"),
        (EMBEDDER, [texts("other", ["a"])], "INVALID_ARGUMENT"),
    ]:
        with pytest.raises(InferenceServerException) as refused:
            client.infer(model, tensors)
        assert code in refused.value.status()


def test_the_protocols_messages_are_those_of_the_client():
    """Names, numbers and kinds of proto/open_inference.proto, beside the descriptors that Triton's client was built from."""
    import pathlib
    import subprocess
    import tempfile

    from google.protobuf import descriptor_pb2
    from tritonclient.grpc import model_config_pb2

    proto = pathlib.Path(__file__).parents[3] / "proto"
    with tempfile.NamedTemporaryFile(suffix=".binpb") as file:
        buf = pathlib.Path(__file__).parents[3] / "node_modules/.bin/buf"
        subprocess.run([buf, "build", proto, "--path", proto / "open_inference.proto", "-o", file.name], check=True)
        ours = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(file.name).read_bytes())
    mine = next(one for one in ours.file if one.package == "inference")
    theirs: dict[str, descriptor_pb2.DescriptorProto] = {}
    for module in [service_pb2, model_config_pb2]:
        described = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(described)
        theirs |= {message.name: message for message in described.message_type}
    compared = 0

    def compare(message, other, path):
        nonlocal compared
        fields = {field.name: field for field in other.field}
        for field in message.field:
            twin = fields[field.name]
            assert (field.number, field.type, field.label) == (twin.number, twin.type, twin.label), f"{path}.{field.name}"
            assert field.type_name.split(".")[-1] == twin.type_name.split(".")[-1], f"{path}.{field.name}"
            compared += 1
        nested = {one.name: one for one in other.nested_type}
        for one in message.nested_type:
            compare(one, nested[one.name], f"{path}.{one.name}")

    for message in mine.message_type:
        compare(message, theirs[message.name], message.name)
    assert compared > 80
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in mine.service[0].method:
        twin = service.methods_by_name[method.name]
        assert (method.input_type, method.output_type) == (
            f".{twin.input_type.full_name}",
            f".{twin.output_type.full_name}",
        )
