"""A real Triton behind the pool, by Triton's own clients; what it says of itself is compared with what the pool says."""

import json
import os
import signal
import time
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

MODEL = "echo"
VALUES = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], dtype=np.uint8),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype=np.int64),
    "FP16": np.array([[0.5, -65504]], dtype=np.float16),
    "FP32": np.array([[0.1, -0.0], [1e38, 1e-38]], dtype=np.float32),
    "FP64": np.array([[0.1, -1e308]]),
    "BYTES": np.array([["grüße 🌲".encode(), b""]], dtype=object),
}
POOL, TRITON = os.environ["POOL_URL"], os.environ["TRITON_URL"]


def read(path):
    with urllib.request.urlopen(POOL + path) as answer:
        return json.load(answer)


def within(seconds, condition):
    """Whether the condition comes true: what the pool knows of an engine is up to two seconds old."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module", params=[tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def triton(request):
    return request.param


@pytest.fixture(scope="module")
def client(triton):
    with triton.InferenceServerClient(POOL.removeprefix("http://")) as made:
        made.load_model(MODEL)
        yield made


def tensors(triton, values, prefix="INPUT_"):
    made = []
    for name, value in values.items():
        tensor = triton.InferInput(f"{prefix}{name}", list(value.shape), "FP32" if prefix == "" else name)
        tensor.set_data_from_numpy(value)
        made.append(tensor)
    return made


def test_what_is_loaded_by_the_pool_is_loaded_in_triton(client):
    with tritonclient.http.InferenceServerClient(TRITON.removeprefix("http://")) as direct:
        assert direct.is_model_ready(MODEL) and client.is_model_ready(MODEL)
        client.unload_model(MODEL)
        assert not client.is_model_ready(MODEL) and within(10, lambda: not direct.is_model_ready(MODEL))
        client.load_model(MODEL)
        assert direct.is_model_ready(MODEL) and client.is_model_ready(MODEL)


def test_inputs_and_outputs_are_those_that_triton_tells(client):
    with urllib.request.urlopen(f"{TRITON}/v2/models/{MODEL}") as answer:
        told = json.load(answer)
    got = read(f"/v2/models/{MODEL}")
    assert got["inputs"] == told["inputs"] and got["outputs"] == told["outputs"] and got["versions"] == told["versions"]


@pytest.mark.parametrize("name", VALUES)
def test_every_datatype_goes_there_and_back(triton, client, name):
    answer = client.infer(MODEL, tensors(triton, {name: VALUES[name]}), request_id="call-1").as_numpy(f"OUTPUT_{name}")
    assert answer.shape == VALUES[name].shape
    assert answer.tolist() == VALUES[name].tolist() and (name == "BYTES" or answer.dtype == VALUES[name].dtype)


def test_many_tensors_at_once_and_one_output_of_them(triton, client):
    answer = client.infer(MODEL, tensors(triton, VALUES), outputs=[triton.InferRequestedOutput("OUTPUT_INT64")])
    assert answer.as_numpy("OUTPUT_INT64").tolist() == VALUES["INT64"].tolist()
    assert answer.as_numpy("OUTPUT_FP32") is None


def test_tensors_of_some_megabytes(triton, client):
    values = np.random.default_rng(7).standard_normal((1_000_000, 2)).astype(np.float32)
    assert client.infer(MODEL, tensors(triton, {"FP32": values})).as_numpy("OUTPUT_FP32").tobytes() == values.tobytes()


def test_calls_that_wait_in_triton_are_the_nodes_load():
    with tritonclient.http.InferenceServerClient(POOL.removeprefix("http://"), concurrency=8) as client:
        client.load_model(MODEL)
        pause = tensors(tritonclient.http, {"PAUSE": np.array([0.7], dtype=np.float32)}, prefix="")
        calls = [client.async_infer(MODEL, pause) for _ in range(8)]
        assert within(6, lambda: int(read("/v1/nodes")["nodes"][0]["load"].get("waiting", 0)) > 0)
        for call in calls:
            call.get_result()


def test_failures_are_told_in_tritons_words(triton, client):
    with pytest.raises(InferenceServerException, match="none"):
        client.infer("none", tensors(triton, {"FP32": VALUES["FP32"]}))
    wrong = triton.InferInput("INPUT_FP32", [2], "FP32")
    wrong.set_data_from_numpy(np.zeros(2, dtype=np.float32))
    with pytest.raises(InferenceServerException, match="(?i)shape"):
        client.infer(MODEL, [wrong])


def test_zz_a_triton_that_went_away_is_told_of():
    """Last by its name: afterwards there is no Triton."""
    os.kill(int(os.environ["TRITON_PID"]), signal.SIGKILL)
    assert within(10, lambda: read("/v1/nodes")["nodes"][0]["models"][0]["state"] == "MODEL_STATE_FAILED")
    with tritonclient.http.InferenceServerClient(POOL.removeprefix("http://")) as client:
        with pytest.raises(InferenceServerException) as refused:
            client.infer(MODEL, tensors(tritonclient.http, {"FP32": VALUES["FP32"]}))
    assert refused.value.status() == "503"
