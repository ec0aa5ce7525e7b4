"""The edge under test, as the variables of tests/support/on-edge.ts name it."""

import os

import pytest


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["TREELINE_URL"]


@pytest.fixture(scope="session")
def key() -> str:
    return os.environ["TREELINE_KEY"]
