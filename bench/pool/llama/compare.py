"""Sets the engine's CPU decoder beside llama.cpp: the same weights file, the same threads, in turns.

    python compare.py parity|speed <measure> <weights.gguf> [--threads 1 2] [--repetitions 9]

`measure` is the example of that name of the crate `llm`; this interpreter needs `llama-cpp-python`.

`parity` prints, for each prompt, whether the likeliest tokens are the same. Both engines round to 8 bits what weights are
multiplied with, and after the first value that falls on the other side of a half, their noise is independent: so it prints
first how much noise that is, against the model in plain floats (`reference.py`), and against llama.cpp itself, which gives
other logits when a prompt comes token by token. Where the tokens differ, it prints how far apart the two tokens' logits are
in each engine and in floats, and whether noise of that size explains it. `speed` prints medians, and the best, of tokens a second by the clock and by processor time.
"""

import argparse
import statistics
import subprocess
import sys
import time

import llama_cpp
import numpy
from reference import Reference

PROMPTS = [
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain how a bicycle stays upright.",
    "List three uses of baking soda.",
    "Translate 'good morning' into Spanish.",
    "Why is the sky blue?",
    "Give me a recipe for pancakes.",
    "Who wrote Romeo and Juliet?",
    "Summarise the water cycle in two sentences.",
    "What is 17 plus 25?",
    "Name the planets of the solar system.",
    "How do I sort a list in Python?",
    "What does photosynthesis do?",
    "Tell me a joke about computers.",
    "Describe a rainy afternoon in a small town.",
    "What is the difference between a virus and a bacterium?",
    "How many days are there in a leap year?",
    "Suggest a name for a coffee shop.",
    "What causes earthquakes?",
    "Explain recursion to a child.",
    "Write an email asking for a day off.",
    "What is the boiling point of water?",
    "How do bees make honey?",
    "Give three tips for better sleep.",
]
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
STEPS = 64
# Prompts over which noise is measured, and every how many-th logit.
NOISE_PROMPTS, NOISE_STRIDE = 8, 13
# A difference is explained where the two logits, in floats, are closer than this many standard deviations of the noise of
# their difference, which is √2 times that of one.
DEVIATIONS = 4


class Ours:
    """The engine's decoder, behind the pipe of `measure`."""

    def __init__(self, program, weights, threads):
        command = [program, weights, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("measure ended; its message is above")
        return [float(word) for word in answer.split()]

    def greedy(self, tokens, steps):
        return [int(token) for token in self.ask("greedy", steps, *tokens)]

    def logits(self, tokens, wanted):
        return self.ask("logits", len(wanted), *wanted, *tokens)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Theirs:
    """llama.cpp, at the level at which tokens go in and logits come out."""

    def __init__(self, weights, threads):
        self.model = llama_cpp.Llama(
            weights, n_ctx=4096, n_threads=threads, n_threads_batch=threads, n_batch=512, verbose=False
        )
        self.vocabulary = self.model.n_vocab()

    def tokens(self, text):
        return self.model.tokenize(text.encode(), add_bos=False, special=True)

    def last_logits(self):
        return numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.model.ctx, -1), shape=(self.vocabulary,))

    def compute(self, tokens, at_once):
        self.model.reset()
        for first in range(0, len(tokens), at_once):
            self.model.eval(tokens[first : first + at_once])

    def greedy(self, tokens, steps, at_once=512):
        self.compute(tokens, at_once)
        chosen = []
        for _ in range(steps):
            chosen.append(int(self.last_logits().argmax()))
            self.model.eval(chosen[-1:])
        return chosen

    def logits(self, tokens, wanted, at_once=512):
        self.compute(tokens, at_once)
        return [float(self.last_logits()[token]) for token in wanted]

    def prompt(self, count):
        self.model.reset()
        return timed(lambda: self.model.eval([(index * 7919 + 13) % 49000 for index in range(count)]))

    def decode(self, position, steps):
        if self.model.n_tokens < position:
            self.model.reset()
            self.model.eval([1] * position)
        self.model.n_tokens = position

        def run():
            for step in range(steps):
                self.model.eval([(step * 7919 + 13) % 49000])

        return timed(run)


def timed(run):
    wall, processor = time.perf_counter_ns(), time.process_time_ns()
    run()
    return time.perf_counter_ns() - wall, time.process_time_ns() - processor


def deviation(left, right):
    apart = numpy.subtract(left, right)
    return float(numpy.std(apart))


def noise(ours, theirs, reference):
    """Standard deviations of logits; prints them, and returns the larger of the engines' own."""
    rows = []
    for text in PROMPTS[:NOISE_PROMPTS]:
        tokens = theirs.tokens(TEMPLATE.format(text))
        wanted = list(range(0, theirs.vocabulary, NOISE_STRIDE))
        floats, here, there = reference.logits(tokens)[wanted], ours.logits(tokens, wanted), theirs.logits(tokens, wanted)
        single = theirs.logits(tokens, wanted, at_once=1)
        rows.append([deviation(here, floats), deviation(there, floats), deviation(here, there), deviation(there, single)])
    here, there, between, itself = numpy.mean(rows, axis=0)
    print(f"noise of a logit: here {here:.3f} and llama.cpp {there:.3f} against floats, {between:.3f} against each other;")
    print(f"llama.cpp against itself, a prompt at once and token by token: {itself:.3f}")
    return max(here, there)


def parity(ours, theirs, reference):
    bound = DEVIATIONS * 2**0.5 * noise(ours, theirs, reference)
    same = explained = itself = 0
    for text in PROMPTS:
        prompt = theirs.tokens(TEMPLATE.format(text))
        left, right = ours.greedy(prompt, STEPS), theirs.greedy(prompt, STEPS)
        itself += right == theirs.greedy(prompt, STEPS, at_once=1)
        if left == right:
            same += 1
            print(f"same {STEPS} tokens: {text}")
            continue
        first = next(index for index in range(STEPS) if left[index] != right[index])
        context, pair = prompt + left[:first], [left[first], right[first]]
        here, there, floats = (
            float(numpy.subtract(*logits))
            for logits in (ours.logits(context, pair), theirs.logits(context, pair), reference.logits(context)[pair])
        )
        near = abs(floats) < bound
        explained += near
        print(f"differ from token {first} on, {'near-equal' if near else 'NOT EXPLAINED'}: {text}")
        print(f"  {pair[0]} before {pair[1]} by {here:+.3f} here, {there:+.3f} in llama.cpp, {floats:+.3f} in floats")
    print(f"{same} of {len(PROMPTS)} prompts give the same {STEPS} tokens; {explained} differ where two logits are near-equal")
    print(f"llama.cpp gives its own tokens again for {itself} of {len(PROMPTS)} when the prompt comes token by token")
    if same + explained < len(PROMPTS):
        sys.exit("some differences are not explained")


def speed(ours, theirs, threads, repetitions):
    cases = [(f"prompt of {count}", count, ("prompt", count), lambda count=count: theirs.prompt(count)) for count in (128, 512)]
    for position in (16, 1024):
        decode = lambda position=position: theirs.decode(position, 32)
        cases.append((f"decoding at {position}", 32, ("decode", 1, position, 32), decode))
    cases.append(("decoding 8 sequences at 16", 256, ("decode", 8, 16, 32), None))
    for name, tokens, command, other in cases:
        left, right = [], []
        for _ in range(repetitions):
            left.append(ours.ask(*command))
            if other:
                right.append(other())
        print(f"{name}, threads {threads}")
        show("here", tokens, left)
        if right:
            show("llama.cpp", tokens, right)
            ratios = [statistics.median(r[i] for r in right) / statistics.median(l[i] for l in left) for i in (0, 1)]
            best = [min(r[i] for r in right) / min(l[i] for l in left) for i in (0, 1)]
            print(f"  times as fast: median {ratios[0]:.2f} (processor {ratios[1]:.2f}), best {best[0]:.2f} ({best[1]:.2f})")


def show(name, tokens, times):
    def rate(choose, index):
        return tokens / choose([pair[index] for pair in times]) * 1e9

    median, best = statistics.median, min
    print(
        f"  {name:10} tokens/s: median {rate(median, 0):7.1f} (processor {rate(median, 1):7.1f}),"
        f" best {rate(best, 0):7.1f} ({rate(best, 1):7.1f})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["parity", "speed"])
    parser.add_argument("measure")
    parser.add_argument("weights")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    print("llama.cpp:", llama_cpp.__version__, llama_cpp.llama_print_system_info().decode())
    for threads in options.threads if options.what == "speed" else options.threads[:1]:
        ours, theirs = Ours(options.measure, options.weights, threads), Theirs(options.weights, threads)
        if options.what == "parity":
            parity(ours, theirs, Reference(options.weights))
        else:
            speed(ours, theirs, threads, options.repetitions)
        ours.close()


if __name__ == "__main__":
    main()
