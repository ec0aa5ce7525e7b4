"""Sets the engine's MiniLM beside ONNX Runtime's int8: the same token ids, one thread each, in turns.

    python compare.py <measure_minilm> <model.tlm> <minilm-int8.onnx> [--repetitions 15]

`measure_minilm` is the example of that name of the crate `minilm`; `bench/inference/reference.py onnx` writes the ONNX file.
First the cosines of both to the float model over the 1,000 sentences of `tests/vectors`, then milliseconds an embedding.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import numpy
import onnxruntime

VECTORS = Path(__file__).resolve().parents[3] / "tests/vectors"
DIMENSIONS = 384


class Ours:
    """The engine's model, behind the pipe of `measure_minilm`."""

    def __init__(self, program, model):
        self.process = subprocess.Popen([program, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def embed(self, tokens, repetitions=1):
        """Wall and processor nanoseconds of one embedding, and the embedding."""
        print(repetitions, *tokens, file=self.process.stdin, flush=True)
        numbers = [float(word) for word in self.process.stdout.readline().split()]
        return numbers[0] / repetitions, numbers[1] / repetitions, numpy.array(numbers[2:])


class Theirs:
    """ONNX Runtime on one thread."""

    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(self, tokens, repetitions=1):
        rows = numpy.array([tokens], dtype=numpy.int64)
        feeds = {"input_ids": rows, "attention_mask": numpy.ones_like(rows)}
        wall, processor = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(repetitions):
            vectors = self.session.run(None, feeds)[0]
        wall, processor = time.perf_counter_ns() - wall, time.process_time_ns() - processor
        return wall / repetitions, processor / repetitions, vectors[0]


def references():
    vectors = numpy.fromfile(VECTORS / "embeddings-1000.f16", dtype="<f2").astype(numpy.float64).reshape(-1, DIMENSIONS)
    tokens, position = numpy.fromfile(VECTORS / "embeddings-1000.tokens.u16", dtype="<u2"), 0
    for vector in vectors:
        count = int(tokens[position])
        yield [int(token) for token in tokens[position + 1 : position + 1 + count]], vector
        position += 1 + count


def cosine(left, right):
    return float(left @ right / numpy.sqrt((left @ left) * (right @ right)))


def quality(engines):
    pairs = list(references())
    for name, engine in engines.items():
        cosines = [cosine(engine.embed(tokens)[2], vector) for tokens, vector in pairs]
        print(f"cosine to the float model, {name:12}: mean {statistics.mean(cosines):.5f}, least {min(cosines):.5f}")


def speed(engines, repetitions):
    for count in (10, 32, 128, 256):
        tokens = [101, *range(2000, 2000 + count - 2), 102]
        times = {name: [] for name in engines}
        for _ in range(repetitions):
            for name, engine in engines.items():
                times[name].append(engine.embed(tokens, max(1, 2000 // count))[:2])
        print(f"{count} tokens, one thread")
        for name, pairs in times.items():
            wall, processor = ([pair[index] / 1e6 for pair in pairs] for index in (0, 1))
            print(
                f"  {name:12} ms: median {statistics.median(wall):.3f} (processor {statistics.median(processor):.3f}),"
                f" best {min(wall):.3f} ({min(processor):.3f})"
            )
        left, right = times.values()
        ratio = lambda choose, index: choose(pair[index] for pair in right) / choose(pair[index] for pair in left)
        median, best = (f"{ratio(choose, 0):.2f} ({ratio(choose, 1):.2f})" for choose in (statistics.median, min))
        print(f"  times as fast: median {median}, best {best}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure")
    parser.add_argument("model")
    parser.add_argument("onnx")
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    engines = {"here": Ours(options.measure, options.model), "ONNX Runtime": Theirs(options.onnx)}
    quality(engines)
    speed(engines, options.repetitions)


if __name__ == "__main__":
    main()
