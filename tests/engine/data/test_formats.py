"""Every format: what its rows become, and that each bad row is told in one clear sentence."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.specs.formats import FORMAT_NAMES, FORMATS, detect_format, read_row
from engine.specs.problems import FORMAT_SENTENCES, SENTENCES
from engine.specs.sources import Source
from engine.specs.turns import ConversationRow, PreferenceRow, TextRow

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {}}}
MOSS = {
    "conversation_id": 1,
    "meta_instruction": "You are MOSS.\n- Inner thoughts: enabled.\n"
    "- Web search: enabled. API: Search(query)\n- Calculator: disabled.\n",
    "num_turns": 1,
    "chat": {
        "turn_2": {
            "Human": "<|Human|>: Thanks<eoh>\n",
            "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
            "Commands": "<|Commands|>: None<eoc>\n",
            "Tool Responses": "<|Results|>:\nNone<eor>\n",
            "MOSS": "<|MOSS|>: Welcome.<eom>\n",
        },
        "turn_1": {
            "Human": "<|Human|>: Who won?<eoh>\n",
            "Inner Thoughts": "<|Inner Thoughts|>: I need to look.<eot>\n",
            "Commands": '<|Commands|>: Search("who \\"won\\""), Search("2022")<eoc>\n',
            "Tool Responses": "<|Results|>:\nSearch => they<eor>\n",
            "MOSS": "<|MOSS|>: They did.<eom>\n",
        },
    },
}


def call(**arguments):
    return {"type": "function", "function": {"name": "Search", "arguments": arguments}}


GOOD = [
    ("messages", {"messages": [USER, ANSWER]}, ConversationRow([USER, ANSWER])),
    (
        "messages",
        {"messages": [USER, {**ANSWER, "loss_weight": 0.5}], "tools": json.dumps([TOOL])},
        ConversationRow([USER, {**ANSWER, "loss_weight": 0.5}], [TOOL]),
    ),
    (
        "alpaca",
        {
            "instruction": "Add",
            "input": "1 2",
            "output": "3",
            "system": "Count.",
            "history": [["a", "b"]],
        },
        ConversationRow(
            [
                {"role": "system", "content": "Count."},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "Add\n1 2"},
                {"role": "assistant", "content": "3"},
            ]
        ),
    ),
    (
        "alpaca",
        {"instruction": "Hi", "input": "", "output": "Hello", "history": None},
        ConversationRow([USER, ANSWER]),
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "function_call", "value": '{"name": "now", "arguments": {"a": 1}}'},
                {"from": "observation", "value": "12:00"},
                {"from": "gpt", "value": "Noon", "loss_weight": 2},
            ],
            "system": "Be kind.",
            "tools": '[{"name": "now", "parameters": {}}]',
        },
        ConversationRow(
            [
                {"role": "system", "content": "Be kind."},
                USER,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"type": "function", "function": {"name": "now", "arguments": {"a": 1}}}
                    ],
                },
                {"role": "tool", "content": "12:00"},
                {"role": "assistant", "content": "Noon", "loss_weight": 2},
            ],
            [TOOL],
        ),
    ),
    ("sharegpt", {"conversations": [USER, ANSWER]}, ConversationRow([USER, ANSWER])),
    (
        "guanaco",
        {"text": "A chat.\n### Human: Hi### Assistant: Hello\n### Human: Bye"},
        ConversationRow(
            [
                {"role": "system", "content": "A chat."},
                USER,
                ANSWER,
                {"role": "user", "content": "Bye"},
            ]
        ),
    ),
    (
        "moss",
        MOSS,
        ConversationRow(
            [
                {"role": "system", "content": MOSS["meta_instruction"].strip()},
                {"role": "user", "content": "Who won?"},
                {
                    "role": "assistant",
                    "content": "I need to look.",
                    "tool_calls": [call(query='who "won"'), call(query="2022")],
                },
                {"role": "tool", "content": "Search => they"},
                {"role": "assistant", "content": "They did."},
                {"role": "user", "content": "Thanks"},
                {"role": "assistant", "content": "Welcome."},
            ],
            [
                {
                    "type": "function",
                    "function": {
                        "name": "Search",
                        "description": "Web search",
                        "parameters": {
                            "type": "object",
                            "properties": {"query": {"type": "string"}},
                            "required": ["query"],
                        },
                    },
                }
            ],
        ),
    ),
    ("text", {"text": " Once.\n"}, TextRow(" Once.\n")),
    ("text", {"content": "Once.", "id": 1}, TextRow("Once.")),
    (
        "preference",
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
        PreferenceRow([USER], [ANSWER], [{"role": "assistant", "content": "Go"}]),
    ),
    (
        "preference",
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "Go"}]},
        PreferenceRow([USER], [ANSWER], [{"role": "assistant", "content": "Go"}]),
    ),
    (
        "preference",
        {"chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "Go"}]},
        PreferenceRow([USER], [ANSWER], [{"role": "assistant", "content": "Go"}]),
    ),
    (
        "preference",
        {"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "Go"}]},
        PreferenceRow([USER], [ANSWER], [{"role": "assistant", "content": "Go"}]),
    ),
    (
        "preference",
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": {"from": "gpt", "value": "Go"},
        },
        PreferenceRow([USER], [ANSWER], [{"role": "assistant", "content": "Go"}]),
    ),
    (
        "preference",
        {"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "Go"},
        PreferenceRow([USER], [ANSWER], [{"role": "assistant", "content": "Go"}]),
    ),
]
SAID = [{"from": "human", "value": "Hi"}]
TURN = {"Human": "Hi", "MOSS": "Hello"}
BAD = [
    ("messages", {}, "missing", "messages"),
    ("messages", [1], "not_row", ""),
    ("alpaca", {}, "missing", "instruction"),
    ("alpaca", {"instruction": "Hi"}, "missing", "output"),
    ("alpaca", {"instruction": 3, "output": "x"}, "not_text", "instruction"),
    ("alpaca", {"instruction": "Hi", "input": [], "output": "x"}, "not_text", "input"),
    ("alpaca", {"instruction": "Hi", "output": " "}, "empty_answer", "output"),
    ("alpaca", {"instruction": "\ud800", "output": "x"}, "bad_text", "instruction"),
    ("alpaca", {"instruction": "Hi", "output": "x", "history": 3}, "bad_pair", "history"),
    ("alpaca", {"instruction": "Hi", "output": "x", "history": [["a"]]}, "bad_pair", "history[0]"),
    (
        "alpaca",
        {"instruction": "Hi", "output": "x", "history": [["a", 3]]},
        "not_text",
        "history[0][1]",
    ),
    ("sharegpt", {}, "missing", "conversations"),
    ("sharegpt", {"conversations": 3}, "not_list", "conversations"),
    ("sharegpt", {"conversations": []}, "empty_list", "conversations"),
    ("sharegpt", {"conversations": ["Hi"]}, "not_turn", "conversations[0]"),
    ("sharegpt", {"conversations": [{"value": "Hi"}]}, "missing", "conversations[0].from"),
    ("sharegpt", {"conversations": [{"from": "human"}]}, "missing", "conversations[0].value"),
    (
        "sharegpt",
        {"conversations": [{"from": "alien", "value": "Hi"}]},
        "bad_speaker",
        "conversations[0].from",
    ),
    ("sharegpt", {"conversations": SAID}, "no_answer", "conversations"),
    (
        "sharegpt",
        {"conversations": [{"from": "gpt", "value": "Hi"}]},
        "answer_first",
        "conversations[0]",
    ),
    (
        "sharegpt",
        {"conversations": [*SAID, {"from": "function_call", "value": "now()"}]},
        "bad_call",
        "conversations[1].value",
    ),
    (
        "sharegpt",
        {"conversations": [*SAID, {"from": "observation", "value": "x"}]},
        "stray_tool",
        "conversations[1]",
    ),
    (
        "sharegpt",
        {"conversations": [*SAID, {"from": "gpt", "value": "x", "loss_weight": -1}]},
        "bad_weight",
        "conversations[1].loss_weight",
    ),
    ("guanaco", {"text": "Hi"}, "no_dialogue", "text"),
    ("guanaco", {"text": "### Human: Hi### Assistant: "}, "empty_answer", "text"),
    ("guanaco", {"text": 1}, "not_text", "text"),
    ("moss", {}, "missing", "chat"),
    ("moss", {"chat": []}, "bad_chat", "chat"),
    ("moss", {"chat": {"turn_x": TURN}}, "bad_chat", "chat"),
    ("moss", {"chat": {"turn_1": 3}}, "bad_chat", "chat"),
    ("moss", {"chat": {"turn_1": {"Human": "Hi"}}}, "missing", "chat.turn_1.MOSS"),
    (
        "moss",
        {"chat": {"turn_1": {**TURN, "Commands": "look it up!"}}},
        "bad_command",
        "chat.turn_1.Commands",
    ),
    (
        "moss",
        {"chat": {"turn_1": {**TURN, "Tool Responses": "12:00"}}},
        "stray_tool",
        "chat.turn_1.Tool Responses",
    ),
    ("moss", {"chat": {"turn_1": {**TURN, "MOSS": ""}}}, "empty_answer", "chat.turn_1.MOSS"),
    ("text", {}, "missing", "text"),
    ("text", {"text": "  "}, "empty_text", "text"),
    ("text", {"text": None}, "not_text", "text"),
    ("preference", {"prompt": "Hi", "chosen": "x"}, "missing", "rejected"),
    ("preference", {"chosen": "x", "rejected": "y"}, "no_prompt", "prompt"),
    ("preference", {"prompt": "Hi", "chosen": "x", "rejected": 3}, "bad_answer", "rejected"),
    ("preference", {"prompt": "Hi", "chosen": "x", "rejected": "x"}, "same_answers", "rejected"),
    ("preference", {"prompt": "Hi", "chosen": "x", "rejected": " "}, "empty_answer", "rejected"),
    ("preference", {"prompt": "Hi", "chosen": [USER], "rejected": "y"}, "bad_answer", "chosen"),
    ("preference", {"prompt": "Hi", "chosen": [], "rejected": "y"}, "empty_list", "chosen"),
]
# Told by the readers of files and by the renderer, and tried there.
ELSEWHERE = {"bad_bytes", "bad_csv", "bad_width", "template_refused"}


@pytest.mark.parametrize(("name", "row", "wanted"), GOOD)
def test_a_row_becomes_canonical(name, row, wanted):
    assert read_row(row, name, 1) == (wanted, [])


@pytest.mark.parametrize(("name", "row", "wanted"), GOOD)
def test_a_format_is_told_by_its_fields(name, row, wanted):
    assert detect_format([row]) == name


@pytest.mark.parametrize(("name", "row", "code", "field"), BAD)
def test_a_bad_row_names_field_and_mend(name, row, code, field):
    read, problems = read_row(row, name, 7)
    assert read is None
    problem = problems[0]
    assert (problem.line, problem.code, problem.field) == (7, code, field)
    for sentence in (problem.problem, problem.mend):
        assert sentence.endswith(".")
        assert "{" not in sentence or '"' in sentence


def test_every_code_is_tried():
    assert set(FORMAT_SENTENCES) <= {code for _, _, code, _ in BAD} | ELSEWHERE


def test_every_format_has_good_and_bad_rows():
    assert {name for name, _, _ in GOOD} == {name for name, *_ in BAD} == set(FORMAT_NAMES)
    assert set(FORMATS) == set(FORMAT_NAMES)


def test_a_source_can_name_every_format():
    for name in ("auto", *FORMAT_NAMES):
        assert Source(repo="./data", format=name).format == name


def test_the_format_is_that_of_most_rows():
    alpaca, text = {"instruction": "a", "output": "b"}, {"text": "x"}
    assert detect_format([text, alpaca, alpaca, 7, None]) == "alpaca"
    assert detect_format([{"a": 1}, 3]) is None


FIELDS = ["messages", "conversations", "instruction", "input", "output", "system", "history"]
FIELDS += ["text", "chat", "meta_instruction", "prompt", "chosen", "rejected", "tools", "role"]
FIELDS += ["content", "from", "value", "tool_calls", "function", "name", "arguments", "turn_1"]
FIELDS += ["Human", "MOSS", "Commands", "Inner Thoughts", "Tool Responses", "loss_weight"]
WORDS = ["user", "assistant", "tool", "human", "gpt", "function_call", "observation", "system"]
WORDS += ["### Human: a### Assistant: b", 'Search("x")', '{"name": "f"}', "[1", "", " ", "\ud800"]
HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(st.characters(exclude_categories=[]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=24,
)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@given(HOSTILE)
@settings(max_examples=150, deadline=None)
def test_any_row_is_read_or_told_about_and_never_both(name, row):
    check_reading(row, name)


def mutate(good, data):
    """Put something hostile into one place of a good row."""
    row = json.loads(json.dumps(good))
    here = row
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and data.draw(st.booleans()):
            here = here[key]
            continue
        if data.draw(st.booleans()) and isinstance(here, dict):
            del here[key]
        else:
            here[key] = data.draw(HOSTILE)
        return row


@pytest.mark.parametrize(("name", "good", "wanted"), GOOD)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_good_row_with_one_thing_spoilt_is_read_or_told_about(name, good, wanted, data):
    check_reading(mutate(good, data), name)


def check_reading(row, name):
    read, problems = read_row(row, name, 3)
    assert (read is None) == bool(problems)
    for problem in problems:
        assert problem.code in SENTENCES
        assert problem.line == 3
        assert problem.problem[-1:] == problem.mend[-1:] == "."
        assert problem.problem[0] in string.ascii_uppercase + "`"
    if isinstance(read, ConversationRow):
        check_messages(read.messages)
    elif isinstance(read, PreferenceRow):
        for answer in (read.chosen, read.rejected):
            check_messages([*read.prompt, *answer])
        assert read.chosen != read.rejected
    elif read is not None:
        assert read.text.strip()


def check_messages(messages):
    assert "assistant" in [message["role"] for message in messages]
    for message in messages:
        assert isinstance(message["content"], str)
        assert message["content"].strip() or message["role"] != "assistant" or message["tool_calls"]
        for called in message.get("tool_calls", ()):
            assert isinstance(called["function"]["arguments"], dict)
        json.dumps(message, ensure_ascii=False).encode()


def test_a_deeply_nested_row_is_told_about():
    deep = "x"
    for _ in range(100_000):
        deep = [deep]
    row, problems = read_row({"messages": [{**USER, "extra": deep}, ANSWER]}, "messages", 1)
    assert row is None
    assert problems[0].code == "not_row"
