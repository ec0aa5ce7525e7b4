"""Native ONNX Runtime on one thread: one order a line on stdin, one outcome a line on stdout.

    python bench/inference/native.py MODEL
"""

import json
import sys

import numpy as np
import onnxruntime


def main() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    print('{"ready":true}', flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        rows = np.array(order["workload"]["ids"], dtype=np.int64)
        feeds = {"input_ids": rows, "attention_mask": np.ones_like(rows)}
        embeddings = np.zeros((0, 0))
        for _ in range(order["iterations"]):
            embeddings = session.run(None, feeds)[0]
        print(json.dumps({"embedding": embeddings[:1].flatten().tolist(), "memoryBytes": 0}), flush=True)


main()
