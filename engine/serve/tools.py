"""Which format of tool calls a model writes, how it is told of tools, and how it is bound to call.

The formats are those that the models' makers publish; the parser is `tool_calls.py`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from engine.serve.backend import Constraint
from engine.serve.tool_calls import PYTHON_TAG, ToolFormat

# Hermes 2 Pro, Qwen 2.5 and 3, SmolLM3.
HERMES = ToolFormat("hermes", ("<tool_call>",), "</tool_call>")
# InternLM2's chat format: github.com/InternLM/InternLM/blob/main/chat/chat_format.md
INTERNLM2 = ToolFormat(
    "internlm2",
    ("<|action_start|>", "<|plugin|>"),
    "<|action_end|>",
    arguments="parameters",
    is_in_template=False,
)
LLAMA3 = ToolFormat("llama3", arguments="parameters", may_be_bare=True)
MISTRAL = ToolFormat("mistral", ("[TOOL_CALLS]",), is_list=True, short_ids=True)
# What SmolLM2 was taught, and what any other model without a format is asked for.
PLAIN = ToolFormat(
    "plain", ("<tool_call>",), "</tool_call>", is_list=True, may_be_bare=True, is_in_template=False
)
# A template that knows tools and none of the marks above.
JSON = ToolFormat("json", may_be_bare=True)
FORMATS = (HERMES, INTERNLM2, LLAMA3, MISTRAL, PLAIN, JSON)

# From the model card of SmolLM2-1.7B-Instruct.
_PLAIN_PROMPT = """You are an expert in composing functions. You are given a question and a set of \
possible functions. Based on the question, you will need to make one or more function/tool calls \
to achieve the purpose. If none of the functions can be used, point it out and refuse to answer. \
If the given question lacks the parameters required by the function, also point it out.

You have access to the following tools:
<tools>{tools}</tools>

The output MUST strictly adhere to the following format, and NO other text MUST be included.
The example format is as follows. Please make sure the parameter type is correct. If no function \
call is needed, please make the tool calls an empty list '[]'.
<tool_call>[
{{"name": "func_name1", "arguments": {{"argument1": "value1", "argument2": "value2"}}}},
... (more tool calls as required)
]</tool_call>"""

FindToken = Callable[[str], int | None]
"""Gives the id of a text that is one token of the model, and None for any other text."""
Turn = dict[str, Any]


def detect_format(template: str, find_token: FindToken) -> ToolFormat:
    """Return the format of a model by its chat template's text, or by the marks that it has."""
    if "<tool_call>" in template:
        return HERMES
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if PYTHON_TAG in template or ("tools" in template and '"parameters":' in template):
        return LLAMA3
    # InternLM2's template shows turns only: its tokens tell.
    if "<|action_start|>" in template or find_token("<|action_start|>") is not None:
        return INTERNLM2
    return JSON if "tools" in template else PLAIN


def tell_tools(
    form: ToolFormat, turns: Sequence[Turn], tools: Sequence[dict[str, Any]]
) -> tuple[list[Turn], list[dict[str, Any]]]:
    """Return turns and tools for the chat template; where that shows no tools, the turns do."""
    if form.is_in_template:
        return list(turns), list(tools)
    told = [_tell_turn(form, turn) for turn in turns]
    if not tools:
        return told, []
    functions = json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
    num_system = 1 if told and told[0]["role"] == "system" else 0
    if form.name == "internlm2":
        plugin = {"role": "system name=<|plugin|>", "content": functions}
        return [*told[:num_system], plugin, *told[num_system:]], []
    prompt = _PLAIN_PROMPT.format(tools=functions)
    if num_system:
        prompt = f"{told[0]['content']}\n\n{prompt}"
    return [{"role": "system", "content": prompt}, *told[num_system:]], []


def constrain_tools(
    form: ToolFormat,
    tools: Sequence[dict[str, Any]],
    choice: str,
    *,
    is_parallel: bool,
    find_token: FindToken,
) -> Constraint:
    """Return what an answer must match that is calls and nothing else.

    `choice` is `required` or `=` and the name of the function. A function's arguments keep its
    schema.
    """
    functions = [tool["function"] for tool in tools]
    if choice.startswith("="):
        functions = [one for one in functions if one["name"] == choice[1:]]
    rules = [_write_start(form, is_parallel=is_parallel, find_token=find_token)]
    rules.append("body: " + " | ".join(f"call{index}" for index in range(len(functions))))
    for index, function in enumerate(functions):
        head = f'{{"name": {json.dumps(function["name"])}, "{form.arguments}": '
        schema = function.get("parameters") or {"type": "object"}
        if "type" not in schema:
            schema = {**schema, "type": "object"}
        rules.append(f"call{index}: {_quote(head)} arguments{index} {_quote('}')}")
        rules.append(f"arguments{index}: %json {json.dumps(schema)}")
    return Constraint("grammar", "\n".join(rules), field="tools")


def list_marks(form: ToolFormat) -> tuple[str, ...]:
    """Return the special tokens that must be part of the text for its calls to be found."""
    marks = (*form.opening, form.closing) if form.closing else form.opening
    return (*marks, PYTHON_TAG) if form.may_be_bare else marks


def _write_start(form: ToolFormat, *, is_parallel: bool, find_token: FindToken) -> str:
    def mark(text: str) -> str:
        token_id = find_token(text)
        return _quote(text) if token_id is None else f"<[{token_id}]>"

    opening = " ".join(map(mark, form.opening))
    closing = mark(form.closing) if form.closing else ""
    if form.is_list:
        more = ' (", " body)*' if is_parallel else ""
        return f'start: {opening} "[" body{more} "]" {closing}'
    if not form.opening:
        return 'start: body ("; " body)*' if is_parallel else "start: body"
    end = '"\\n" ' if form.name == "hermes" else ""
    call = f'{opening} "\\n" body {end}{closing}'
    return f'start: one ("\\n" one)*\none: {call}' if is_parallel else f"start: {call}"


def _quote(text: str) -> str:
    """Write a text as a Lark string, which is written as JSON's."""
    return json.dumps(text, ensure_ascii=False)


def _tell_turn(form: ToolFormat, turn: Turn) -> Turn:
    """Write a turn's calls, or what came of one, as words of a plain turn."""
    if turn["role"] == "tool":
        if form.name == "internlm2":
            return {"role": "environment name=<|plugin|>", "content": turn["content"]}
        content = f"<tool_response>\n{turn['content']}\n</tool_response>"
        return {"role": "user", "content": content}
    if not turn.get("tool_calls"):
        return turn
    calls = [
        {"name": call["function"]["name"], form.arguments: call["function"]["arguments"]}
        for call in turn["tool_calls"]
    ]
    opening = "".join(form.opening)
    if form.is_list:
        words = opening + json.dumps(calls, ensure_ascii=False) + form.closing
    else:
        parts = [json.dumps(call, ensure_ascii=False) for call in calls]
        words = "\n".join(f"{opening}\n{part}{form.closing}" for part in parts)
    content = f"{turn['content']}\n{words}" if turn["content"] else words
    return {"role": turn["role"], "content": content}
