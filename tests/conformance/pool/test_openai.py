"""OpenAI's own client for Python."""

import json
import math

import openai
import pytest

from conftest import CHAT, EMBEDDER, HELLO_WORLD

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120)


def test_models(client):
    names = [model.id for model in client.models.list()]
    assert CHAT in names and EMBEDDER in names
    assert client.models.retrieve(CHAT).owned_by == "treeline"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


def test_chat(client):
    answer = client.chat.completions.create(model=CHAT, messages=QUESTION, temperature=0, max_completion_tokens=32)
    choice = answer.choices[0]
    assert choice.message.content.strip() != "" and choice.message.role == "assistant"
    assert choice.finish_reason in {"stop", "length"}
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 32


def test_chat_stream_equals_the_whole_answer(client):
    settings = {"model": CHAT, "messages": QUESTION, "temperature": 0, "max_completion_tokens": 24}
    whole = client.chat.completions.create(**settings)
    stream = client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(pieces) == whole.choices[0].message.content and len(pieces) > 3


def test_the_streaming_helper_of_the_client(client):
    settings = {"model": CHAT, "messages": QUESTION, "temperature": 0, "max_completion_tokens": 24}
    whole = client.chat.completions.create(**settings).choices[0].message.content
    # The client takes an answer that ran into its limit for a failure, so it is stopped at words that are known to come.
    stop = whole[10:14]
    with client.chat.completions.stream(**settings, stop=[stop]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds and final.choices[0].message.content == whole[: whole.index(stop)]


def test_logprobs(client):
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, temperature=0, max_completion_tokens=6, logprobs=True, top_logprobs=3
    )
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        # Greedy takes the likeliest.
        assert math.isclose(token.logprob, max(top.logprob for top in token.top_logprobs), abs_tol=1e-4)
    text = b"".join(bytes(token.bytes) for token in tokens).decode()
    assert text.startswith(answer.choices[0].message.content)


def test_the_same_seed_gives_the_same_text(client):
    def once(seed):
        answer = client.chat.completions.create(
            model=CHAT, messages=QUESTION, temperature=1, seed=seed, max_completion_tokens=24
        )
        return answer.choices[0].message.content

    assert once(7) == once(7)
    assert len({once(seed) for seed in range(5)}) > 1


def test_choices(client):
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, n=3, temperature=1, seed=1, max_completion_tokens=16
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1


def test_a_stop_sequence_is_left_out(client):
    settings = {"model": CHAT, "messages": QUESTION, "temperature": 0, "max_completion_tokens": 24}
    whole = client.chat.completions.create(**settings).choices[0].message.content
    stop = whole[10:14]
    cut = client.chat.completions.create(**settings, stop=[stop]).choices[0]
    assert cut.message.content == whole[: whole.index(stop)] and cut.finish_reason == "stop"


def test_structured_output(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Name a city and how many people live there, as JSON."}],
        temperature=0,
        max_completion_tokens=120,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )
    parsed = json.loads(answer.choices[0].message.content)
    assert set(parsed) == {"city", "people"} and isinstance(parsed["people"], int)


def test_structured_output_by_the_clients_own_models(client):
    from pydantic import BaseModel

    class Verdict(BaseModel):
        isTrue: bool

    answer = client.chat.completions.parse(
        model=CHAT,
        messages=[{"role": "user", "content": "Is the sky blue?"}],
        temperature=0,
        max_completion_tokens=60,
        response_format=Verdict,
    )
    assert isinstance(answer.choices[0].message.parsed, Verdict)


def test_json_object(client):
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Give me a short JSON object with one key."}],
        temperature=0,
        max_completion_tokens=200,
        response_format={"type": "json_object"},
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    assert answer.choices[0].message.content.lstrip().startswith("{")


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["c", "f"]}},
                "required": ["city", "unit"],
                "additionalProperties": False,
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/number"}},
                "required": ["a", "b"],
                "additionalProperties": False,
                "$defs": {"number": {"type": "integer"}},
            },
        },
    },
]
WEATHER = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "tools": TOOLS,
    "temperature": 0,
    "max_completion_tokens": 120,
}


def test_a_tool_that_must_be_called_is_called_with_valid_arguments(client):
    any_of_them = client.chat.completions.create(**WEATHER, tool_choice="required").choices[0]
    assert any_of_them.finish_reason == "tool_calls" and any_of_them.message.content is None
    assert any_of_them.message.tool_calls[0].function.name in {"get_weather", "add"}
    named = {"type": "function", "function": {"name": "add"}}
    (call,) = client.chat.completions.create(**WEATHER, tool_choice=named).choices[0].message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert call.id.startswith("call_") and call.function.name == "add"
    assert set(arguments) == {"a", "b"} and all(isinstance(value, int) for value in arguments.values())


def test_a_call_of_a_tool_streams(client):
    named = {"type": "function", "function": {"name": "get_weather"}}
    with client.chat.completions.stream(**WEATHER, tool_choice=named) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert "tool_calls.function.arguments.done" in kinds and final.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}


def test_what_a_tool_gave_goes_back_to_the_model(client):
    (call,) = client.chat.completions.create(
        **WEATHER, tool_choice={"type": "function", "function": {"name": "get_weather"}}
    ).choices[0].message.tool_calls
    messages = [
        *WEATHER["messages"],
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "It rains in Paris, at 12 degrees."},
    ]
    answer = client.chat.completions.create(**{**WEATHER, "messages": messages}, tool_choice="none")
    assert answer.choices[0].message.content.strip() != "" and answer.choices[0].message.tool_calls is None


def test_tools_are_told_to_a_model_whose_template_has_none(client):
    with_tools = client.chat.completions.create(**{**WEATHER, "max_completion_tokens": 1})
    without = client.chat.completions.create(**{**WEATHER, "max_completion_tokens": 1}, tool_choice="none")
    assert with_tools.usage.prompt_tokens > without.usage.prompt_tokens + 50


def test_completions(client):
    answer = client.completions.create(model=CHAT, prompt="Once upon a time", temperature=0, max_tokens=8, logprobs=2)
    choice = answer.choices[0]
    assert answer.usage.completion_tokens == 8 and choice.finish_reason == "length"
    assert len(choice.logprobs.tokens) == len(choice.logprobs.text_offset) == 8
    assert choice.logprobs.text_offset[1] == len(choice.logprobs.tokens[0])
    echoed = client.completions.create(model=CHAT, prompt="Once upon a time", temperature=0, max_tokens=8, echo=True)
    assert echoed.choices[0].text == "Once upon a time" + choice.text


def test_several_prompts_and_a_stream_of_them(client):
    prompts = ["Once upon a time", "The capital of France is"]
    settings = {"model": CHAT, "prompt": prompts, "temperature": 0, "max_tokens": 6}
    whole = [choice.text for choice in client.completions.create(**settings).choices]
    streamed = ["", ""]
    for chunk in client.completions.create(**settings, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == whole and all(whole)


def test_what_vllm_names(client):
    answer = client.chat.completions.create(
        model=CHAT,
        messages=QUESTION,
        max_completion_tokens=12,
        temperature=1,
        extra_body={"top_k": 1, "min_p": 0.05, "repetition_penalty": 1.1, "ignore_eos": True},
    )
    assert answer.usage.completion_tokens == 12


def test_a_prompt_seen_before_is_cached(client):
    messages = [{"role": "system", "content": "You know much about geography. " * 20}, *QUESTION]
    settings = {"model": CHAT, "messages": messages, "temperature": 0, "max_completion_tokens": 4}
    client.chat.completions.create(**settings)
    again = client.chat.completions.create(**settings)
    assert again.usage.prompt_tokens_details.cached_tokens > 0


def test_embeddings(client):
    answer = client.embeddings.create(model=EMBEDDER, input=["hello world", "grüße 🌲"])
    vector = answer.data[0].embedding
    assert len(answer.data) == 2 and len(vector) == 384 and answer.usage.prompt_tokens > 4
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-3)
    assert all(abs(a - b) < 0.01 for a, b in zip(vector, HELLO_WORLD))
    numbers = client.embeddings.create(model=EMBEDDER, input="hello world", encoding_format="float")
    assert all(abs(a - b) < 0.01 for a, b in zip(numbers.data[0].embedding, vector))


def test_embeddings_of_token_ids_in_fewer_dimensions(client):
    answer = client.embeddings.create(model=EMBEDDER, input=[[101, 7592, 2088, 102]], dimensions=8)
    assert len(answer.data[0].embedding) == 8 and math.isclose(math.hypot(*answer.data[0].embedding), 1, abs_tol=1e-3)


def test_a_stream_that_is_closed_stops_the_generation(client, url):
    import time
    import urllib.request

    def running():
        with urllib.request.urlopen(f"{url}/v1/nodes") as answer:
            return json.load(answer)["nodes"][0].get("load", {}).get("running", 0)

    stream = client.chat.completions.create(
        model=CHAT, messages=QUESTION, stream=True, max_completion_tokens=1500, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    for _ in range(100):
        if running() == 0:
            return
        time.sleep(0.1)
    pytest.fail("it goes on")


def test_a_full_pool_is_a_rate_limit_and_a_closed_stream_makes_room(narrow_url):
    import time

    client = openai.OpenAI(base_url=f"{narrow_url}/v1", api_key="none", max_retries=0, timeout=120)
    settings = {"model": CHAT, "messages": QUESTION, "max_completion_tokens": 1500, "extra_body": {"ignore_eos": True}}
    stream = client.chat.completions.create(**settings, stream=True)
    next(iter(stream))
    with pytest.raises(openai.RateLimitError) as refused:
        client.embeddings.create(model=EMBEDDER, input="a")
    assert refused.value.code == "overloaded" and int(refused.value.response.headers["retry-after"]) >= 0
    stream.close()
    for _ in range(100):
        try:
            client.embeddings.create(model=EMBEDDER, input="a")
            return
        except openai.RateLimitError:
            time.sleep(0.1)
    pytest.fail("the closed stream still has its place")


def test_failures_become_the_clients_own_exceptions(client, url):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="none", messages=QUESTION)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=CHAT, messages=QUESTION, temperature=9)
    assert refused.value.param == "temperature" and refused.value.code == "invalid_request"
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=EMBEDDER, input="")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model=CHAT,
            messages=QUESTION,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}},
        )
    with pytest.raises(openai.APIStatusError) as unsupported:
        client.embeddings.create(model=CHAT, input="a")
    assert unsupported.value.status_code == 501
    impatient = client.with_options(default_headers={"x-request-timeout-ms": "50"})
    with pytest.raises(openai.APIStatusError) as late:
        impatient.chat.completions.create(
            model=CHAT, messages=QUESTION, max_completion_tokens=1500, extra_body={"ignore_eos": True}
        )
    assert late.value.status_code == 504
