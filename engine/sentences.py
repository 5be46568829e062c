"""Sentences for people, by their codes; here how runs end, as the recorder and carriers say it.

A contract module: the standard library only. A sentence travels and is kept in English alone; for
pages in other languages its code is found again by the table (decision 043). Not in the table is
what an engine says of its data, model or spec: those sentences name what only it knows.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any


@dataclass(frozen=True)
class Found:
    """What a sentence is: its code, and what it names."""

    code: str
    params: dict[str, str]


class Sentences:
    """A table of sentences, each a `str.format` template with the names of what it names."""

    def __init__(self, table: Mapping[str, str]) -> None:
        """Take templates by their codes."""
        self.table = dict(table)
        # The one that says most is the one: another's names could hold its words.
        by_words = sorted(self.table, key=lambda code: -len(self.table[code]))
        self._patterns = {code: _read(self.table[code]) for code in by_words}

    def say(self, code: str, **params: Any) -> str:
        """Return the sentence of a code, with what it names.

        Raises:
            KeyError: there is no such code, or a name in its sentence is missing.
        """
        return self.table[code].format_map(params)

    def find(self, message: str) -> Found | None:
        """Return what a sentence is; None of one that is not of the table."""
        for code, pattern in self._patterns.items():
            if match := pattern.fullmatch(message):
                return Found(code, match.groupdict())
        return None

    def list_params(self, code: str) -> set[str]:
        """Return the names in a sentence."""
        return set(self._patterns[code].groupindex)


def join(tables: Iterable[Sentences]) -> Sentences:
    """Return one table of all. Codes are of one table only."""
    joined: dict[str, str] = {}
    for each in tables:
        assert not joined.keys() & each.table.keys()
        joined |= each.table
    return Sentences(joined)


def _read(template: str) -> re.Pattern[str]:
    """Return what matches every sentence of a template; a name that comes again is the same."""
    parts, seen = [], set()
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(re.escape(literal))
        if name in seen:
            parts.append(f"(?P={name})")
        elif name:
            seen.add(name)
            parts.append(f"(?P<{name}>.*?)")
    return re.compile("".join(parts), re.DOTALL)


_MORE_MEMORY = "lower micro_batch_tokens or max_length, or take a flavor with more memory."

RUN_SENTENCES = Sentences(
    {
        "run_over_memory": "The run used {used} of memory and may use {limit}: " + _MORE_MEMORY,
        "run_past_memory": "The run used more than the {limit} of memory that it may: "
        + _MORE_MEMORY,
        "script_past_memory": "The script used more than the {limit} of memory that it may: use "
        "less, or take a flavor with more memory.",
        "kernel_out_of_memory": "The machine ran out of memory and the kernel ended the run: "
        + _MORE_MEMORY,
        "memory_ran_out": "Memory ran out: lower micro_batch_tokens or max_length, or take a "
        "larger flavor.",
        "engine_killed": "The engine was killed from outside; retry the run.",
        "engine_signalled": "The engine was ended by {signal}; the end of the log may say why.",
        "engine_crashed": "The engine ended with exit status {status}; the end of the log says "
        "why.",
        "script_crashed": "The script ended with exit status {status}; the end of the log may say "
        "why.",
        "run_stopped": "The run was stopped.",
        "time_limit": "The time limit of {minutes} minutes was reached: raise it, or have the "
        "script go on from what it has saved.",
        "engine_took_run": "The node's Docker engine went away and took the run along; retry the "
        "job.",
        "container_removed": "The {what}'s container was removed on its node; retry the job.",
        "container_stopped": "The run's container was stopped on its node; retry the job.",
        "container_killed": "The run's container was killed on its node; retry the job.",
        "node_restarted": "The node was restarted while the run went on; retry the job.",
        "recorder_killed": "The run's recorder was killed on its node; retry the job.",
        "engine_not_up": "The engine did not come up on its node; retry the job.",
        "disk_full": "The node's disk is full: ask its operator, then retry the run.",
        "engine_failed": "The engine failed with {error}; the end of the log tells where.",
    }
)
