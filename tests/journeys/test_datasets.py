"""Bringing a dataset: what is wrong is told row by row, before and after it is saved."""

import json
import re

from playwright.sync_api import expect


def row(*turns: tuple[str, object]) -> str:
    """Return one line of a conversation file."""
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]})


GOOD = [row(("user", f"question {i}"), ("assistant", f"answer {i}")) for i in range(6)]
BAD = ["not json", row(("user", "only a question")), row(("robot", "x"), ("assistant", "y"))]


def upload(page, lines: list[str], name: str) -> None:
    page.set_input_files(
        "input[type=file]",
        {"name": name, "mimeType": "application/jsonl", "buffer": "\n".join(lines).encode()},
    )


def test_bad_rows_are_named_with_their_mend_and_can_be_left_out(visit):
    visitor = visit("dora")
    page = visitor.page
    visitor.go("/datasets/new")
    upload(page, GOOD[:3] + BAD + GOOD[3:], "mixed.jsonl")
    report = page.get_by_test_id("report")
    expect(report.get_by_role("status")).to_have_text("3 of 9 rows cannot be learnt from.")
    first = report.get_by_role("row").nth(1)
    expect(first).to_contain_text("whole line")
    expect(first).to_contain_text("Write one JSON object on each line.")
    expect(report.get_by_role("row", name="messages[0].role")).to_contain_text("6")

    page.get_by_label("Name of the dataset").fill("")
    page.get_by_role("button", name="Save it as it is").click()
    expect(page.get_by_text("Write a name.")).to_be_visible()
    page.get_by_label("Name of the dataset").fill("mixed")
    page.get_by_role("button", name="Save it as it is").click()
    expect(page).to_have_url(f"{visitor.live.url}/datasets/dora/mixed?tab=report")

    page.get_by_role("button", name="Keep only the good rows").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep only the good rows").click()
    expect(page.get_by_text("Every row can be learnt from.")).to_be_visible()
    page.get_by_role("tab", name="Rows").click()
    expect(page.get_by_text("6 rows", exact=True)).to_be_visible()
    expect(page.get_by_text("question 5")).to_be_visible()
    page.get_by_role("tab", name="History").click()
    expect(page.locator("ul.commits > li")).to_have_count(2)


def test_bad_rows_are_told_in_chinese(visit):
    visitor = visit("dora", language="zh")
    page = visitor.page
    visitor.go("/datasets/new")
    upload(page, GOOD[:1] + BAD[:1], "坏.jsonl")
    report = page.get_by_test_id("report")
    expect(report.get_by_role("status")).to_have_text("2 行中有 1 行不能用来学习。")
    expect(report).to_contain_text("每行写一个 JSON 对象。")


def test_rows_are_searched_and_the_search_can_be_shared(visit):
    visitor = visit("dora")
    page = visitor.page
    visitor.go("/datasets/athanor/athanor-guide")
    expect(page.get_by_text("Line 1", exact=True)).to_be_visible()
    page.get_by_role("searchbox", name="Search the rows").fill("Who are you?")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=Who"))
    expect(page.locator(".data-row").first).to_contain_text("Who are you?")
    shared = page.url
    page.goto("about:blank")
    page.goto(shared)
    expect(page.locator(".data-row").first).to_contain_text("Who are you?")
