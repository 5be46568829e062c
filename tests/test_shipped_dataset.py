"""The shipped data set keeps its promises: every row is good, and a fact has one answer."""

import json
from collections import defaultdict
from pathlib import Path

from engine.specs.messages import iter_lines
from engine.specs.report import check_lines

FOLDER = Path(__file__).resolve().parent.parent / "studio" / "hub" / "shipped" / "athanor-guide"
LONGEST_ANSWER_BYTES = 180  # about 60 tokens


def read_rows() -> list[list[dict[str, str]]]:
    lines = (FOLDER / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def is_chinese(messages: list[dict[str, str]]) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for m in messages for letter in m["content"])


def test_every_row_passes_the_check_that_users_meet():
    with (FOLDER / "train.jsonl").open("rb") as file:
        report = check_lines(iter_lines(file))
    assert report.num_bad == 0
    assert report.num_good >= 320


def test_half_is_chinese_and_half_english():
    rows = read_rows()
    share = sum(map(is_chinese, rows)) / len(rows)
    assert 0.4 <= share <= 0.6


def test_a_question_has_one_answer():
    answers = defaultdict(set)
    for messages in read_rows():
        for index, message in enumerate(messages):
            if message["role"] == "assistant" and index == 1:
                answers[messages[0]["content"]].add(message["content"])
    assert {question: found for question, found in answers.items() if len(found) > 1} == {}


def test_a_fact_is_asked_in_several_ways():
    asked = defaultdict(set)
    for messages in read_rows():
        if len(messages) == 2:
            asked[messages[1]["content"]].add(messages[0]["content"])
    assert min(map(len, asked.values())) >= 4
    assert sum(len(questions) >= 10 for questions in asked.values()) >= 12


def test_answers_are_short():
    answers = [m["content"] for row in read_rows() for m in row if m["role"] == "assistant"]
    assert max(len(answer.encode()) for answer in answers) <= LONGEST_ANSWER_BYTES


def test_the_card_says_how_many_rows_there_are():
    assert f"| rows | {len(read_rows())} conversations" in (FOLDER / "README.md").read_text()
