"""A repo's page: folders, files, what each commit changed, revisions, use and deletion."""

import json
import re
import struct
import zlib

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from playwright.sync_api import expect

from tests.journeys.browser import NARROW
from tests.studio.hub.weights import CONFIG, make_safetensors

CARD = """---
license: apache-2.0
---
# Harbour

![the harbour](pictures/harbour.png)

See [the settings](configs/run.yaml), and [elsewhere](https://example.org/).
"""


def make_picture(width: int = 48, height: int = 32) -> bytes:
    """Return a grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0".ljust(width + 1, b"\x80") * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def harbour(live) -> str:
    """A model of iris's with two commits on main and a tag at the first."""
    api = HfApi(endpoint=live.url, token=live.make_token("iris"))
    repo_id = "iris/harbour"
    api.create_repo(repo_id, private=False, exist_ok=True)
    files = {
        "README.md": CARD.encode(),
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": make_safetensors({"embed": [32, 8], "norm": [8]}),
        "configs/run.yaml": b"steps: 10\nrate: 0.1\n",
        "pictures/harbour.png": make_picture(),
        "old.txt": b"gone soon\n",
    }
    adds = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(repo_id, operations=adds, commit_message="Lay the first stone")
    api.create_tag(repo_id, tag="v1")
    change = CommitOperationAdd("configs/run.yaml", b"steps: 20\nrate: 0.1\n")
    api.create_commit(
        repo_id,
        operations=[change, CommitOperationDelete("old.txt")],
        commit_message="Train for longer",
    )
    return repo_id


def test_a_card_shows_the_repo_s_own_pictures_and_links(visit, harbour):
    reader = visit("jonas")
    page = reader.page
    reader.go(f"/models/{harbour}")
    picture = page.get_by_role("img", name="the harbour")
    expect(picture).to_be_visible()
    assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 48
    link = page.get_by_role("link", name="the settings")
    expect(link).to_have_attribute("href", re.compile(f"/{harbour}/resolve/.+/configs/run.yaml$"))
    expect(page.get_by_role("link", name="Apache License 2.0")).to_be_visible()
    expect(page.get_by_role("heading", name="Memory for the weights")).to_be_visible()
    reader.expect_accessible()


def test_folders_and_files_open_in_their_place_and_back_leads_out(visit, harbour):
    reader = visit("jonas")
    page = reader.page
    reader.go(f"/models/{harbour}?tab=files")
    row = page.get_by_role("row", name=re.compile("configs"))
    expect(row).to_contain_text("Train for longer")
    row.get_by_role("button", name="configs", exact=True).click()
    page.get_by_role("button", name="run.yaml", exact=True).click()
    expect(page.get_by_test_id("file-preview")).to_contain_text("steps: 20")
    reader.expect_accessible()
    page.go_back()
    expect(page.get_by_role("button", name="run.yaml", exact=True)).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="model.safetensors", exact=True).click()
    expect(page.get_by_test_id("file-preview")).to_contain_text("2 tensors, 264 numbers")
    page.get_by_placeholder("Find a tensor").fill("NORM")
    page.get_by_placeholder("Find a tensor").press("Enter")
    expect(page.get_by_role("cell", name="embed")).to_have_count(0)
    expect(page.get_by_role("cell", name="[8]")).to_be_visible()


def test_a_commit_tells_its_changes_line_by_line(visit, harbour):
    reader = visit("jonas")
    page = reader.page
    reader.go(f"/models/{harbour}?tab=history")
    expect(page.locator("ul.commits > li").first).to_contain_text("Train for longer")
    expect(page.locator("ul.commits > li", has_text="Lay the first stone")).to_contain_text("v1")
    page.get_by_role("link", name="Train for longer").click()
    commit = page.get_by_test_id("commit")
    expect(commit).to_contain_text("0 added, 1 changed, 1 deleted")
    commit.get_by_text("configs/run.yaml").click()
    expect(commit.locator("pre.diff")).to_contain_text("-steps: 10\n+steps: 20")
    reader.expect_accessible()


def test_an_older_revision_is_looked_at_by_its_name(visit, harbour):
    reader = visit("jonas", size=NARROW)
    page = reader.page
    reader.go(f"/models/{harbour}?tab=files&revision=v1")
    expect(page.get_by_text("You are looking at v1")).to_be_visible()
    expect(page.get_by_role("button", name="old.txt", exact=True)).to_be_visible()
    reader.expect_no_sideways_scroll()
    page.get_by_role("button", name="Go to main").click()
    expect(page.get_by_role("button", name="old.txt", exact=True)).to_have_count(0)
    reader.go(f"/models/{harbour}?revision=nowhere")
    expect(page.get_by_text("This repo has no revision nowhere.")).to_be_visible()
    reader.complaints.clear()  # the browser tells of every refusal


def test_a_tab_that_the_page_has_not_is_its_first(visit, harbour):
    reader = visit("jonas")
    reader.go(f"/models/{harbour}?tab=nonsense")
    expect(reader.page.get_by_role("img", name="the harbour")).to_be_visible()


def test_the_use_dialog_names_the_studio_and_the_revision(visit, live, harbour):
    reader = visit("jonas")
    page = reader.page
    reader.go(f"/models/{harbour}?revision=v1")
    page.get_by_role("button", name="Use", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f'os.environ["HF_ENDPOINT"] = "{live.url}"')
    expect(dialog).to_contain_text(f'from_pretrained("{harbour}", revision="v1")')
    reader.expect_accessible()


def test_a_repo_is_deleted_once_its_name_is_typed_and_its_losses_are_named(visit, live):
    api = HfApi(endpoint=live.url, token=live.make_token("iris"))
    api.create_repo("iris/doomed", private=False, exist_ok=True)
    api.upload_file(path_or_fileobj=b"# x\n", path_in_repo="README.md", repo_id="iris/doomed")
    api.create_branch("iris/doomed", branch="next")
    owner = visit("iris")
    page = owner.page
    owner.go("/models/iris/doomed")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_test_id("losses")).to_contain_text("1 branches and tags beside main")
    ok = dialog.get_by_role("button", name="Delete")
    expect(ok).to_be_disabled()
    dialog.get_by_label("Type iris/doomed to delete it").fill("iris/doomed")
    ok.click()
    expect(page).to_have_url(re.compile("/models$"))
    owner.settle()
    assert not api.repo_exists("iris/doomed")
