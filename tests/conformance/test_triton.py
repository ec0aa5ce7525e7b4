"""Triton's own HTTP client, which speaks the Open Inference Protocol with its binary extension."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

MODEL = "all-minilm-l6-v2"
HELLO_WORLD = [-0.03448, 0.03102, 0.00673, 0.02611]


@pytest.fixture
def headers(key):
    # A new one each time: the client writes the length of its last binary request into the dictionary that it is given.
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def client(url):
    with triton.InferenceServerClient(url.removeprefix("http://"), network_timeout=30) as made:
        yield made


def texts(values, binary=True):
    tensor = triton.InferInput("text", [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array([value.encode() for value in values], dtype=object), binary_data=binary)
    return tensor


def is_hello_world(vector) -> bool:
    return vector.dtype == np.float32 and bool(np.allclose(vector[:4], HELLO_WORLD, atol=0.01))


def test_server_and_model_are_ready(client, headers):
    assert client.is_server_live(headers=headers)
    assert client.is_server_ready(headers=headers)
    assert client.is_model_ready(MODEL, headers=headers)
    assert client.is_model_ready(MODEL, "1", headers=headers)
    assert not client.is_model_ready("none", headers=headers)


def test_metadata(client, headers):
    assert "binary_tensor_data" in client.get_server_metadata(headers=headers)["extensions"]
    model = client.get_model_metadata(MODEL, headers=headers)
    assert model["versions"] == ["1"]
    assert [tensor["name"] for tensor in model["inputs"]] == ["text", "input_ids", "attention_mask"]
    assert model["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_texts(client, headers, binary_input, binary_output, compression):
    answer = client.infer(
        MODEL,
        [texts(["hello world", "grüße 🌲"], binary_input)],
        outputs=[triton.InferRequestedOutput("embedding", binary_data=binary_output)],
        headers=headers,
        request_id="call-1",
        request_compression_algorithm=compression,
    )
    vectors = answer.as_numpy("embedding")
    assert vectors.shape == (2, 384) and is_hello_world(vectors[0])
    assert answer.get_response()["id"] == "call-1"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["INT64", "INT32"])
def test_token_ids_with_a_mask(client, headers, binary, datatype):
    values = {"input_ids": [[101, 7592, 2088, 102, 0]], "attention_mask": [[1, 1, 1, 1, 0]]}
    tensors = []
    for name, rows in values.items():
        tensor = triton.InferInput(name, [1, 5], datatype)
        tensor.set_data_from_numpy(np.array(rows, dtype=np.dtype(datatype.lower())), binary_data=binary)
        tensors.append(tensor)
    answer = client.infer(MODEL, tensors, headers=headers)
    assert is_hello_world(answer.as_numpy("embedding")[0])


def test_an_answer_that_is_asked_for_in_gzip(client, headers):
    answer = client.infer(MODEL, [texts(["hello world"])], headers=headers, response_compression_algorithm="gzip")
    assert is_hello_world(answer.as_numpy("embedding")[0])


def test_a_version_of_the_model(client, headers):
    answer = client.infer(MODEL, [texts(["hello world"])], model_version="1", headers=headers)
    assert is_hello_world(answer.as_numpy("embedding")[0])


def test_failures_say_what_is_wrong(client, headers):
    with pytest.raises(InferenceServerException, match="No embedding model is named"):
        client.infer("none", [texts(["a"])], headers=headers)
    with pytest.raises(InferenceServerException, match="empty"):
        client.infer(MODEL, [texts([""])], headers=headers)
