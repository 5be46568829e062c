"""The contract of conversation files, row by row and as a whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.specs.messages import (
    MAX_LINE_BYTES,
    check_row,
    estimate_tokens,
    iter_lines,
)
from engine.specs.problems import MESSAGE_SENTENCES
from engine.specs.report import MAX_PROBLEMS, check_lines

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind."}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "now", "arguments": {"in": "UTC"}}},
    ],
}
RESULT = {"role": "tool", "content": "12:00", "tool_call_id": "a"}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}


def row(*messages: object) -> bytes:
    return json.dumps({"messages": list(messages)}).encode()


GOOD = [
    row(USER, ANSWER),
    row(SYSTEM, USER, ANSWER),
    row(USER, ANSWER, USER, ANSWER),
    row(USER, USER, ANSWER),
    json.dumps({"messages": [USER, ANSWER], "id": 7}).encode(),
    b"\xef\xbb\xbf" + row(USER, ANSWER),
    row({"role": "user", "content": "\u4f60\u662f\u8c01"}, ANSWER),
    row({"role": "user", "content": "\U0001f525"}, ANSWER),
    row(USER, CALL, RESULT, ANSWER),
    row(USER, CALL, RESULT, {**RESULT, "tool_call_id": "b"}, ANSWER),
    row(USER, {**CALL, "content": "Let me look."}),
    row(USER, {"role": "assistant", "tool_calls": [{"name": "now", "arguments": '{"a": 1}'}]}),
    row({**USER, "loss_weight": 0.5}, {**ANSWER, "loss_weight": 0}),
    row({**USER, "tool_calls": None}, {**ANSWER, "loss_weight": None}),
    json.dumps({"messages": [USER, ANSWER], "tools": [TOOL]}).encode(),
    json.dumps({"messages": [USER, ANSWER], "tools": json.dumps([TOOL])}).encode(),
]
BAD = [
    (b"\xff\xfe{", "not_utf8", ""),
    (b"{", "not_json", ""),
    (b'{"messages": NaN}', "not_json", ""),
    (b"[" * 100_000, "not_json", ""),
    (b"[1]", "not_object", ""),
    (b"null", "not_object", ""),
    (b"{}", "missing", "messages"),
    (b'{"messages": "Hi"}', "not_list", "messages"),
    (b'{"messages": []}', "empty_list", "messages"),
    (row("Hi"), "not_turn", "messages[0]"),
    (row({"content": "Hi"}, ANSWER), "missing", "messages[0].role"),
    (row({"role": "user"}, ANSWER), "missing", "messages[0].content"),
    (row({"role": "human", "content": "Hi"}, ANSWER), "bad_role", "messages[0].role"),
    (row({"role": ["user"], "content": "Hi"}, ANSWER), "bad_role", "messages[0].role"),
    (row(USER, {"role": "assistant", "content": None}), "not_text", "messages[1].content"),
    (row(USER, {"role": "assistant", "content": [1]}), "not_text", "messages[1].content"),
    (row(USER, {"role": "assistant", "content": " \n"}), "empty_answer", "messages[1].content"),
    (row({"role": "user", "content": "\ud800"}, ANSWER), "bad_text", "messages[0].content"),
    (row(USER, SYSTEM, ANSWER), "late_system", "messages[1]"),
    (row(USER), "no_answer", "messages"),
    (row(ANSWER, USER), "answer_first", "messages[0]"),
    (row(SYSTEM, ANSWER), "answer_first", "messages[1]"),
    (b" " * (MAX_LINE_BYTES + 1), "line_too_long", ""),
    (row(USER, RESULT, ANSWER), "stray_tool", "messages[1]"),
    (row(USER, ANSWER, RESULT), "stray_tool", "messages[2]"),
    (row(USER, CALL, {**RESULT, "tool_call_id": "z"}), "unknown_call", "messages[2].tool_call_id"),
    (row(USER, {**CALL, "tool_calls": "now"}), "bad_call", "messages[1].tool_calls"),
    (row(USER, {**CALL, "tool_calls": [7]}), "bad_call", "messages[1].tool_calls[0]"),
    (row(USER, {**CALL, "tool_calls": [{}]}), "bad_call", "messages[1].tool_calls[0].name"),
    (
        row(USER, {**CALL, "tool_calls": [{"name": "now", "arguments": "in UTC"}]}),
        "bad_call",
        "messages[1].tool_calls[0].arguments",
    ),
    (row({**USER, "tool_calls": CALL["tool_calls"]}, ANSWER), "misplaced_call", "messages[0]"),
    (row(USER, {**CALL, "tool_calls": []}), "not_text", "messages[1].content"),
    (row(USER, {**ANSWER, "loss_weight": -1}), "bad_weight", "messages[1].loss_weight"),
    (row(USER, {**ANSWER, "loss_weight": True}), "bad_weight", "messages[1].loss_weight"),
    (row(USER, {**ANSWER, "loss_weight": "much"}), "bad_weight", "messages[1].loss_weight"),
    (row(USER, CALL, {**RESULT, "loss_weight": 1}), "weighted_tool", "messages[2].loss_weight"),
    (b'{"messages": [], "tools": 3}', "empty_list", "messages"),
    (json.dumps({"messages": [USER, ANSWER], "tools": 3}).encode(), "bad_tools", "tools"),
    (json.dumps({"messages": [USER, ANSWER], "tools": [{}]}).encode(), "bad_tools", "tools[0]"),
]


@pytest.mark.parametrize("line", GOOD)
def test_a_good_row_has_no_problem(line):
    assert check_row(line, 1) == []


@pytest.mark.parametrize(("line", "code", "field"), BAD)
def test_a_bad_row_names_line_field_and_mend(line, code, field):
    problem = check_row(line, 7)[0]
    assert (problem.line, problem.code, problem.field) == (7, code, field)
    for sentence in (problem.problem, problem.mend):
        assert sentence[0].isupper() or sentence[0] == "`"
        assert sentence.endswith(".")
        assert "{field}" not in sentence


def test_every_code_is_tried():
    assert {code for _, code, _ in BAD} == set(MESSAGE_SENTENCES)


def test_all_problems_of_a_row_are_told():
    line = row({"role": "human"}, {"role": "assistant", "content": 3})
    assert [(p.field, p.code) for p in check_row(line, 1)] == [
        ("messages[0].content", "missing"),
        ("messages[0].role", "bad_role"),
        ("messages[1].content", "not_text"),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant", "system", "tool"]) | JSON,
            "content": st.text() | JSON,
            "tool_calls": JSON,
            "tool_call_id": JSON,
            "loss_weight": JSON,
        },
    )
    | JSON
)


@given(st.binary())
def test_no_bytes_make_it_raise(line):
    assert check_row(line, 1) == check_row(line, 1)


@given(st.fixed_dictionaries({"messages": TURNS}))
def test_a_row_without_problems_can_be_taught(body):
    problems = check_row(json.dumps(body).encode(), 1)
    turns = body["messages"]
    if not problems:
        assert all(isinstance(turn["content"], str) or turn["tool_calls"] for turn in turns)
        assert "assistant" in [turn["role"] for turn in turns]
        assert "system" not in [turn["role"] for turn in turns[1:]]


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_are_the_same_however_the_stream_is_cut(parts, size):
    content = b"\n".join(parts)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    whole = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    assert [line for line in iter_lines(chunks) if line] == [line for line in whole if line]


def test_a_file_is_counted_and_blank_lines_are_not_rows():
    content = b"\r\n".join([row(USER, ANSWER), b"", row(USER), b"  ", row(USER, ANSWER), b""])
    report = check_lines(iter_lines([content]))
    assert (report.num_rows, report.num_good, report.num_bad) == (3, 2, 1)
    assert [(p.line, p.code) for p in report.problems] == [(3, "no_answer")]
    assert report.num_supervised_tokens_estimate < report.num_tokens_estimate
    assert report.longest_tokens_estimate <= report.num_tokens_estimate


def test_a_thousand_bad_rows_are_counted_and_the_first_are_told():
    report = check_lines([b"{}"] * 1000)
    assert (report.num_bad, report.num_problems) == (1000, 1000)
    assert [p.line for p in report.problems] == list(range(1, MAX_PROBLEMS + 1))


def test_an_endless_line_is_refused_in_bounded_memory():
    longest = 0

    def endless():
        for _ in range(64):
            yield b"x" * 2**20

    for line in iter_lines(endless()):
        longest = max(longest, len(line))
        assert check_row(line, 1)[0].code == "line_too_long"
    assert longest == MAX_LINE_BYTES + 1


def test_the_guess_of_tokens_grows_with_the_text():
    assert estimate_tokens("") <= 1
    assert estimate_tokens("word " * 100) < estimate_tokens("word " * 200)
    assert estimate_tokens("\u7089" * 100) > estimate_tokens("a" * 100)
