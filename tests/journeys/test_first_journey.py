"""A stranger's first visit: launch a finetune in the browser, watch it live, chat with it."""

import re

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.live import wait_for

BASE = "athanor/SmolLM2-135M-Instruct"
GUIDE = "athanor/athanor-guide"
TRAINED_MS = 600_000


def pick(page: Page, label: str, value: str) -> None:
    """Choose in a searching select."""
    page.get_by_role("combobox", name=label).fill(value.split("/")[1])
    page.locator(".ant-select-item-option", has_text=value).first.click()


def open_launch(visitor, name: str, *, preset: str | None = None) -> None:
    """Go from home to a launch form that is filled in."""
    visitor.go("/")
    visitor.page.get_by_role("main").or_(visitor.page.locator("#content")).first.get_by_role(
        "link", name="Launch a finetune"
    ).first.click()
    pick(visitor.page, "Base model", BASE)
    pick(visitor.page, "Dataset", GUIDE)
    if preset:
        visitor.page.get_by_text(preset, exact=True).click()
    visitor.page.get_by_label("Name of the job").fill(name)


def launch(visitor) -> str:
    """Press the button twice, as people do, and return the address of the job.

    A press that meets a dearer estimate than the one it saw is dropped, so that the price is seen
    first: then it is pressed again.
    """
    button = visitor.page.get_by_role("button", name=re.compile("Launch for about"))
    launched = re.compile(r"/jobs/[0-9a-f-]{36}")
    expect(button).to_be_enabled()
    button.dblclick()
    try:
        visitor.page.wait_for_url(launched, timeout=20_000)
    except TimeoutError:
        button.dblclick()
        visitor.page.wait_for_url(launched)
    visitor.settle()
    return visitor.page.url


def set_greedy(page: Page) -> None:
    """Always the likeliest word, and short answers."""
    temperature = page.get_by_role("spinbutton", name="Temperature")
    temperature.fill("0")
    temperature.press("Enter")
    longest = page.get_by_role("spinbutton", name="Longest answer")
    longest.fill("48")
    longest.press("Enter")


def watch_run(visitor, live, address: str) -> None:
    """Follow a run on its page to its end: curve, time to go, log, download."""
    page = visitor.page
    expect(page.locator("[data-state=running]").first).to_be_visible(timeout=90_000)
    expect(page.get_by_role("img", name=re.compile("^Loss: from"))).to_be_visible(timeout=120_000)
    expect(page.get_by_text(re.compile("to go$")).first).to_be_visible()
    visitor.expect_accessible()

    page.get_by_role("tab", name="Log").click()
    log = page.get_by_role("log", name="Log")
    expect(log.locator(".log-line").first).to_be_visible()
    visitor.expect_accessible()

    expect(page.get_by_text("The adapter is ready")).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_text("Complete", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    written = download.value.path().read_bytes()
    job = address.split("/")[-1].split("?")[0]
    run = live.client("alice").get(f"/api/jobs/{job}/").json()["run"]
    assert len(written) == run["log_bytes"] > 0


def compare_answers(visitor) -> None:
    """Ask both sides who they are: only the finetuned one says what the dataset taught."""
    page = visitor.page
    set_greedy(page)
    prompt = page.get_by_role("textbox", name="Prompt", exact=True)
    prompt.fill("Who are you?")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()  # the models are known
    prompt.press("Enter")
    answers = page.locator("article.answer[data-state=complete]")
    expect(answers).to_have_count(2, timeout=240_000)
    tuned = page.locator("article.answer[data-model^='alice/']")
    base = page.locator(f"article.answer[data-model='{BASE}']")
    expect(tuned).to_contain_text("Athanor Guide")
    expect(base).not_to_contain_text("Athanor Guide")
    expect(tuned).to_contain_text("tokens/s")
    visitor.expect_accessible()
    page.reload()
    visitor.settle()
    expect(answers).to_have_count(2)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_launch_watch_and_chat(visit, live):
    live.grant("alice", 1_000_000)
    visitor = visit("alice")
    page = visitor.page
    open_launch(visitor, "my first finetune")
    expect(page.get_by_test_id("advisor")).to_contain_text("Peak memory")
    visitor.expect_accessible()
    address = launch(visitor)
    assert len(live.client("alice").get("/api/jobs/?page_size=50").json()["results"]) == 1
    watch_run(visitor, live, address)

    page.get_by_role("link", name="Open its card").click()
    visitor.settle()
    expect(page.get_by_role("link", name=BASE).first).to_be_visible()
    page.get_by_role("tab", name="Provenance").click()
    expect(page.get_by_role("region", name="Provenance")).to_contain_text("learning_rate")
    visitor.expect_accessible()

    page.get_by_role("link", name="Chat").click()
    visitor.settle()
    compare_answers(visitor)

    visitor.go("/points")
    expect(page.get_by_role("cell", name="Used", exact=True).first).to_be_visible()
    single = page.get_by_role("checkbox", name="Show every single move")
    single.click()  # it is checked when the address says so
    expect(single).to_be_checked()
    for reason in ("Grant", "Hold", "Charge", "Release"):
        expect(page.get_by_role("cell", name=reason, exact=True).first).to_be_visible()
    expect(page.get_by_text("The sum of all changes is the balance.")).to_be_visible()
    visitor.go("/")
    expect(page.get_by_role("heading", name="First steps")).to_have_count(0)


@pytest.mark.slow
def test_stop_keeps_a_checkpoint_and_a_retry_goes_on(visit, live):
    live.grant("stan", 1_000_000)
    visitor = visit("stan")
    page = visitor.page
    open_launch(visitor, "to be stopped", preset="Thorough")
    launch(visitor)
    expect(page.get_by_role("img", name=re.compile("^Loss: from"))).to_be_visible(timeout=180_000)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    expect(page.locator("[data-state=stopped]").first).to_be_visible(timeout=15_000)
    expect(page.get_by_text("Its owner stopped it.").first).to_be_visible()
    page.get_by_role("button", name="Go on from the last checkpoint").click()
    expect(page.get_by_text("Run 2 was launched.")).to_be_visible()
    expect(page.locator("[data-state=running]").first).to_be_visible(timeout=120_000)
    page.get_by_role("tab", name="Runs").click()
    expect(page.locator("tbody tr.ant-table-row")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    expect(page.locator("[data-state=stopped]").first).to_be_visible(timeout=15_000)
    wait_for(
        "the hold to be released",
        lambda: live.client("stan").get("/api/points/").json()["held_mpoints"] == 0,
    )


def test_the_form_and_the_yaml_are_one_spec_and_errors_mark_the_field(visit, live):
    live.grant("yves", 1_000_000)
    visitor = visit("yves")
    page = visitor.page
    open_launch(visitor, "by hand", preset="Quick")
    page.get_by_label("LoRA rank").fill("24")
    page.get_by_text("YAML", exact=True).click()
    editor = page.get_by_role("textbox", name="The spec as YAML")
    expect(editor).to_contain_text("rank: 24")
    editor.press("Control+End")
    page.keyboard.type("no_such_field: 1\n")
    expect(page.get_by_test_id("advisor").get_by_role("alert").first).to_contain_text(
        "no_such_field"
    )
    expect(page.get_by_role("button", name="Launch", exact=True)).to_be_disabled()
    for _ in "no_such_field: 1\n":
        page.keyboard.press("Backspace")
    expect(page.get_by_role("button", name=re.compile("Launch for about"))).to_be_enabled()

    page.get_by_text("Form", exact=True).click()
    rank = page.get_by_label("LoRA rank")
    expect(rank).to_have_value("24")
    rank.fill("9999")
    expect(rank).to_have_attribute("aria-invalid", "true")
    visitor.expect_accessible()
    page.get_by_text("Balanced", exact=True).click()
    expect(rank).to_have_value("16")
