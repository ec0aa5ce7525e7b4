"""Sets the engine's MiniLM beside ONNX Runtime's, int8 and float: the same token ids, one thread each, in turns.

    python compare.py <measure_minilm> <folder of the model> <folder of the ONNX files> [--repetitions 15] [--texts 1000]

`measure_minilm` is the example of that name of the crate `minilm`; the model's folder has `model.safetensors`,
`tokenizer.json` and the edge's `.tlm` file; `bench/inference/reference.py onnx` writes the ONNX files, `minilm-int8.onnx` of
which is quantised per channel. First milliseconds an embedding, then the cosines to the float model over the committed 1,000
texts and `--texts` of each other kind (see `texts.py`). Both print Markdown.
"""

import argparse
import statistics
from pathlib import Path

import numpy

from engines import OnnxRuntime, Ours
from texts import large_set

LENGTHS = (3, 10, 32, 128, 256)
TOKENS_A_TURN = 2000
"""Tokens that an engine embeds before it is another's turn."""


def cosine(left, right):
    return float(left @ right / numpy.sqrt((left @ left) * (right @ right)))


def speed(engines, repetitions):
    names = list(engines)
    print(f"| tokens | {' | '.join(names)} | ONNX Runtime int8 / ours |\n| ---: |{' ---: |' * (len(names) + 1)}")
    for count in LENGTHS:
        tokens = [101, *range(2000, 2000 + count - 2), 102]
        times = {name: [] for name in names}
        for round in range(repetitions):
            # Each round begins with another, so that other work on the machine falls on all alike.
            for place in range(len(names)):
                name = names[(round + place) % len(names)]
                times[name].append(engines[name].embed(tokens, max(1, TOKENS_A_TURN // count))[:2])
        rows = [figures(times[name]) for name in names]
        cells = [f"{wall:.3f} ({processor:.3f}; {least:.3f})" for wall, processor, least in rows]
        ratios = [theirs / ours for ours, theirs in zip(rows[0], rows[1])]
        print(f"| {count} | {' | '.join(cells)} | {ratios[0]:.2f} ({ratios[1]:.2f}; {ratios[2]:.2f}) |", flush=True)


def figures(pairs):
    """The medians of wall and of processor time, and the least processor time, in milliseconds."""
    wall, processor = ([pair[index] / 1e6 for pair in pairs] for index in (0, 1))
    return statistics.median(wall), statistics.median(processor), min(processor)


def quality(engines, reference, tokens_of, count):
    print("| texts | tokens, median | engine | mean | 1 % below | least |\n| --- | ---: | --- | ---: | ---: | ---: |")
    every = {name: [] for name in engines}
    sets = large_set(count)
    for kind, texts in sets.items():
        found = {name: [] for name in engines}
        lengths = []
        for text in texts:
            tokens = tokens_of(text)
            truth = reference.embed(tokens)[2]
            lengths.append(len(tokens))
            for name, engine in engines.items():
                found[name].append((cosine(engine.embed(tokens)[2], truth), text))
        for name, cosines in found.items():
            report(f"{kind}, {len(texts)}", statistics.median(lengths), name, cosines)
            every[name] += cosines
    for name, cosines in every.items():
        report(f"all, {len(cosines)}", "", name, cosines)
    for name, cosines in every.items():
        value, text = min(cosines)
        print(f"{name}: least {value:.5f}, of {text[:100]!r}")


def report(texts, length, name, cosines):
    values = numpy.array([value for value, _ in cosines])
    quantile = numpy.quantile(values, 0.01)
    print(f"| {texts} | {length} | {name} | {values.mean():.5f} | {quantile:.5f} | {values.min():.5f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure")
    parser.add_argument("model", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--texts", type=int, default=1000)
    options = parser.parse_args()
    ours = Ours(options.measure, [options.model / "model.safetensors", options.model / "tokenizer.json"])
    edge = Ours(options.measure, [options.model / "all-minilm-l6-v2.tlm"])
    theirs, truth = (OnnxRuntime(options.onnx / f"minilm-{form}.onnx") for form in ("int8", "float"))
    print("Milliseconds an embedding: median of wall time (of processor time; least processor time).\n")
    speed({"ours": ours, "ONNX Runtime int8": theirs, "ONNX Runtime float": truth}, options.repetitions)
    print("\nCosine to the float model.\n")
    compared = {"ours": ours, "ours, the edge's file": edge, "ONNX Runtime int8": theirs}
    quality(compared, truth, ours.tokens, options.texts)


if __name__ == "__main__":
    main()
