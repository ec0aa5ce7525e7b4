"""Makes the ONNX files of the tests: python make.py. Needs the package onnx."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(name, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, initializer=list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, f"{name}.onnx")


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


weights = numpy_helper.from_array(np.array([[1, 0], [0, 2], [3, 0]], np.float32), "weights")
shift = numpy_helper.from_array(np.array([0.5, -0.5], np.float32), "shift")
save(
    "affine",
    [helper.make_node("MatMul", ["x", "weights"], ["product"]), helper.make_node("Add", ["product", "shift"], ["y"])],
    [value("x", TensorProto.FLOAT, ["rows", 3])],
    [value("y", TensorProto.FLOAT, ["rows", 2])],
    [weights, shift],
)

KINDS = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bytes": TensorProto.STRING,
}
save(
    "identities",
    [helper.make_node("Identity", [f"in-{name}"], [f"out-{name}"]) for name in KINDS],
    [value(f"in-{name}", kind, ["n"]) for name, kind in KINDS.items()],
    [value(f"out-{name}", kind, ["n"]) for name, kind in KINDS.items()],
)
