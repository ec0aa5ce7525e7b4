"""OpenAI's own client for Python."""

import math

import openai
import pytest

MODEL = "all-minilm-l6-v2"
HELLO_WORLD = [-0.03448, 0.03102, 0.00673, 0.02611]


@pytest.fixture(scope="module")
def client(url, key):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def test_embeddings_of_texts(client):
    answer = client.embeddings.create(model=MODEL, input=["hello world", "grüße 🌲"])
    assert answer.model == MODEL and len(answer.data) == 2 and answer.usage.prompt_tokens > 4
    vector = answer.data[0].embedding
    assert len(vector) == 384 and math.isclose(math.hypot(*vector), 1, abs_tol=1e-3)
    assert all(abs(a - b) < 0.01 for a, b in zip(vector, HELLO_WORLD))


def test_embeddings_of_token_ids_in_fewer_dimensions(client):
    answer = client.embeddings.create(model=MODEL, input=[[101, 7592, 2088, 102]], dimensions=8, encoding_format="float")
    assert len(answer.data[0].embedding) == 8


def test_models(client):
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def test_chat(client):
    answer = client.chat.completions.create(model="test-chat", messages=[{"role": "user", "content": "grüße 🌲"}])
    assert answer.choices[0].message.content == "echo: grüße 🌲"


def test_chat_stream(client):
    messages = [{"role": "user", "content": "one two three"}]
    stream = client.chat.completions.create(model="test-chat", messages=messages, stream=True)
    pieces = [event.choices[0].delta.content or "" for event in stream if event.choices]
    assert "".join(pieces) == "echo: one two three" and len(pieces) > 2


def test_failures_become_the_clients_own_exceptions(client, url):
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="none", input="a")
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=MODEL, input="")
    assert refused.value.code == "invalid_request" and refused.value.param == "input.0"
    wrong = openai.OpenAI(base_url=f"{url}/v1", api_key="tl_" + "0" * 48, max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.models.list()
