"""SSH keys in a browser: read from a file, made by the studio, and used as the page says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import NARROW, Visitor
from tests.journeys.fake_node import FakeNode, run_node
from tests.live import run_studio, wait_for

pytestmark = pytest.mark.timeout(600)  # a studio of its own comes up first


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A studio of its own: its made-up node would be given other tests' runs."""
    with run_studio(tmp_path_factory.mktemp("studio")) as studio:
        options = ["--title", "Base", "--tool", "vscode=8080"]
        studio.manage("machine_image", "add", "base", "sha256:" + "a" * 64, *options)
        yield studio


@pytest.fixture(scope="module")
def node(live, tmp_path_factory) -> Iterator[FakeNode]:
    with run_node(live, tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def key(live, node) -> str:
    """Sam's machine, that runs."""
    live.grant("sam", 10_000_000)
    wish = {"name": "box", "image": "base", "flavor": "cpu-1", "duration_s": 3600}
    with live.client("sam") as client:
        made = client.post("/api/machines/", json=wish)
        assert made.status_code == 201, made.text
        at = f"/api/machines/{made.json()['key']}/"
        wait_for("it to run", lambda: client.get(at).json()["status"] == "running")
    return str(made.json()["key"])


def make_pair(folder: Path) -> Path:
    """Make a pair of keys and return its public half, under a name that no program would choose."""
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sam", "-f", str(folder / "pair")]
    subprocess.run(made, check=True)
    return (folder / "pair.pub").rename(folder / "my key (old), \u94a5\u5319.txt")


def test_a_key_is_read_from_a_file_of_any_name_and_a_wrong_one_is_told(visit, live, tmp_path):
    visitor: Visitor = visit("kim")
    page = visitor.page
    visitor.go("/profile")
    panel = page.locator("#ssh-keys")
    expect(panel.get_by_text("No key yet")).to_be_visible()
    panel.get_by_role("button", name="Add a key").click()
    dialog = page.get_by_role("dialog")
    (tmp_path / "notes.pub").write_text("ssh-rsa this is no key")
    dialog.locator("input[type=file]").set_input_files(tmp_path / "notes.pub")
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("notes.pub")
    dialog.get_by_role("button", name="Add a key").click()
    expect(dialog.locator(".ant-form-item-explain")).to_be_visible()
    visitor.expect_accessible()
    visitor.complaints.clear()  # the browser notes the refusal itself

    public = make_pair(tmp_path)
    dialog.get_by_label("Name", exact=True).fill("")
    dialog.locator("input[type=file]").set_input_files(public)
    dialog.get_by_role("button", name="Add a key").click()
    row = panel.get_by_role("row").filter(has_text=public.name)
    told = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True)
    expect(row.get_by_text(told.stdout.split()[1])).to_be_visible()
    visitor.expect_accessible()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(panel.get_by_text("No key yet")).to_be_visible()


def test_a_pair_that_the_studio_made_and_the_block_of_the_page_lead_in(visit, live, key, tmp_path):
    visitor: Visitor = visit("sam")
    page = visitor.page
    visitor.go("/profile")
    page.locator("#ssh-keys").get_by_role("button", name="Make a pair").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("laptop")
    dialog.get_by_role("button", name="Make a pair").click()
    expect(dialog.get_by_text("It is shown this once")).to_be_visible()
    visitor.expect_accessible()
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Save the file").click()
    private = tmp_path / saved.value.suggested_filename
    saved.value.save_as(private)
    private.chmod(0o600)

    visitor.go(f"/machines/{key}")
    block = page.get_by_role("region", name="Block for ~/.ssh/config").inner_text()
    (tmp_path / "config").write_text(block + "\n")
    command = [
        *("ssh", "-F", str(tmp_path / "config"), "-i", str(private)),
        *("-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={tmp_path / 'known'}"),
        *("-o", "StrictHostKeyChecking=accept-new", "box.athanor", "echo inside-$((40 + 2))"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "inside-42\n", done.stderr
    told = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "known"], capture_output=True, text=True, check=True
    )
    expect(page.get_by_text(told.stdout.split()[1])).to_be_visible()  # the gateway's, as shown
    visitor.go("/profile")
    row = page.locator("#ssh-keys").get_by_role("row").filter(has_text="laptop")
    expect(row.get_by_text("never")).to_have_count(0)


def test_the_panel_is_readable_on_a_narrow_screen_in_chinese(visit, live):
    visitor: Visitor = visit("kim", language="zh", size=NARROW)
    visitor.go("/profile")
    expect(
        visitor.page.get_by_role("button", name="\u751f\u6210\u5bc6\u94a5\u5bf9")
    ).to_be_visible()
    visitor.expect_no_sideways_scroll()
    visitor.expect_accessible()
