"""Preference pairs: `prompt`, `chosen` and `rejected`, as texts or as messages.

As trl has them (https://huggingface.co/docs/trl/dataset_formats), with the prompt inside the
answers' conversations too, and as LLaMA-Factory has them: beside `conversations`, or beside
`instruction` and `input`.
"""

from typing import Any

from engine.specs.formats import alpaca, sharegpt
from engine.specs.formats.fields import check_text, take_optional, take_text
from engine.specs.messages import check_turns
from engine.specs.problems import BadRow, bad_row, name_type
from engine.specs.turns import (
    Message,
    PreferenceRow,
    Talk,
    check_talk,
    check_tools,
    clean_messages,
    clean_tools,
)


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row has two answers."""
    return "chosen" in row and "rejected" in row


def read(row: dict[str, Any], number: int) -> PreferenceRow:
    """Return prompt and both answers.

    Raises:
        BadRow: with the first field that does not fit.
    """
    prompt = _read_prompt(row, number)
    chosen = _read_answer(row, "chosen", number)
    rejected = _read_answer(row, "rejected", number)
    if chosen[0]["role"] != "assistant" and rejected[0]["role"] != "assistant":
        length = _count_common(chosen, rejected)
        if prompt is None or len(prompt) != 1 or prompt[0] not in chosen[:length]:
            prompt = (prompt or []) + chosen[:length]
        else:
            prompt = chosen[:length]  # the prompt's text stands in both conversations again
        chosen, rejected = chosen[length:], rejected[length:]
    if chosen == rejected:
        raise bad_row(number, "rejected", "same_answers")
    if not prompt or not chosen or not rejected:
        raise bad_row(number, "prompt", "no_prompt")
    problems = list(check_tools(row.get("tools"), "tools", number))
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        problems += _check_whole(prompt, name, answer, number)
    if problems:
        raise BadRow(problems)
    return PreferenceRow(prompt, chosen, rejected, clean_tools(row.get("tools")))


def _read_prompt(row: dict[str, Any], number: int) -> list[Message] | None:
    if "conversations" in row:
        return clean_messages(sharegpt.read_talk(row, number).messages)
    system = take_optional(row, "system", number)
    first = [{"role": "system", "content": system}] if system else []
    if "instruction" in row and "prompt" not in row:
        return [*first, {"role": "user", "content": alpaca.take_question(row, number)}]
    if row.get("prompt") is None:
        return first or None
    if isinstance(row["prompt"], list):
        return first + _read_messages(row["prompt"], "prompt", number)
    return [*first, {"role": "user", "content": take_text(row, "prompt", number)}]


def _read_answer(row: dict[str, Any], key: str, number: int) -> list[Message]:
    if key not in row:
        raise bad_row(number, key, "missing")
    value = row[key]
    if isinstance(value, str):
        return [{"role": "assistant", "content": check_text(value, key, number)}]
    if isinstance(value, dict):
        return clean_messages([sharegpt.read_turn(value, key, number)])
    if not isinstance(value, list):
        raise bad_row(number, key, "bad_answer", found=name_type(value))
    messages = _read_messages(value, key, number)
    if messages[-1]["role"] != "assistant":
        raise bad_row(number, key, "bad_answer", found="a list whose last turn is no answer")
    return messages


def _read_messages(value: list[Any], key: str, number: int) -> list[Message]:
    if problems := list(check_turns(value, key, number)):
        raise BadRow(problems)
    return clean_messages(value)


def _count_common(chosen: list[Message], rejected: list[Message]) -> int:
    length = 0
    while length < min(len(chosen), len(rejected)) and chosen[length] == rejected[length]:
        length += 1
    return length


def _check_whole(prompt: list[Message], name: str, answer: list[Message], number: int) -> list[Any]:
    talk = Talk(name)
    for message in prompt:
        talk.add(message, "prompt")
    for message in answer:
        talk.add(message, name)
    return list(check_talk(talk, number))
