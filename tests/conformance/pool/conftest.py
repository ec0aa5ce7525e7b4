"""The pool under test, as run.ts names it: its address, and models that are ready."""

import os

import pytest

EMBEDDER = "all-minilm-l6-v2"
CHAT = "smollm2-135m-instruct"
IDENTITIES = "identities"
# The first numbers of the embedding of "hello world", by the float model.
HELLO_WORLD = [-0.03448, 0.03102, 0.00673, 0.02611]


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["POOL_URL"]


@pytest.fixture(scope="session")
def address(url) -> str:
    """Host and port, as gRPC's clients and Triton's want them."""
    return url.removeprefix("http://")


@pytest.fixture(scope="session")
def narrow_url() -> str:
    """A pool that runs one call at a time and refuses others."""
    return os.environ["NARROW_POOL_URL"]
