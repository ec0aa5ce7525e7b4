"""The model of a weights file in plain 32-bit floats with numpy: slow, and nothing in it is rounded to 8 bits.

Both engines round what weights are multiplied with to 8 bits, so both differ from this by some noise; `compare.py` uses it
to tell whose noise is larger, and how wide a gap between two logits it can turn over.
"""

import struct

import numpy

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F32, Q4_1, Q8_0 = 0, 3, 8


class Weights:
    """Metadata and tensors of a GGUF file whose tensors are F32, Q4_1 or Q8_0."""

    def __init__(self, path):
        self.data = numpy.memmap(path, mode="r")
        self.position = 8
        tensor_count, entry_count = self.scalar("Q"), self.scalar("Q")
        self.metadata = {}
        for _ in range(entry_count):
            key = self.text()
            self.metadata[key] = self.value(self.scalar("I"))
        self.places = {}
        for _ in range(tensor_count):
            name = self.text()
            lengths = [self.scalar("Q") for _ in range(self.scalar("I"))]
            self.places[name] = (lengths[::-1], self.scalar("I"), self.scalar("Q"))
        self.start = -(-self.position // 32) * 32

    def scalar(self, code):
        size = struct.calcsize("<" + code)
        (value,) = struct.unpack("<" + code, self.data[self.position : self.position + size].tobytes())
        self.position += size
        return value

    def text(self):
        length = self.scalar("Q")
        self.position += length
        return self.data[self.position - length : self.position].tobytes().decode(errors="replace")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, count = self.scalar("I"), self.scalar("Q")
            return [self.value(kind) for _ in range(count)]
        return self.scalar(SCALARS[kind])

    def tensor(self, name):
        shape, kind, offset = self.places[name]
        count = int(numpy.prod(shape))
        data = self.data[self.start + offset :]
        if kind == F32:
            return data[: 4 * count].view(numpy.float32).reshape(shape)
        blocks = data[: count // 32 * {Q4_1: 20, Q8_0: 34}[kind]].reshape(count // 32, -1)
        scales = blocks[:, :2].copy().view(numpy.float16).astype(numpy.float32)
        if kind == Q8_0:
            return (scales * blocks[:, 2:].view(numpy.int8)).astype(numpy.float32).reshape(shape)
        minima = blocks[:, 2:4].copy().view(numpy.float16).astype(numpy.float32)
        values = numpy.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
        return (scales * values + minima).astype(numpy.float32).reshape(shape)


class Reference:
    """Logits of a llama-architecture model."""

    def __init__(self, path):
        self.weights = Weights(path)
        metadata = self.weights.metadata
        self.layers = metadata["llama.block_count"]
        self.heads = metadata["llama.attention.head_count"]
        self.key_heads = metadata["llama.attention.head_count_kv"]
        self.epsilon = metadata["llama.attention.layer_norm_rms_epsilon"]
        self.base = metadata["llama.rope.freq_base"]
        self.tensors = {name: self.weights.tensor(name) for name in self.weights.places}

    def normalise(self, rows, name):
        mean = numpy.mean(numpy.square(rows), axis=-1, keepdims=True)
        return rows / numpy.sqrt(mean + self.epsilon) * self.tensors[name]

    def turn(self, rows):
        pairs = rows.reshape(*rows.shape[:-1], -1, 2)
        half = pairs.shape[-2]
        angles = numpy.arange(len(rows))[:, None] * self.base ** (-numpy.arange(half) / half)
        cosine, sine = (part(angles)[:, None, :].astype(numpy.float32) for part in (numpy.cos, numpy.sin))
        real, imaginary = pairs[..., 0], pairs[..., 1]
        turned = numpy.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], axis=-1)
        return turned.reshape(rows.shape)

    def attend(self, rows, layer):
        product = lambda part: rows @ self.tensors[f"blk.{layer}.attn_{part}.weight"].T
        count = len(rows)
        queries = self.turn(product("q").reshape(count, self.heads, -1))
        keys = self.turn(product("k").reshape(count, self.key_heads, -1))
        values = product("v").reshape(count, self.key_heads, -1)
        keys, values = (numpy.repeat(part, self.heads // self.key_heads, axis=1) for part in (keys, values))
        scores = numpy.einsum("qhd,khd->hqk", queries, keys) / numpy.sqrt(queries.shape[-1])
        scores += numpy.triu(numpy.full((count, count), -numpy.inf, numpy.float32), 1)
        scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = numpy.einsum("hqk,khd->qhd", scores, values).reshape(count, -1)
        return mixed @ self.tensors[f"blk.{layer}.attn_output.weight"].T

    def feed(self, rows, layer):
        gates, values = (rows @ self.tensors[f"blk.{layer}.ffn_{part}.weight"].T for part in ("gate", "up"))
        return (gates / (1 + numpy.exp(-gates)) * values) @ self.tensors[f"blk.{layer}.ffn_down.weight"].T

    def logits(self, tokens):
        """Logits after the last token."""
        rows = self.tensors["token_embd.weight"][tokens]
        for layer in range(self.layers):
            rows = rows + self.attend(self.normalise(rows, f"blk.{layer}.attn_norm.weight"), layer)
            rows = rows + self.feed(self.normalise(rows, f"blk.{layer}.ffn_norm.weight"), layer)
        return self.tensors["token_embd.weight"] @ self.normalise(rows[-1], "output_norm.weight")
