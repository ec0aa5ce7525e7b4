"""Engines that embed token ids on one thread: the pool's, behind a pipe, and ONNX Runtime's."""

import json
import subprocess
import time

import numpy
import onnxruntime


class Ours:
    """The engine's model, behind the pipe of `measure_minilm`."""

    def __init__(self, program, files):
        self.process = subprocess.Popen([program, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"measure_minilm ended with status {self.process.wait()}")
        return answer.split()

    def tokens(self, text):
        return [int(word) for word in self.ask(json.dumps(text))]

    def embed(self, tokens, repetitions=1):
        """Wall and processor nanoseconds of one embedding, and the embedding."""
        numbers = [float(word) for word in self.ask(" ".join(map(str, [repetitions, *tokens])))]
        return numbers[0] / repetitions, numbers[1] / repetitions, numpy.array(numbers[2:])


class OnnxRuntime:
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
        return wall / repetitions, processor / repetitions, vectors[0].astype(numpy.float64)
