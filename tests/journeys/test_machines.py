"""Dev machines in a browser, where no Docker engine is: said in a sentence, and all else works."""

import asyncssh
import pytest
from playwright.sync_api import expect

from tests.journeys.browser import NARROW, Visitor


@pytest.fixture(scope="module")
def offered(live):
    options = ["--title", "Base", "--tool", "vscode=8080"]
    live.manage("machine_image", "add", "base", "sha256:" + "a" * 64, *options)


def test_a_machine_is_made_waits_with_its_reason_and_is_deleted(visit, live, offered):
    visitor: Visitor = visit("mona")
    live.grant("mona", 1_000_000)
    page = visitor.page
    visitor.go("/machines")
    expect(page.get_by_text("You have no machine yet")).to_be_visible()
    expect(page.get_by_text("No machine can run now.")).to_be_visible()
    page.get_by_role("link", name="New machine").first.click()
    name = page.get_by_label("Name", exact=True)
    expect(name).to_have_value("dev")
    name.fill("My box")
    expect(page.get_by_text("Begin with a letter")).to_be_visible()
    expect(page.get_by_role("button", name="Create")).to_be_disabled()
    name.fill("my-box")
    page.get_by_text("1 CPU core, 4 GiB").click()
    page.get_by_text("2 hours", exact=True).click()
    expect(page.get_by_text("60.00", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/machines/*")
    expect(page.get_by_role("heading", name="my-box")).to_be_visible()
    expect(page.get_by_text("number 1 in the queue").first).to_be_visible()
    expect(page.get_by_text("ssh my-box@127.0.0.1")).to_be_visible()
    expect(page.get_by_role("button", name="VS Code")).to_be_disabled()
    visitor.expect_accessible()
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/machines")
    expect(page.get_by_text("You have no machine yet")).to_be_visible()


def test_without_points_the_form_says_so_and_keeps_what_was_typed(visit, offered):
    visitor: Visitor = visit("moss", language="zh", size=NARROW)
    page = visitor.page
    visitor.go("/machines/new")
    page.get_by_label("名称", exact=True).fill("box")
    page.get_by_text("24 小时", exact=True).click()
    expect(page.get_by_text("余额不足以支付这段时间。")).to_be_visible()
    visitor.expect_no_sideways_scroll()
    visitor.expect_accessible()
    expect(page.get_by_label("名称", exact=True)).to_have_value("box")


def test_a_key_is_added_and_a_private_one_refused_at_its_field(visit):
    visitor: Visitor = visit("mira")
    page = visitor.page
    pair = asyncssh.generate_private_key("ssh-ed25519", comment="mira@laptop")
    visitor.go("/profile")
    page.get_by_role("button", name="Add a key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Public key").fill(pair.export_private_key().decode())
    dialog.get_by_role("button", name="Add a key").click()
    expect(dialog.get_by_text("This is a private key")).to_be_visible()
    dialog.get_by_label("Public key").fill(pair.export_public_key().decode())
    dialog.get_by_role("button", name="Add a key").click()
    expect(page.get_by_text(pair.get_fingerprint())).to_be_visible()
    page.get_by_role("button", name="Make a pair").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make a pair").click()
    expect(dialog.get_by_text("BEGIN OPENSSH PRIVATE KEY")).to_be_visible()
    visitor.expect_accessible()
    assert all("400" in said for said in visitor.complaints)
    visitor.complaints.clear()  # the browser notes the refusal itself
