"""Imports in a browser: a folder of the drive becomes a repo; a refusal is said at its field."""

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import NARROW, Visitor


def put(visitor: Visitor, username: str, files: dict[str, str]) -> None:
    with visitor.live.client(username) as client:
        for path, text in files.items():
            folder = path.rpartition("/")[0]
            client.post("/api/drive/folders/", json={"path": folder})
            body = {"path": path, "text": text}
            put = client.put("/api/drive/text/", json=body, headers={"If-None-Match": "*"})
            assert put.status_code == 200, put.text


def test_a_folder_of_the_drive_becomes_a_repo_that_opens(visit):
    visitor: Visitor = visit("ivan")
    page = visitor.page
    put(
        visitor,
        "ivan",
        {
            "talks/README.md": "---\nlicense: mit\n---\n# Talks from my drive\n",
            "talks/train.jsonl": '{"messages": [{"role": "user", "content": "hi"}, '
            '{"role": "assistant", "content": "hello"}]}\n',
        },
    )
    visitor.go("/datasets")
    page.get_by_role("link", name="Import", exact=True).click()
    expect(page.get_by_text("You have imported nothing yet")).to_be_visible()
    visitor.expect_accessible()
    expect(page.get_by_role("radio", name="Dataset")).to_be_checked()
    page.get_by_label("From").fill("drive:///talks")
    expect(page.get_by_label("Name here")).to_have_value("talks")
    expect(page.get_by_label("Token for the source")).to_have_count(0)
    page.get_by_label("Name here").fill("my-talks")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("link", name="Open ivan/my-talks").click()
    page.wait_for_url("**/datasets/ivan/my-talks")
    expect(page.get_by_text("hello", exact=True)).to_be_visible()
    page.get_by_role("tab", name="Card").click()
    expect(page.get_by_role("heading", name="Talks from my drive")).to_be_visible()
    visitor.go("/imports")
    expect(page.get_by_text("Done", exact=True)).to_be_visible()
    visitor.expect_accessible()


def test_the_palette_leads_there_and_a_private_address_is_refused_at_its_field(visit):
    visitor: Visitor = visit("ilse")
    page = visitor.page
    visitor.go("/")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("import")
    page.keyboard.press("Enter")
    page.get_by_label("From").fill("hf+http://169.254.169.254/owner/name")
    page.get_by_role("button", name="Import", exact=True).click()
    problem = page.locator(".ant-form-item-explain-error")
    expect(problem).to_contain_text("169.254.169.254 is not on the public internet")
    expect(page.get_by_label("From")).to_have_value("hf+http://169.254.169.254/owner/name")
    assert all("400" in said for said in visitor.complaints)
    visitor.complaints.clear()  # the browser notes the refusal itself


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_is_whole_on_a_telephone(visit, language):
    visitor: Visitor = visit("ines", language=language, size=NARROW)
    visitor.go("/imports")
    visitor.expect_no_sideways_scroll()
    visitor.expect_accessible()
