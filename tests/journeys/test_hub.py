"""The hub for a class: an organization, a dataset for its members, a gate, and finding things."""

import io
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from playwright.sync_api import expect

CARD = b"---\nlicense: cc-by-4.0\nlanguage: [zh]\n---\n# Heights\n\nWho is how tall.\n"


def make_table() -> bytes:
    """Return a Parquet file of two hundred people."""
    rows = [
        {"name": f"person {n}", "height": 150.0 + n / 4, "class": "abc"[n % 3]} for n in range(200)
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def heights(live) -> str:
    """A gated dataset of grace's."""
    api = HfApi(endpoint=live.url, token=live.make_token("grace"))
    repo_id = "grace/heights"
    api.create_repo(repo_id, repo_type="dataset", private=False, exist_ok=True)
    for name, content in (("README.md", CARD), ("data/train.parquet", make_table())):
        api.upload_file(
            path_or_fileobj=content, path_in_repo=name, repo_id=repo_id, repo_type="dataset"
        )
    api.update_repo_settings(repo_id, repo_type="dataset", gated="manual", private=False)
    return repo_id


def test_an_operator_makes_an_organization_and_takes_people_in(visit):
    operator = visit("olga", role="operator")
    page = operator.page
    visit("emil")  # is there to be taken in
    operator.go("/organizations")
    page.get_by_role("button", name="Make an organization").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make an organization").click()
    expect(dialog.get_by_text("Write a name.")).to_be_visible()
    dialog.get_by_label("Name", exact=True).fill("bad name!")
    dialog.get_by_role("button", name="Make an organization").click()
    expect(dialog.locator(".ant-form-item-explain-error")).to_be_visible()
    operator.complaints.clear()  # the browser tells of every refusal
    dialog.get_by_label("Name", exact=True).fill("camp-journey")
    dialog.get_by_role("button", name="Make an organization").click()
    expect(page).to_have_url(re.compile("/organizations/camp-journey"))
    page.get_by_placeholder("Username").fill("emil")
    page.get_by_role("button", name="Add member").click()
    expect(page.get_by_role("row", name=re.compile("emil"))).to_contain_text("Member")

    member = visit("emil")
    member.go("/organizations")
    expect(member.page.get_by_role("link", name=re.compile("camp-journey"))).to_be_visible()


def test_files_behind_a_gate_are_asked_for_and_granted(visit, heights):
    student, owner = visit("henry"), visit("grace")
    student.go(f"/datasets/{heights}")
    page = student.page
    expect(page.get_by_text("Its files are for those who were let in.")).to_be_visible()
    page.get_by_role("button", name="Ask for access").click()
    expect(page.get_by_text("You have asked")).to_be_visible()

    owner.go(f"/datasets/{heights}")
    owner.page.get_by_role("button", name="More").click()
    owner.page.get_by_role("menuitem", name="Settings").click()
    wish = owner.page.get_by_role("dialog").locator(".row", has_text="henry")
    wish.get_by_role("button", name="Let in").click()
    expect(wish).to_contain_text("Let in")

    student.go(f"/datasets/{heights}")
    expect(page.get_by_text("Its files are for")).to_have_count(0)
    page.get_by_role("tab", name="Table").click()
    expect(page.get_by_text("person 0", exact=True)).to_be_visible()
    student.complaints[:] = [said for said in student.complaints if "403" not in said]


def test_a_table_shows_its_columns_and_is_searched_within(visit, heights):
    owner = visit("grace")
    owner.go(f"/datasets/{heights}?tab=table")
    page = owner.page
    expect(page.get_by_text("person 0", exact=True)).to_be_visible()
    expect(page.get_by_role("columnheader", name=re.compile("height"))).to_be_visible()
    page.get_by_role("searchbox", name=re.compile("Search")).last.fill("person 177")
    page.keyboard.press("Enter")
    expect(page.get_by_text("person 177", exact=True)).to_be_visible()
    expect(page.get_by_text("person 0", exact=True)).to_have_count(0)


def test_conditions_narrow_the_list_and_stand_in_the_address(visit, heights):
    visitor = visit("henry")
    page = visitor.page
    visitor.go("/datasets")
    page.get_by_role("checkbox", name=re.compile("cc-by-4.0")).click()
    expect(page).to_have_url(re.compile("license=cc-by-4.0"))
    expect(page.get_by_role("link", name=re.compile("heights"))).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("athanor-guide"))).to_have_count(0)
    page.get_by_role("searchbox").fill("nothing has this word")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=re.compile("heights"))).to_have_count(0)
    page.goto(f"{visitor.live.url}/datasets?search=tall&license=cc-by-4.0&language=zh")
    expect(page.get_by_role("link", name=re.compile("heights"))).to_be_visible()
