"""A machine's start, terminal, ports, images and clone in a browser; it is this computer."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.browser import NARROW, Visitor
from tests.journeys.fake_node import FakeNode, run_node
from tests.live import run_studio, wait_for

pytestmark = pytest.mark.timeout(600)  # a studio of its own comes up first


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A studio of its own: its made-up node would be given other tests' runs."""
    with run_studio(tmp_path_factory.mktemp("studio")) as studio:
        options = ["--title", "Base", "--tool", "vscode=8080", "--tool", "lab=8888"]
        studio.manage("machine_image", "add", "base", "sha256:" + "a" * 64, *options)
        yield studio


@pytest.fixture(scope="module")
def node(live, tmp_path_factory) -> Iterator[FakeNode]:
    with run_node(live, tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="module")
def key(live, node) -> str:
    """Mona's machine."""
    live.grant("mona", 10_000_000)
    wish = {"name": "box", "image": "base", "flavor": "cpu-1", "duration_s": 3600}
    node.is_holding = True
    with live.client("mona") as client:
        made = client.post("/api/machines/", json=wish)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def type_in(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Terminal input").first.focus()
    page.keyboard.type(text + "\n")


def test_a_start_is_shown_part_by_part_until_the_tool_answers(visit, live, node, key):
    visitor: Visitor = visit("mona")
    page = visitor.page
    visitor.go(f"/machines/{key}")
    expect(page.get_by_text("Container made")).to_be_visible()
    expect(page.get_by_text("VS Code answers")).to_be_visible()
    expect(page.get_by_text(re.compile("^after ")).first).to_be_visible()
    visitor.expect_accessible()
    node.is_holding = False
    expect(page.get_by_role("heading", name="Starting")).to_have_count(0)
    expect(page.get_by_role("button", name="VS Code")).to_be_enabled()


def test_a_terminal_is_typed_into_kept_and_come_back_to(visit, live, node, key):
    visitor: Visitor = visit("mona")
    page = visitor.page
    visitor.go(f"/machines/{key}/terminal")
    rows = page.locator(".xterm-rows").first
    expect(page.get_by_role("status").filter(has_text="Connecting")).to_have_count(0)
    type_in(page, "X=kept; echo $((6*7))-answers \u4f60\u597d")
    expect(rows).to_contain_text("42-answers \u4f60\u597d")
    visitor.expect_accessible()
    page.reload()
    visitor.settle()
    expect(rows).to_contain_text("42-answers")
    type_in(page, "echo $X-after")
    expect(rows).to_contain_text("kept-after")
    page.get_by_role("button", name="Another terminal").first.click()
    expect(page.get_by_role("tab", name="Terminal 2")).to_be_visible()


def test_a_port_is_shared_by_its_link_with_those_it_is_for_until_it_is_taken_back(
    visit, live, node, key
):
    owner, friend, stranger = visit("mona"), visit("fred"), visit("carl")
    with live.client("root", role="administrator") as client:
        made = client.post("/api/organizations/", json={"name": "lab"})
        assert made.status_code == 201, made.text
        for name in ("mona", "fred"):
            wish = {"username": name, "role": "member"}
            assert client.post("/api/organizations/lab/members/", json=wish).is_success
    owner.go(f"/machines/{key}")
    page = owner.page
    page.get_by_label("Port", exact=True).fill("8080")
    page.get_by_role("button", name="Publish").click()
    row = page.get_by_role("row").filter(has_text=f"8080-{key}")
    expect(row.get_by_text("my organizations")).to_be_visible()
    owner.expect_accessible()
    link = row.get_by_role("link").get_attribute("href")
    assert link

    friend.page.goto(link)
    expect(friend.page.get_by_text("The editor is here")).to_be_visible()
    assert friend.page.url == link
    stranger.page.goto(link)
    expect(stranger.page.get_by_role("heading", name="This could not be opened.")).to_be_visible()
    stranger.expect_accessible()

    row.get_by_role("button", name="End").click()
    expect(page.get_by_text("Nothing is published.")).to_be_visible()
    wait_for("the friend to be let go", lambda: friend.page.reload().status == 404)
    expect(friend.page.get_by_text("There is nothing here that you may open.")).to_be_visible()
    for visitor in (friend, stranger):
        assert all("404" in said for said in visitor.complaints), visitor.complaints
        visitor.complaints.clear()  # the browser notes the refusal itself


def test_a_machine_is_saved_and_cloned(visit, live, node, key):
    visitor: Visitor = visit("mona")
    page = visitor.page
    visitor.go(f"/machines/{key}")
    for item, answer in (("Save as image", "Save"), ("Clone", "Clone")):
        page.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name=item).click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("textbox")).to_be_visible()
        visitor.expect_accessible()
        dialog.get_by_role("button", name=answer, exact=True).click()
        if item != "Clone":
            expect(page.get_by_text("Saved as box-image.")).to_be_visible()
    expect(page.get_by_role("heading", name="box-2")).to_be_visible()
    visitor.go("/machines")
    expect(page.get_by_text("from box")).to_be_visible()
    expect(page.get_by_text("3 GiB", exact=True)).to_be_visible()
    visitor.expect_accessible()
    page.get_by_role("row", name="box-image").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("from box")).to_have_count(0)


def test_what_was_open_is_opened_again_with_the_start(visit, live, node, key):
    visitor: Visitor = visit("mona")
    page = visitor.page
    visitor.go(f"/machines/{key}")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="VS Code").click()
    expect(opened.value.get_by_text("The editor is here")).to_be_visible()
    opened.value.close()
    with live.client("mona") as client:
        client.post(f"/api/machines/{key}/stop/")
    expect(page.get_by_text("Last time you had open")).to_be_visible()
    visitor.expect_accessible()
    page.get_by_role("button", name="Start and open them").click()
    words = "The editor is here"  # in one of several: the terminal was open, too
    wait_for(
        "the editor to be opened again",
        lambda: any(each.get_by_text(words).is_visible() for each in page.context.pages),
        timeout_s=60,
    )


# What it says is not in the command, which is the job's name.
SCRIPT = "sh -c 'echo line $((40 + 1)); sleep 1; echo line $((40 + 2)); exit {status}'"


def launch_script(visitor: Visitor, status: int) -> None:
    page = visitor.page
    visitor.go("/launch?kind=script")
    page.get_by_role("textbox", name="Command").first.fill(SCRIPT.format(status=status))
    page.get_by_text("1 CPU core, 4 GiB").first.click()
    page.get_by_role("button", name="Launch", exact=True).click()  # what it costs is not known
    page.wait_for_url(re.compile("/jobs/"))


def test_a_script_is_submitted_and_its_log_and_end_are_seen(visit, live, node, key):
    visitor: Visitor = visit("mona")
    page = visitor.page
    launch_script(visitor, status=0)
    page.get_by_role("tab", name="Log").click()
    expect(page.get_by_text("line 41")).to_be_visible()
    expect(page.get_by_text("line 42")).to_be_visible()
    expect(page.get_by_text("Complete", exact=True).first).to_be_visible()
    expect(page.get_by_text("Succeeded").first).to_be_visible()
    visitor.expect_accessible()


def test_a_script_that_fails_says_why_in_chinese_too(visit, live, node, key):
    visitor: Visitor = visit("mona")
    launch_script(visitor, status=3)
    expect(visitor.page.get_by_text("ended with exit status 3")).to_be_visible()
    chinese: Visitor = visit("mona", language="zh")
    chinese.go(visitor.page.url.removeprefix(live.url).partition("?")[0])
    expect(chinese.page.get_by_text("脚本以退出码 3 结束")).to_be_visible()
    expect(chinese.page.get_by_text("exit status")).to_have_count(0)


def test_the_pages_are_readable_on_a_narrow_screen_in_chinese(visit, live, node, key):
    visitor: Visitor = visit("mona", language="zh", size=NARROW)
    page = visitor.page
    with live.client("mona") as client:  # one that runs would be led on to its tool
        client.post(f"/api/machines/{key}/stop/")
        at = f"/api/machines/{key}/"
        wait_for("it to stop", lambda: client.get(at).json()["status"] == "stopped")
    for path in (f"/machines/{key}", f"/machines/{key}/terminal", f"/machines/{key}/open/lab"):
        visitor.go(path)
        visitor.expect_no_sideways_scroll()
        visitor.expect_accessible()
    expect(page.get_by_role("heading", name="JupyterLab")).to_be_visible()
    for path in ("/machines", "/points"):  # amounts and deeds are seen without moving the table
        visitor.go(path)
        expect(page.locator(".ant-table-row").first).to_be_visible()
        wider = page.locator(".ant-table-content").evaluate_all(
            "tables => tables.map((table) => table.scrollWidth - table.clientWidth)"
        )
        assert max(wider, default=0) <= 0, path


def test_home_names_what_runs_and_dialogs_give_the_keyboard_back(visit, live, node, key):
    visitor: Visitor = visit("mona")
    page = visitor.page
    with live.client("mona") as client:
        client.post(f"/api/machines/{key}/start/")
        at = f"/api/machines/{key}/"
        wait_for("it to run", lambda: client.get(at).json()["status"] == "running")
    visitor.go("/")
    expect(
        page.get_by_role("region", name="Live now").get_by_text("box", exact=True)
    ).to_be_visible()
    visitor.expect_accessible()
    visitor.go(f"/machines/{key}")
    more = page.get_by_role("button", name="More")
    for item in ("Rename", "Save as image", "Clone", "Restart", "Delete"):
        more.click()
        page.get_by_role("menuitem", name=item).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(more).to_be_focused()
