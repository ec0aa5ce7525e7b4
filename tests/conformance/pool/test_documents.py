"""The commands of docs/POOL-BACKENDS.md, run as they stand; what they answer is compared with what follows them there."""

import json
import os
import pathlib
import re
import subprocess

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs/POOL-BACKENDS.md"
BLOCKS = re.compile(r"^```sh\n(.*?)^```\n\n```json\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What divides the answers of commands that share one shell, and with it their functions and variables.
MARK = "\x1e"
TIMEOUT_SECONDS = 120


def holds(answer, expected, path):
    """All that is expected is in the answer; "…" is anything."""
    if expected == "…":
        return
    if isinstance(expected, dict):
        assert isinstance(answer, dict), path
        for name, value in expected.items():
            assert name in answer, f"{path}.{name} is missing"
            holds(answer[name], value, f"{path}.{name}")
    elif isinstance(expected, list):
        assert isinstance(answer, list) and len(answer) == len(expected), path
        for index, value in enumerate(expected):
            holds(answer[index], value, f"{path}[{index}]")
    elif isinstance(expected, float | int) and not isinstance(expected, bool):
        assert abs(answer - expected) < 1e-6, f"{path} is {answer}"
    else:
        assert answer == expected, f"{path} is {answer}"


def test_every_example_answers_as_is_written(url):
    examples = BLOCKS.findall(DOCUMENT.read_text())
    assert len(examples) >= 10
    script = f"\nprintf '{MARK}'\n".join(command for command, _ in examples)
    variables = {**os.environ, "POOL": url, "MODELS": os.environ["POOL_MODELS"]}
    done = subprocess.run(["bash", "-euc", script], env=variables, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split(MARK)
    for (command, expected), answer in zip(examples, answers, strict=True):
        try:
            got = json.loads(answer)
        except ValueError:
            raise AssertionError(f"no JSON: {answer}\n{command}") from None
        holds(got, json.loads(expected), "answer")
