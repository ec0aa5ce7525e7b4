"""The float32 truth and the peers' model files, made from the same weights that the product quantises.

    python bench/inference/reference.py onnx        writes the peers' ONNX models
    python bench/inference/reference.py embeddings  writes the reference embeddings of the 1,000 sentences
    python bench/inference/reference.py compare     times every form of the int8 model, to choose the fastest peer

Needs the packages of requirements.txt. The weights are `model.safetensors` and `tokenizer.json` in the folder
TREELINE_MODEL_DIRECTORY or in its folder all-minilm-l6-v2 (default ~/.cache/treeline/models).
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

import minilm_graph

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = "all-minilm-l6-v2"
_CACHE = Path(os.environ.get("TREELINE_MODEL_DIRECTORY", Path.home() / ".cache/treeline/models"))
MODEL_DIRECTORY = _CACHE if (_CACHE / "model.safetensors").exists() else _CACHE / MODEL
OUTPUT = REPOSITORY / ".treeline/bench/onnx"
VECTORS = REPOSITORY / "tests/vectors"

TOKENS_MAXIMUM = 256
"""sentence-transformers runs this model with max_seq_length 256, the two special tokens included."""

CHECK_TEXT = "hello world"
CHECK_VALUES = (-0.03448, 0.03102, 0.00673, 0.02611)
"""The first numbers of the embedding of CHECK_TEXT, known from sentence-transformers."""


def tokenizer() -> Tokenizer:
    """The model's tokenizer with its fixed padding and its truncation to 128 switched off."""
    loaded = Tokenizer.from_file(str(MODEL_DIRECTORY / "tokenizer.json"))
    loaded.no_padding()
    loaded.enable_truncation(TOKENS_MAXIMUM)
    return loaded


def session(path: Path) -> onnxruntime.InferenceSession:
    """ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def embed(model: onnxruntime.InferenceSession, ids: list[list[int]]) -> np.ndarray:
    """Embeddings of rows of token ids, all of one length."""
    rows = np.array(ids, dtype=np.int64)
    return model.run(None, {"input_ids": rows, "attention_mask": np.ones_like(rows)})[0]


def write_float() -> Path:
    path = OUTPUT / "minilm-float.onnx"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    onnx.save(minilm_graph.build(minilm_graph.read_safetensors(MODEL_DIRECTORY / "model.safetensors")), path)
    got = embed(session(path), [tokenizer().encode(CHECK_TEXT).ids])[0][: len(CHECK_VALUES)]
    if not np.allclose(got, CHECK_VALUES, atol=6e-6):
        sys.exit(f"the float model does not reproduce the published embedding of '{CHECK_TEXT}': {got}")
    return path


def quantise(source: Path, target: Path, weight_type: QuantType = QuantType.QInt8) -> Path:
    """int8 weights with one scale a column, activations quantised as they come."""
    extra = {"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(source, target, per_channel=True, weight_type=weight_type, extra_options=extra)
    return target


def write_onnx() -> None:
    source = write_float()
    target = quantise(source, OUTPUT / "minilm-int8.onnx")
    print(f"{source} {source.stat().st_size}\n{target} {target.stat().st_size}")


def write_embeddings() -> None:
    """float16 rows of 384, little endian, and the token ids (uint16) with the row's count before them."""
    sentences = json.loads((VECTORS / "embeddings-1000.json").read_text("utf-8"))
    model, encode = session(write_float()), tokenizer()
    rows = [encode.encode(sentence).ids for sentence in sentences]
    vectors = np.stack([embed(model, [row])[0] for row in rows])
    tokens = np.concatenate([np.array([len(row), *row], dtype="<u2") for row in rows])
    (VECTORS / "embeddings-1000.f16").write_bytes(vectors.astype("<f2").tobytes())
    (VECTORS / "embeddings-1000.tokens.u16").write_bytes(tokens.tobytes())
    lengths = sorted(len(row) for row in rows)
    print(f"{len(rows)} sentences, {lengths[0]} to {lengths[-1]} tokens, median {lengths[len(rows) // 2]}")
    print(f"{sum(length == TOKENS_MAXIMUM for length in lengths)} at the limit of {TOKENS_MAXIMUM} tokens")


def fused(source: Path, name: str, multi_head: bool) -> Path:
    """What ONNX Runtime's transformer optimiser (and so optimum) makes of the graph."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    options.use_multi_head_attention = multi_head
    model = optimize_model(
        str(source), "bert", num_heads=12, hidden_size=384, optimization_options=options, opt_level=0
    )
    fusions = model.get_fused_operator_statistics()
    if fusions["MultiHeadAttention" if multi_head else "Attention"] != minilm_graph.LAYERS:
        sys.exit(f"the optimiser did not recognise the attention: {fusions}")
    path = OUTPUT / f"minilm-{name}.onnx"
    model.save_model_to_file(str(path))
    return path


def median_ms(model: onnxruntime.InferenceSession, ids: list[list[int]], repeats: int) -> float:
    times = []
    for _ in range(repeats + 5):
        start = time.perf_counter()
        embed(model, ids)
        times.append(time.perf_counter() - start)
    return sorted(times[5:])[repeats // 2] * 1000


def compare() -> None:
    """Cosine to float over the 1,000 sentences, and the median of 10 and of 128 tokens, for each form."""
    source = write_float()
    forms = {
        "plain": source,
        "attention": fused(source, "attention", False),
        "multihead": fused(source, "multihead", True),
    }
    sentences = json.loads((VECTORS / "embeddings-1000.json").read_text("utf-8"))[::10]
    encode, truth = tokenizer(), session(source)
    rows = [encode.encode(sentence).ids for sentence in sentences]
    for name, path in forms.items():
        for weights in (QuantType.QInt8, QuantType.QUInt8):
            model = session(quantise(path, OUTPUT / f"minilm-{name}-{weights}.onnx", weights))
            cosines = [float(embed(model, [row])[0] @ embed(truth, [row])[0]) for row in rows]
            short, long = median_ms(model, [list(range(2000, 2010))], 200), median_ms(model, [list(range(2000, 2128))], 40)
            print(
                f"{name:10} {weights}: {short:.2f} ms, {long:.2f} ms; cosine mean {np.mean(cosines):.5f}"
                f" min {min(cosines):.5f}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["onnx", "embeddings", "compare"])
    {"onnx": write_onnx, "embeddings": write_embeddings, "compare": compare}[parser.parse_args().command]()
