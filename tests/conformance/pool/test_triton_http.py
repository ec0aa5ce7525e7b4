"""Triton's own HTTP client, which speaks the Open Inference Protocol with its binary extension."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

from conftest import CHAT, EMBEDDER, HELLO_WORLD, IDENTITIES
from tensors import RAW_ONLY, VALUES, same


@pytest.fixture(scope="module")
def client(address):
    with triton.InferenceServerClient(address, network_timeout=60, connection_timeout=60, concurrency=4) as made:
        yield made


def inputs(binary: dict[str, bool]):
    made = []
    for name, values in VALUES.items():
        tensor = triton.InferInput(f"INPUT_{name}", list(values.shape), name)
        tensor.set_data_from_numpy(values, binary_data=binary[name])
        made.append(tensor)
    return made


def test_server_and_models_are_ready(client):
    assert client.is_server_live() and client.is_server_ready()
    for name in [EMBEDDER, CHAT, IDENTITIES]:
        assert client.is_model_ready(name)
    assert not client.is_model_ready("none")


def test_metadata(client):
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(client.get_server_metadata()["extensions"])
    model = client.get_model_metadata(IDENTITIES)
    assert {tensor["name"]: tensor["datatype"] for tensor in model["inputs"]} == {f"INPUT_{name}": name for name in VALUES}
    assert all(tensor["shape"] == [-1, 2] for tensor in model["outputs"])
    config = client.get_model_config(IDENTITIES)
    assert {tensor["data_type"] for tensor in config["input"]} >= {"TYPE_BF16", "TYPE_STRING", "TYPE_FP64"}


@pytest.mark.parametrize("binary_output", [True, False])
@pytest.mark.parametrize("binary_input", [True, False])
def test_every_datatype(client, binary_input, binary_output):
    binary = {name: binary_input or name in RAW_ONLY for name in VALUES}
    wanted = [
        triton.InferRequestedOutput(f"OUTPUT_{name}", binary_data=binary_output or name in RAW_ONLY or name == "BYTES")
        for name in VALUES
    ]
    answer = client.infer(IDENTITIES, inputs(binary), outputs=wanted, request_id="call-1")
    assert answer.get_response()["id"] == "call-1"
    for name, values in VALUES.items():
        assert same(answer.as_numpy(f"OUTPUT_{name}"), values), name


def test_text_as_json_comes_back_as_json(client):
    binary = {name: name != "BYTES" for name in VALUES}
    wanted = [triton.InferRequestedOutput("OUTPUT_BYTES", binary_data=False)]
    answer = client.infer(IDENTITIES, inputs(binary), outputs=wanted).as_numpy("OUTPUT_BYTES")
    assert [text.encode() for text in answer.ravel()] == VALUES["BYTES"].ravel().tolist()


def test_one_output_of_many(client):
    binary = dict.fromkeys(VALUES, True)
    answer = client.infer(IDENTITIES, inputs(binary), outputs=[triton.InferRequestedOutput("OUTPUT_INT8")])
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["OUTPUT_INT8"]


def test_outputs_are_binary_where_nothing_is_said(client):
    answer = client.infer(IDENTITIES, inputs(dict.fromkeys(VALUES, True)))
    assert all("binary_data_size" in output["parameters"] for output in answer.get_response()["outputs"])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client, algorithm):
    answer = client.infer(
        IDENTITIES,
        inputs(dict.fromkeys(VALUES, True)),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert same(answer.as_numpy("OUTPUT_FP64"), VALUES["FP64"])


def texts(values, binary=True):
    tensor = triton.InferInput("text", [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array([value.encode() for value in values], dtype=object), binary_data=binary)
    return tensor


@pytest.mark.parametrize("binary", [True, False])
def test_texts_become_embeddings(client, binary):
    wanted = [triton.InferRequestedOutput("embedding", binary_data=binary)]
    answer = client.infer(EMBEDDER, [texts(["hello world", "grüße 🌲"], binary)], outputs=wanted)
    vectors = answer.as_numpy("embedding")
    assert vectors.shape == (2, 384) and vectors.dtype == np.float32
    assert np.allclose(vectors[0][:4], HELLO_WORLD, atol=0.01)


@pytest.mark.parametrize("datatype", ["INT64", "INT32"])
def test_token_ids_with_a_mask(client, datatype):
    values = {"input_ids": [[101, 7592, 2088, 102, 0]], "attention_mask": [[1, 1, 1, 1, 0]]}
    tensors = []
    for name, rows in values.items():
        tensor = triton.InferInput(name, [1, 5], datatype)
        tensor.set_data_from_numpy(np.array(rows, dtype=np.dtype(datatype.lower())))
        tensors.append(tensor)
    answer = client.infer(EMBEDDER, tensors)
    assert np.allclose(answer.as_numpy("embedding")[0][:4], HELLO_WORLD, atol=0.01)


def test_many_calls_at_once(client):
    calls = [client.async_infer(EMBEDDER, [texts([f"text number {number}"])]) for number in range(16)]
    vectors = [call.get_result().as_numpy("embedding") for call in calls]
    assert len({vector.tobytes() for vector in vectors}) == 16


async def call_by_asyncio(address):
    async with aio.InferenceServerClient(address) as client:
        answer = await client.infer(IDENTITIES, inputs(dict.fromkeys(VALUES, True)))
        return answer.as_numpy("OUTPUT_BYTES"), await client.is_server_ready()


def test_asyncio(address):
    import asyncio

    got, is_ready = asyncio.run(call_by_asyncio(address))
    assert is_ready and same(got, VALUES["BYTES"])


def test_the_repository(client):
    index = {(model["name"], model["state"]) for model in client.get_model_repository_index()}
    assert (IDENTITIES, "READY") in index
    client.unload_model(IDENTITIES)
    try:
        assert not client.is_model_ready(IDENTITIES)
        with pytest.raises(InferenceServerException):
            client.infer(IDENTITIES, inputs(dict.fromkeys(VALUES, True)))
    finally:
        client.load_model(IDENTITIES)
    assert client.is_model_ready(IDENTITIES)


def test_statistics(client):
    before = client.get_inference_statistics(EMBEDDER)["model_stats"][0]["inference_count"]
    client.infer(EMBEDDER, [texts(["a"])])
    assert client.get_inference_statistics(EMBEDDER)["model_stats"][0]["inference_count"] == before + 1


def test_failures_say_what_is_wrong(client):
    with pytest.raises(InferenceServerException, match="no model named"):
        client.infer("none", [texts(["a"])])
    with pytest.raises(InferenceServerException, match="empty"):
        client.infer(EMBEDDER, [texts([""])])
    with pytest.raises(InferenceServerException, match="no form in JSON"):
        client.infer(
            IDENTITIES,
            inputs(dict.fromkeys(VALUES, True)),
            outputs=[triton.InferRequestedOutput("OUTPUT_FP16", binary_data=False)],
        )
    with pytest.raises(InferenceServerException):
        client.infer(IDENTITIES, inputs(dict.fromkeys(VALUES, True))[:3])
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer(
            IDENTITIES,
            inputs(dict.fromkeys(VALUES, True)),
            outputs=[triton.InferRequestedOutput("OUTPUT_FP32", class_count=2)],
        )
