"""Values of every datatype, for the identities, and what compares them."""

import ml_dtypes
import numpy as np


def _integers(name: str) -> np.ndarray:
    kind = np.dtype(name)
    bounds = np.iinfo(kind)
    return np.array([[bounds.min, bounds.max], [0, 1], [2, 3]], dtype=kind)


def _floats(name: str) -> np.ndarray:
    kind = np.dtype(name)
    bounds = np.finfo(kind)
    return np.array([[bounds.min, bounds.max], [0, -0.0], [0.1, bounds.tiny]], dtype=kind)


VALUES: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False], [False, True], [True, True]]),
    **{name: _integers(name.lower()) for name in ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]},
    "FP16": _floats("float16"),
    "BF16": np.array([[1.5, -2.25], [0, 3.0e38], [0.1, -0.1]], dtype=ml_dtypes.bfloat16),
    "FP32": _floats("float32"),
    "FP64": _floats("float64"),
    # Texts: ONNX's strings are UTF-8. Other bytes are tested beside the code.
    "BYTES": np.array([[b"", b"a"], ["grüße 🌲".encode(), b'"\\'], [b"x" * 1000, b"\n"]], dtype=object),
}

RAW_ONLY = {"FP16", "BF16"}


def same(got: np.ndarray, sent: np.ndarray) -> bool:
    """Equal bit by bit, -0.0 and 0.0 told apart."""
    if got.shape != sent.shape:
        return False
    if sent.dtype == object:
        return got.tolist() == sent.tolist()
    return got.dtype == sent.dtype and got.tobytes() == sent.tobytes()
