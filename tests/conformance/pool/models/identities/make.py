"""Makes 1/identities.onnx: an input and an output of each datatype, of any length. python make.py; needs the package onnx."""

import onnx
from onnx import TensorProto, helper

KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def values(prefix):
    return [helper.make_tensor_value_info(f"{prefix}_{name}", kind, ["rows", 2]) for name, kind in KINDS.items()]


nodes = [helper.make_node("Identity", [f"INPUT_{name}"], [f"OUTPUT_{name}"]) for name in KINDS]
graph = helper.make_graph(nodes, "identities", values("INPUT"), values("OUTPUT"))
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, "1/identities.onnx")
