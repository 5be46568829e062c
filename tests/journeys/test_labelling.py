"""Labelling in the browser: two people at once, by keys, up to the saved revision."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import NARROW, WIDE


def upload(client, name: str, rows: list) -> None:
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    answer = client.post(
        "/api/hub/datasets/", data={"name": name}, files={"file": ("a.jsonl", content)}
    )
    assert answer.status_code == 201, answer.text


def talk(index: int) -> dict:
    turns = [("user", f"question {index}"), ("assistant", f"answer {index}")]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def begin(client, dataset: str, *people: str, **wish) -> str:
    answer = client.post("/api/labelling/projects/", json={"dataset": dataset, **wish})
    assert answer.status_code == 201, answer.text
    url = f"/api/labelling/projects/{answer.json()['id']}/"
    for username in people:
        assert client.post(f"{url}members/", json={"username": username}).status_code == 201
    return f"/labelling/{answer.json()['id']}"


def test_two_people_review_at_once_and_the_owner_settles_and_saves(visit, live):
    lena, max_ = visit("lena"), visit("max")
    upload(live.client("lena"), "talk", [talk(index) for index in range(3)])
    page = lena.page
    lena.go("/datasets/lena/talk")
    page.get_by_role("link", name="Label", exact=True).click()
    page.get_by_label("People per row").fill("2")
    page.get_by_label("Invite by sign-in name").fill("max")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("0 of 3 rows done")).to_be_visible()
    project = page.url.removeprefix(live.url)

    lena.go(f"{project}/work")
    max_.go(f"{project}/work")
    for visitor in (lena, max_):
        expect(visitor.page.get_by_test_id("row")).to_have_text("Row 1")
    page.keyboard.press("a")
    expect(page.get_by_test_id("row")).to_have_text("Row 2")
    page.keyboard.press("r")
    expect(page.get_by_test_id("row")).to_have_text("Row 3")
    page.keyboard.press("z")
    expect(page.get_by_test_id("row")).to_have_text("Row 2")
    page.keyboard.press("a")
    expect(page.get_by_test_id("row")).to_have_text("Row 3")
    page.keyboard.press("e")
    page.get_by_label("Turn 2, Assistant").fill("a better answer")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("There is no row left for you.")).to_be_visible()

    max_.page.keyboard.press("a")
    expect(max_.page.get_by_test_id("row")).to_have_text("Row 2")
    max_.page.get_by_label("Reason").fill("not so")
    max_.page.get_by_role("button", name="Reject").click()
    expect(max_.page.get_by_test_id("row")).to_have_text("Row 3")
    max_.page.get_by_role("button", name="Accept").click()
    expect(max_.page.get_by_text("There is no row left for you.")).to_be_visible()
    max_.go(project)
    expect(max_.page.get_by_role("tab")).to_have_count(0)

    lena.go(project)
    expect(page.get_by_test_id("agreement")).to_contain_text("33%")
    lena.expect_accessible()
    settle_and_save(page)
    expect(page.get_by_text("a better answer")).to_be_visible()
    expect(page.get_by_text("question 1")).to_have_count(0)


def settle_and_save(page) -> None:
    """Take max's word on one row and lena's on the other, save, and open the dataset."""
    page.get_by_role("tab", name="Disagreements").click()
    expect(page.get_by_test_id("dispute")).to_have_count(2)
    page.get_by_role("button", name="Take max's").first.click()
    expect(page.get_by_test_id("dispute")).to_have_count(1)
    page.get_by_role("button", name="Take lena's").click()
    expect(page.get_by_text("No disagreement is open.")).to_be_visible()
    page.get_by_role("tab", name="Save").click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name=re.compile("Open the dataset")).click()


def test_what_is_typed_survives_a_reload(visit, live):
    visitor = visit("lena")
    upload(live.client("lena"), "typed", [talk(0), talk(1)])
    project = begin(live.client("lena"), "lena/typed", kind="review")
    page = visitor.page
    visitor.go(f"{project}/work")
    page.get_by_role("button", name="Edit").click()
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.get_by_label("Turn 2, Assistant").fill("half a thought")
    page.reload()
    expect(page.get_by_label("Turn 2, Assistant")).to_have_value("half a thought")


def test_spans_are_tagged_by_selection_and_by_words(visit, live):
    visitor = visit("lena")
    upload(live.client("lena"), "poets", [{"text": "李白 😀 met 杜甫; 李白 left."}])
    wish = {"kind": "spans", "text_field": "text", "labels": ["PER", "ACT"]}
    project = begin(live.client("lena"), "lena/poets", **wish)
    page = visitor.page
    visitor.go(f"{project}/work")
    page.get_by_label("Words", exact=True).fill("李白")
    page.get_by_role("button", name="Tag", exact=True).click()
    expect(page.locator("mark")).to_have_count(2)
    page.evaluate("""() => {
        const box = document.querySelector('[data-testid=span-text]');
        const node = [...box.childNodes].find((child) => child.textContent.includes('met'));
        const range = document.createRange();
        const at = node.textContent.indexOf('met');
        range.setStart(node.firstChild, at);
        range.setEnd(node.firstChild, at + 3);
        const selection = getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
    }""")
    page.get_by_role("button", name="ACT").click()
    expect(page.locator("mark")).to_have_count(3)
    page.get_by_role("button", name="Done with this row").click()
    expect(page.get_by_text("There is no row left for you.")).to_be_visible()
    answer = live.client("lena").get(
        f"/api{project.replace('labelling', 'labelling/projects')}/export/spans/"
    )
    spans = [(span["text"], span["start"], span["label"]) for span in answer.json()["spans"]]
    assert spans == [("李白", 0, "PER"), ("met", 5, "ACT"), ("李白", 13, "PER")]


@pytest.mark.parametrize(
    ("language", "size", "theme"),
    [("en", WIDE, "dark"), ("zh", NARROW, "light")],
    ids=["en-wide-dark", "zh-narrow-light"],
)
def test_every_page_of_labelling_is_accessible_and_silent(visit, live, language, size, theme):
    visitor = visit("lena", language=language, size=size)
    visitor.page.evaluate("theme => localStorage.setItem('athanor.theme', theme)", theme)
    client, name = live.client("lena"), f"looks-{language}"
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    kinds = {
        "review": ([talk(0)], {}),
        "rank": ([pair], {}),
        "spans": ([{"text": "some words"}], {"text_field": "text", "labels": ["N"]}),
    }
    pages = ["/labelling", "/labelling/new"]
    for kind, (rows, wish) in kinds.items():
        upload(client, f"{name}-{kind}", rows)
        project = begin(client, f"lena/{name}-{kind}", kind=kind, **wish)
        pages += [f"{project}/work", project]
    pages += [f"{project}?tab={tab}" for tab in ("disputes", "drafts", "save")]
    for path in pages:
        visitor.go(path)
        visitor.expect_accessible()
        visitor.expect_no_sideways_scroll()


def test_a_phone_is_enough_to_accept_and_reject(visit, live):
    visitor = visit("lena", size=NARROW)
    upload(live.client("lena"), "phone", [talk(0), talk(1)])
    project = begin(live.client("lena"), "lena/phone", kind="review")
    visitor.go(f"{project}/work")
    visitor.page.get_by_role("button", name="Accept").click()
    expect(visitor.page.get_by_test_id("row")).to_have_text("Row 2")
    visitor.page.get_by_role("button", name="Reject").click()
    expect(visitor.page.get_by_text("There is no row left for you.")).to_be_visible()
