"""Writes the small models beside this file. Takes `pip install onnx==1.23.2`."""

import pathlib

import onnx
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).parent
TYPES = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64, "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16, "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE, "BYTES": TensorProto.STRING,
}


def save(name, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


# Each type goes through unchanged: rows of three.
save("identity",
     [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in TYPES],
     [tensor(f"in_{name}", kind, ["batch", 3]) for name, kind in TYPES.items()],
     [tensor(f"out_{name}", kind, ["batch", 3]) for name, kind in TYPES.items()])

# y = x · w + b, of a batch of any size.
save("affine",
     [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
     [tensor("x", TensorProto.FLOAT, ["batch", 2])], [tensor("y", TensorProto.FLOAT, ["batch", 2])],
     [helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4]),
      helper.make_tensor("b", TensorProto.FLOAT, [2], [10, 20])])

# A shape that is fixed, and a scalar.
save("fixed", [helper.make_node("Mul", ["x", "factor"], ["y"])],
     [tensor("x", TensorProto.DOUBLE, [2, 3]), tensor("factor", TensorProto.DOUBLE, [])],
     [tensor("y", TensorProto.DOUBLE, [2, 3])])

# An output that is no tensor.
save("sequence", [helper.make_node("SequenceConstruct", ["x"], ["y"])], [tensor("x", TensorProto.FLOAT, [1])],
     [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [1])])
