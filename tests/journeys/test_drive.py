"""The drive in a browser: a folder cut midway and resumed; zip, preview, trash, links, quota."""

import os

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.journeys.browser import Visitor

MIB = 2**20
# A drop as the desktop makes it, as far as a script can make one.
_DROP = """async ([files]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) data.items.add(new File([text], name));
  for (const type of ["dragenter", "dragover", "drop"])
    window.dispatchEvent(new DragEvent(type, { dataTransfer: data, cancelable: true }));
}"""


@pytest.fixture
def folder(tmp_path):
    """A folder on the desktop: text, a table, and a file that takes a few requests."""
    top = tmp_path / "thesis"
    (top / "figures").mkdir(parents=True)
    (top / "README.md").write_text("# Thesis\n\nAbout **furnaces**.\n")
    (top / "data.csv").write_text("name,score\nalpha,1\n")
    (top / "figures" / "big.bin").write_bytes(os.urandom(70 * MIB))
    return top


def row(page: Page, name: str):
    return page.get_by_role("button", name=name, exact=True)


def choose(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("checkbox", name=f"Select {name}", exact=True).check()


def bulk(page: Page, name: str) -> None:
    page.get_by_role("toolbar").get_by_role("button", name=name, exact=True).click()


def test_a_folder_goes_up_is_cut_and_goes_on_where_it_was(visit, folder):
    visitor: Visitor = visit("dirk")
    page = visitor.page
    visitor.go("/drive")
    expect(page.get_by_text("This folder is empty")).to_be_visible()
    sent: list[int] = []
    state = {"cut": True}

    def cut(route) -> None:
        request = route.request
        if request.method == "PATCH":
            offset = int(request.headers["upload-offset"])
            size = int(request.headers.get("content-length", "0"))
            if state["cut"] and offset:
                route.abort("connectionreset")
                return
            sent.append(offset)
            assert size <= 32 * MIB
        route.continue_()

    page.route("**/api/drive/uploads/*", cut)
    page.get_by_test_id("pick-folder").set_input_files(str(folder))
    uploads = page.get_by_test_id("uploads")
    expect(uploads.get_by_text("Connection lost, trying again")).to_be_visible()
    state["cut"] = False
    page.get_by_role("link", name="Points", exact=True).click()  # they go on whichever page is open
    expect(uploads.get_by_text("Done")).to_have_count(3)
    assert 32 * MIB in sent and sent.count(0) >= 1
    page.get_by_role("link", name="Drive", exact=True).click()
    row(page, "thesis").click()
    expect(row(page, "figures")).to_be_visible()
    expect(row(page, "data.csv")).to_be_visible()
    visitor.complaints.clear()  # the cut itself is one, as it should be
    with visitor.live.client("dirk") as client:
        got = client.get("/api/drive/file/", params={"path": "thesis/figures/big.bin"})
        assert got.content == (folder / "figures" / "big.bin").read_bytes()


def test_what_is_there_is_looked_at_zipped_thrown_away_and_put_back(visit, folder):
    visitor: Visitor = visit("dina")
    page = visitor.page
    with visitor.live.client("dina") as client:
        for name in ("README.md", "data.csv"):
            put = {"path": name, "text": (folder / name).read_text()}
            client.put("/api/drive/text/", json=put, headers={"If-None-Match": "*"})
    visitor.go("/drive")
    row(page, "README.md").click()
    preview = page.get_by_test_id("preview")
    expect(preview.get_by_role("heading", name="Thesis")).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Text of the file").fill("# Changed")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(preview.get_by_role("heading", name="Changed")).to_be_visible()
    visitor.go("/drive?file=data.csv")
    expect(page.get_by_test_id("preview").get_by_role("cell", name="alpha")).to_be_visible()

    visitor.go("/drive")
    visitor.expect_accessible()
    choose(page, "README.md", "data.csv")
    bulk(page, "Zip")
    expect(page.get_by_text("Ready: archive.zip")).to_be_visible()
    choose(page, "archive.zip")
    bulk(page, "Move to trash")
    expect(page.get_by_text("3 are in the trash now")).to_be_visible()
    expect(page.get_by_text("This folder is empty")).to_be_visible()
    page.get_by_role("tab", name="Trash").click()
    page.get_by_role("row", name="data.csv").get_by_role("button", name="Put back").click()
    expect(page.get_by_text("Back at data.csv")).to_be_visible()
    page.get_by_role("tab", name="Files").click()
    expect(row(page, "data.csv")).to_be_visible()

    page.get_by_role("button", name="Actions: data.csv").click()
    page.get_by_role("menuitem", name="Rename").click()
    field = page.get_by_label("New name of data.csv")
    field.fill("scores.csv")
    field.press("Enter")
    expect(row(page, "scores.csv")).to_be_visible()
    page.get_by_role("button", name="Actions: scores.csv").click()
    page.get_by_role("menuitem", name="Share a link").click()
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_test_id("share-link").inner_text()
    token = link.rpartition("/")[2]
    got = httpx.get(f"{visitor.live.url}/api/drive/shared/{token}/file/")
    assert got.text == "name,score\nalpha,1\n"
    stranger: Visitor = visit("")
    stranger.go(f"/shared/{token}")
    expect(stranger.page.get_by_text("scores.csv")).to_be_visible()
    stranger.complaints.clear()  # a browser tells of the 401 by which one learns to be nobody


def test_what_does_not_fit_is_refused_in_words(visit, folder):
    visitor: Visitor = visit("dora")
    page = visitor.page
    with visitor.live.client("root", role="administrator") as client:
        set_to = client.put("/api/drive/quotas/dora/", json={"quota_bytes": 2 * MIB})
        assert set_to.status_code == 200, set_to.text
    visitor.go("/drive")
    page.get_by_test_id("pick-files").set_input_files(str(folder / "figures" / "big.bin"))
    uploads = page.get_by_test_id("uploads")
    expect(uploads).to_contain_text("It needs 70 MiB and 2 MiB are free on your drive.")
    expect(page.get_by_text("This folder is empty")).to_be_visible()
    visitor.complaints.clear()  # the refusal itself is one


def test_a_drop_anywhere_on_the_page_goes_up_in_chinese_and_narrow(visit):
    visitor: Visitor = visit("lin", language="zh", size={"width": 360, "height": 740})
    page = visitor.page
    visitor.go("/drive")
    visitor.expect_no_sideways_scroll()
    page.evaluate(_DROP, [[["\u7b14\u8bb0.txt", "\u4f60\u597d"]]])
    expect(row(page, "\u7b14\u8bb0.txt")).to_be_visible()
    row(page, "\u7b14\u8bb0.txt").click()
    expect(page.get_by_test_id("preview")).to_contain_text("\u4f60\u597d")
    visitor.expect_no_sideways_scroll()
