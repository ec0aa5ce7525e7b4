"""all-MiniLM-L6-v2 as an ONNX graph, built by hand from its safetensors file.

The graph takes token ids and an attention mask and returns unit vectors: BERT encoder, mean over the unmasked tokens,
L2 norm. It is written in the operators of a PyTorch export of BERT, so that ONNX Runtime's own transformer optimiser
recognises and fuses it (Attention, SkipLayerNormalization, BiasGelu) exactly as it does for an exported model.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

LAYERS = 6
HEADS = 12
HIDDEN = 384
HEAD_SIZE = HIDDEN // HEADS
LAYER_NORM_EPSILON = 1e-12
OPSET = 17


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of a safetensors file by name (8 bytes of header length, JSON header, raw data)."""
    data = path.read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + header_bytes])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], dtype=np.float32).reshape(entry["shape"])
    return tensors


class _Graph:
    """Collects nodes and initializers, and names intermediate values."""

    def __init__(self) -> None:
        self.nodes = []
        self.initializers = []
        self._names = set()

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self._names:
            self._names.add(name)
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str | None = None, **attributes) -> str:
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output


def _linear(graph: _Graph, weights: dict, prefix: str, value: str) -> str:
    """value · Wᵀ + b. PyTorch keeps W as [out, in]; MatMul wants [in, out]."""
    weight = graph.constant(f"{prefix}.weight_t", weights[f"{prefix}.weight"].T)
    bias = graph.constant(f"{prefix}.bias", weights[f"{prefix}.bias"])
    return graph.add("Add", [bias, graph.add("MatMul", [value, weight])])


def _layer_norm(graph: _Graph, weights: dict, prefix: str, value: str) -> str:
    scale = graph.constant(f"{prefix}.weight", weights[f"{prefix}.weight"])
    bias = graph.constant(f"{prefix}.bias", weights[f"{prefix}.bias"])
    return graph.add("LayerNormalization", [value, scale, bias], axis=-1, epsilon=LAYER_NORM_EPSILON)


def _heads(graph: _Graph, value: str, permutation: list[int]) -> str:
    shape = graph.constant("heads_shape", np.array([0, 0, HEADS, HEAD_SIZE], dtype=np.int64))
    return graph.add("Transpose", [graph.add("Reshape", [value, shape])], perm=permutation)


def _attention(graph: _Graph, weights: dict, prefix: str, value: str, mask: str) -> str:
    query = _heads(graph, _linear(graph, weights, f"{prefix}.self.query", value), [0, 2, 1, 3])
    key = _heads(graph, _linear(graph, weights, f"{prefix}.self.key", value), [0, 2, 3, 1])
    values = _heads(graph, _linear(graph, weights, f"{prefix}.self.value", value), [0, 2, 1, 3])
    scale = graph.constant("attention_scale", np.array(math.sqrt(HEAD_SIZE), dtype=np.float32))
    scores = graph.add("Div", [graph.add("MatMul", [query, key]), scale])
    weight = graph.add("Softmax", [graph.add("Add", [scores, mask])], axis=-1)
    context = graph.add("Transpose", [graph.add("MatMul", [weight, values])], perm=[0, 2, 1, 3])
    merged = graph.add("Reshape", [context, graph.constant("merged_shape", np.array([0, 0, HIDDEN], dtype=np.int64))])
    output = graph.add("Add", [_linear(graph, weights, f"{prefix}.output.dense", merged), value])
    return _layer_norm(graph, weights, f"{prefix}.output.LayerNorm", output)


def _gelu(graph: _Graph, value: str) -> str:
    root = graph.constant("gelu_root", np.array(math.sqrt(2), dtype=np.float32))
    one = graph.constant("gelu_one", np.array(1, dtype=np.float32))
    half = graph.constant("gelu_half", np.array(0.5, dtype=np.float32))
    error = graph.add("Add", [graph.add("Erf", [graph.add("Div", [value, root])]), one])
    return graph.add("Mul", [graph.add("Mul", [value, error]), half])


def _feed_forward(graph: _Graph, weights: dict, prefix: str, value: str) -> str:
    wide = _gelu(graph, _linear(graph, weights, f"{prefix}.intermediate.dense", value))
    output = graph.add("Add", [_linear(graph, weights, f"{prefix}.output.dense", wide), value])
    return _layer_norm(graph, weights, f"{prefix}.output.LayerNorm", output)


def _embed(graph: _Graph, weights: dict) -> str:
    """Word, position and segment embeddings of `input_ids`, normalised. The segment is always 0."""
    words = graph.add("Gather", [graph.constant("words", weights["embeddings.word_embeddings.weight"]), "input_ids"])
    sequence = graph.add("Shape", ["input_ids"], start=1, end=2)
    zero = graph.constant("zero", np.array([0], dtype=np.int64))
    positions = graph.constant(
        "positions",
        (weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0])[None],
    )
    axis = graph.constant("axis_one", np.array([1], dtype=np.int64))
    used = graph.add("Slice", [positions, zero, sequence, axis])
    return _layer_norm(graph, weights, "embeddings.LayerNorm", graph.add("Add", [words, used]))


def _additive_mask(graph: _Graph) -> str:
    """0 where the token counts and the lowest float where it is padding, as [batch, 1, 1, sequence]."""
    first = graph.add("Unsqueeze", ["attention_mask", graph.constant("axis_one", np.array([1], dtype=np.int64))])
    second = graph.add("Unsqueeze", [first, graph.constant("axis_two", np.array([2], dtype=np.int64))])
    mask = graph.add("Cast", [second], to=TensorProto.FLOAT)
    one = graph.constant("mask_one", np.array(1, dtype=np.float32))
    lowest = graph.constant("mask_lowest", np.array(np.finfo(np.float32).min, dtype=np.float32))
    return graph.add("Mul", [graph.add("Sub", [one, mask]), lowest])


def _pool(graph: _Graph, value: str) -> None:
    """Mean over the unmasked tokens, then L2 norm, as the model's sentence-transformers modules say."""
    last = graph.constant("axis_last", np.array([-1], dtype=np.int64))
    axis = graph.constant("axis_one", np.array([1], dtype=np.int64))
    mask = graph.add("Cast", [graph.add("Unsqueeze", ["attention_mask", last])], to=TensorProto.FLOAT)
    total = graph.add("ReduceSum", [graph.add("Mul", [value, mask]), axis], keepdims=0)
    mean = graph.add("Div", [total, graph.add("ReduceSum", [mask, axis], keepdims=0)])
    graph.add("LpNormalization", [mean], output="embedding", axis=1, p=2)


def build(weights: dict[str, np.ndarray]) -> ModelProto:
    """The whole float32 model: `input_ids`, `attention_mask` (int64 [batch, sequence]) → `embedding` [batch, 384]."""
    graph = _Graph()
    value = _embed(graph, weights)
    mask = _additive_mask(graph)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        value = _attention(graph, weights, f"{prefix}.attention", value, mask)
        value = _feed_forward(graph, weights, prefix, value)
    _pool(graph, value)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    checker.check_model(model)
    return model
