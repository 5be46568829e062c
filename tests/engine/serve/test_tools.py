"""Formats by template, tools told in words, and answers bound to calls by a real grammar engine."""

import json

import llguidance
import pytest

from engine.serve.tool_calls import ToolParser
from engine.serve.tools import (
    FORMATS,
    HERMES,
    INTERNLM2,
    JSON,
    LLAMA3,
    MISTRAL,
    PLAIN,
    constrain_tools,
    detect_format,
    list_marks,
    tell_tools,
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "description": ""}}
CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": {"zone": "中"}}}
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "When?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "noon", "tool_call_id": "1"},
]


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{% if tools %}<tools>..</tools> within <tool_call></tool_call>", HERMES),
        ("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]", MISTRAL),
        ('{% if tools %}{"name": .., "parameters": dictionary}', LLAMA3),
        ("{% if custom_tools %}<|python_tag|>", LLAMA3),
        ("{% if tools %}{{ tools }}{% endif %}", JSON),
        ("{% for message in messages %}{{ message }}{% endfor %}", PLAIN),
        ("", PLAIN),
    ],
)
def test_a_template_tells_its_format(template, form):
    assert detect_format(template, lambda text: None) == form


def test_internlm2_is_known_by_its_tokens():
    assert detect_format("plain", {"<|action_start|>": 7}.get) == INTERNLM2


def test_a_template_that_knows_tools_gets_all_as_it_is():
    assert tell_tools(HERMES, TALK, [WEATHER]) == (TALK, [WEATHER])


def test_internlm2_is_told_as_its_makers_do():
    turns, tools = tell_tools(INTERNLM2, TALK, [NOW])
    assert tools == []
    assert [turn["role"] for turn in turns] == [
        "system",
        "system name=<|plugin|>",
        "user",
        "assistant",
        "environment name=<|plugin|>",
    ]
    assert json.loads(turns[1]["content"]) == [NOW["function"]]
    assert turns[3]["content"] == (
        '<|action_start|><|plugin|>\n{"name": "now", "parameters": {"zone": "中"}}<|action_end|>'
    )


def test_a_model_without_a_format_is_told_in_words():
    turns, tools = tell_tools(PLAIN, TALK, [NOW])
    assert tools == []
    assert turns[0]["content"].startswith("Be kind.\n\nYou are an expert")
    assert json.dumps([NOW["function"]]) in turns[0]["content"]
    said = '<tool_call>[{"name": "now", "arguments": {"zone": "中"}}]</tool_call>'
    assert turns[2] == {"role": "assistant", "content": said}
    assert turns[3]["role"] == "user"
    assert "noon" in turns[3]["content"]
    assert all("tool_calls" not in turn for turn in turns)


def accepts(constraint, text: str) -> bool:
    """Ask llguidance, letter by letter, whether a whole answer matches."""
    tokenizer = llguidance.LLTokenizer("byte")
    grammar = llguidance.LLMatcher.grammar_from_lark(constraint.text)
    matcher = llguidance.LLMatcher(tokenizer, grammar)
    assert not matcher.is_error(), matcher.get_error()
    return all(matcher.consume_token(byte) for byte in text.encode()) and matcher.is_accepting()


def write(form, *calls: str) -> str:
    """Write calls as the format has them; `@` in one stands for the key of arguments."""
    bodies = [call.replace("@", form.arguments) for call in calls]
    opening = "".join(form.opening)
    if form.is_list:
        return f"{opening}[{', '.join(bodies)}]{form.closing}"
    if not opening:
        return "; ".join(bodies)
    end = "\n" if form is HERMES else ""
    return "\n".join(f"{opening}\n{body}{end}{form.closing}" for body in bodies)


BONN = '{"name": "weather", "@": {"city": "Bonn"}}'
EVER = '{"name": "now", "@": {"any": [1]}}'


def bind(form, choice="required", *, is_parallel=True, find_token=lambda text: None):
    return constrain_tools(
        form, [WEATHER, NOW], choice, is_parallel=is_parallel, find_token=find_token
    )


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_bound_answer_is_calls_that_the_parser_finds(form):
    text = write(form, BONN, EVER)
    assert accepts(bind(form), text)
    parser = ToolParser(form, ["weather", "now"])
    found = parser.push(text) + parser.flush()
    assert (found.text, [call.name for call in found.calls]) == ("", ["weather", "now"])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_bound_answer_is_nothing_else(form):
    required, one = bind(form), bind(form, is_parallel=False)
    named = bind(form, "=now")
    assert not accepts(required, "Hello")
    assert not accepts(required, write(form, '{"name": "weather", "@": {"town": "Bonn"}}'))
    assert not accepts(required, write(form, '{"name": "other", "@": {}}'))
    assert accepts(one, write(form, BONN))
    assert not accepts(one, write(form, BONN, EVER))
    assert accepts(named, write(form, EVER))
    assert not accepts(named, write(form, BONN))


def test_marks_that_are_tokens_are_bound_as_tokens():
    ids = {mark: 300 + index for index, mark in enumerate(list_marks(INTERNLM2))}
    text = bind(INTERNLM2, find_token=ids.get).text
    assert '<[300]> <[301]> "\\n" body <[302]>' in text
    assert "action_start" not in text
