"""Tool calls found in answers as they come: formats, pieces of any size, and what only looks so."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.serve.tool_calls import Found, ToolParser
from engine.serve.tools import FORMATS, HERMES, INTERNLM2, JSON, LLAMA3, MISTRAL, PLAIN

NAMES = ("weather", "add")
ONE = '{"name": "weather", "arguments": {"city": "Bo\\"nn </tool_call> <|action_end|>"}}'
TWO = '{"name": "add", "parameters": {"a": 1, "b": [2, {"c": null}]}}'
CALLS = [
    ("weather", {"city": 'Bo"nn </tool_call> <|action_end|>'}),
    ("add", {"a": 1, "b": [2, {"c": None}]}),
]
WRITTEN = [
    (HERMES, f"Let me see.\n<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>"),
    (
        INTERNLM2,
        f"Let me see.<|action_start|><|plugin|>\n{ONE}<|action_end|>\n"
        f"<|action_start|><|plugin|>\n{TWO}<|action_end|>\n",
    ),
    (MISTRAL, f"Let me see.[TOOL_CALLS] [{ONE}, {TWO}]"),
    (PLAIN, f"Let me see. <tool_call>[\n{ONE},\n{TWO}\n]</tool_call>"),
    (LLAMA3, f"{ONE}; {TWO}"),
    (LLAMA3, f"<|python_tag|>{ONE}; {TWO}"),
    (PLAIN, f"[{ONE}, {TWO}]"),
    (JSON, f" {ONE}\n{TWO}\n"),
]
NO_CALLS = [
    "Hello, <b>world</b>",
    '<tool_call>\n{"name": "weather", "arguments": {"city": \n</tool_call> and on',
    '<tool_call>{"name": "nobody", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>',
    "<tool_call>[]</tool_call>",
    '<|action_start|><|plugin|>\n{"name": }<|action_end|>',
    "[TOOL_CALLS] [{]",
    '{"name": "weather"',
    '{"city": "Bonn"}',
    "[1, 2]",
    "<|python_tag|>print(1)",
    '<tool_call>\n{"name": "weather", "argu',
    "a < b  \n ",
    "  ",
    "{" * 100_000,
]


def parse(form, text, cuts=(), **options):
    """Push a text cut at some places; return words and calls without their ids."""
    parser = ToolParser(form, NAMES, **options)
    found = Found()
    for start, stop in zip((0, *cuts), (*cuts, len(text)), strict=True):
        found += parser.push(text[start:stop])
    found += parser.flush()
    return found.text, [(call.name, json.loads(call.arguments)) for call in found.calls]


@pytest.mark.parametrize(("form", "text"), WRITTEN)
def test_calls_are_found_in_each_format(form, text):
    words, calls = parse(form, text)
    assert calls == CALLS
    assert words == ("Let me see." if text.startswith("Let") else "")


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("text", NO_CALLS, ids=range(len(NO_CALLS)))
def test_what_is_no_call_stays_text_to_the_letter(form, text):
    assert parse(form, text) == (text, [])


_FRAGMENTS = [*NO_CALLS[:-1], *(text for _, text in WRITTEN), "Hi", " \n", '"', "<tool", "_call>"]


@settings(deadline=None)  # the machine is shared
@given(data=st.data(), form=st.sampled_from(FORMATS))
def test_any_cutting_gives_the_same(data, form):
    text = "".join(data.draw(st.lists(st.sampled_from(_FRAGMENTS), max_size=4)))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
    whole = parse(form, text)
    assert parse(form, text, cuts) == whole
    assert parse(form, text, range(len(text))) == whole


def test_words_come_as_soon_as_they_cannot_be_a_mark():
    parser = ToolParser(HERMES, NAMES)
    assert parser.push("Hello <to").text == "Hello"
    assert parser.push("ast>").text == " <toast>"


def test_a_call_comes_with_its_closing_mark_not_later():
    parser = ToolParser(HERMES, NAMES)
    assert parser.push("<tool_call>" + ONE).calls == ()
    assert [call.name for call in parser.push("</tool_call>").calls] == ["weather"]


def test_calls_beyond_the_most_are_dropped():
    assert parse(*WRITTEN[0], most_calls=1)[1] == CALLS[:1]
    assert parse(*WRITTEN[2], most_calls=1)[1] == CALLS[:1]


def test_each_call_has_an_id_of_its_own_as_its_template_takes_it():
    for form, text in WRITTEN:
        parser = ToolParser(form, NAMES)
        calls = (parser.push(text) + parser.flush()).calls
        assert len({call.id for call in calls}) == 2
        assert all(len(call.id) == 9 and call.id.isalnum() for call in calls) == (form is MISTRAL)
