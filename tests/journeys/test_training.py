"""A pretraining and a DPO from the dashboard, from the loss mask to what came out."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from playwright.sync_api import Page, expect

from engine.models.tiny import save_tiny
from tests.journeys.test_first_journey import pick

ENDED_MS = 240_000
MORE = [{"text": f"Athanor {n} burns low, and nobody tends it. " * 6} for n in range(20)]
TEXTS = [{"text": f"Furnace {n} feeds itself and keeps its fire. " * 6} for n in range(40)]
PAIRS = [{"prompt": f"Is {n} even?", "chosen": "Yes, it is.", "rejected": "No."} for n in range(40)]


@pytest.fixture(scope="module")
def tiny_hub(live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A tiny model, texts and pairs, that are Tara's."""
    live.grant("tara", 1_000_000)
    api = HfApi(endpoint=live.url, token=live.make_token("tara"))
    folder: Path = save_tiny(tmp_path_factory.mktemp("tiny"))
    api.create_repo("tara/tiny")
    api.upload_folder(repo_id="tara/tiny", folder_path=folder)
    for name, rows in (("texts", TEXTS), ("more", MORE), ("pairs", PAIRS)):
        api.create_repo(f"tara/{name}", repo_type="dataset")
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        api.upload_file(
            path_or_fileobj=io.BytesIO(content),
            path_in_repo="train.jsonl",
            repo_id=f"tara/{name}",
            repo_type="dataset",
        )
    yield


def fill(page: Page, *, stage: str, dataset: str) -> None:
    """Choose what is learnt from what, for two steps."""
    page.get_by_role("radio", name=re.compile(f"^{re.escape(stage)}")).check(force=True)
    pick(page, "Dataset", dataset)
    page.get_by_text("Advanced", exact=True).last.click()
    page.get_by_label("Most steps").fill("2")


def mix_in(page: Page, dataset: str, weight: str) -> None:
    """Add a dataset; a row that is not filled in yet is no fault."""
    page.get_by_role("button", name="Add a dataset").click()
    expect(page.get_by_text("Pick a model and a dataset, and the advisor")).to_be_visible()
    expect(page.locator(".mixture [role=alert]")).to_have_count(0)
    page.get_by_role("combobox", name="Further dataset 1").fill(dataset.split("/")[1])
    page.locator(".ant-select-item-option:visible", has_text=dataset).click()
    page.get_by_label("Weight of dataset 1").fill(weight)


def show_mask(page: Page) -> None:
    page.get_by_role("button", name="Show the loss mask").click()
    expect(page.get_by_test_id("mask")).to_be_visible(timeout=90_000)


def launch(visitor) -> None:
    button = visitor.page.get_by_role("button", name=re.compile("Launch for about"))
    expect(button).to_be_enabled(timeout=20_000)
    button.click()
    visitor.page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_continue_a_pretraining_and_prefer(visit, live, tiny_hub):
    visitor = visit("tara")
    page = visitor.page
    visitor.go("/launch?model=tara%2Ftiny")
    fill(page, stage="Pretrain", dataset="tara/texts")
    mix_in(page, "tara/more", "0.5")
    show_mask(page)
    expect(page.locator(".mask-sample mark.learnt").first).to_contain_text("Furnace 0 feeds itself")
    expect(page.locator(".mask-sample figcaption", has_text="tara/more train.jsonl")).to_have_count(
        3
    )
    visitor.expect_accessible()
    page.get_by_role("radio", name=re.compile("^All weights")).check(force=True)
    expect(page.get_by_label("Learning rate", exact=True)).to_have_value("0.0002")
    launch(visitor)
    expect(page.get_by_text("The model is ready")).to_be_visible(timeout=ENDED_MS)
    expect(page.get_by_role("img", name=re.compile("^Perplexity: from"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Accuracy: from"))).to_be_visible()
    expect(page.get_by_role("link", name="Chat with it")).to_be_visible()
    visitor.expect_accessible()

    visitor.go("/launch?stage=dpo&dataset=tara%2Ftexts&model=tara%2Ftiny")
    expect(page.get_by_test_id("advisor")).to_contain_text("learns from pairs of answers")
    fill(page, stage="Preferences", dataset="tara/pairs")
    show_mask(page)
    expect(page.locator(".mask-sample").first).to_contain_text("chosen")
    expect(page.locator(".mask-sample mark.learnt").first).to_contain_text("Yes, it is.")
    launch(visitor)
    expect(page.get_by_text("The adapter is ready")).to_be_visible(timeout=ENDED_MS)
    for measure in ("Accuracy", "Margin", "Reward of chosen", "Reward of rejected"):
        expect(page.get_by_role("img", name=re.compile(f"^{measure}: from"))).to_be_visible()
    page.get_by_role("link", name="Open its card").click()
    visitor.settle()
    expect(page.get_by_role("heading", name="tara/tiny-pairs-dpo").first).to_be_visible()
    expect(page.get_by_role("link", name="Chat")).to_be_visible()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_from_nothing(visit, live, tiny_hub):
    visitor = visit("tara")
    page = visitor.page
    visitor.go("/launch?stage=pretrain")
    fill(page, stage="Pretrain", dataset="tara/texts")
    page.get_by_role("radio", name=re.compile("^Nothing")).check(force=True)
    expect(page.get_by_role("radio", name=re.compile("^All weights"))).to_be_checked()
    expect(page.get_by_role("radio", name=re.compile("^LoRA"))).to_have_count(0)
    for label, value in (("Width", "64"), ("Layers", "2"), ("Heads", "4"), ("Vocabulary", "400")):
        page.get_by_label(label, exact=True).fill(value)
    launch(visitor)
    expect(page.get_by_text("The model is ready")).to_be_visible(timeout=ENDED_MS)
    page.get_by_role("link", name="Open its card").click()
    visitor.settle()
    expect(page.get_by_role("link", name="Chat")).to_be_visible()
    visitor.expect_accessible()
