"""A quantization from the model's page to the report card on what came out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from playwright.sync_api import expect

from engine.models.tiny import save_tiny
from tests.journeys.test_training import launch

ENDED_MS = 240_000


@pytest.fixture(scope="module")
def tiny_model(live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny model that is Quinn's."""
    live.grant("quinn", 1_000_000)
    api = HfApi(endpoint=live.url, token=live.make_token("quinn"))
    folder: Path = save_tiny(tmp_path_factory.mktemp("tiny"))
    api.create_repo("quinn/tiny")
    api.upload_folder(repo_id="quinn/tiny", folder_path=folder)
    yield "quinn/tiny"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_quantize_a_model_and_read_its_report_card(visit, live, tiny_model):
    visitor = visit("quinn")
    page = visitor.page
    visitor.go(f"/models/{tiny_model}")
    page.get_by_role("link", name="Quantize").click()
    page.wait_for_url(re.compile("kind=quantize"))
    page.get_by_role("radio", name=re.compile("^GPTQ")).check(force=True)
    page.get_by_label("Length").fill("64")
    visitor.expect_accessible()
    launch(visitor)
    expect(page.get_by_text("The quantized model is ready")).to_be_visible(timeout=ENDED_MS)
    expect(page.get_by_test_id("report-card")).to_contain_text("GPTQ W4A16 g64", timeout=30_000)
    visitor.expect_accessible()
    visitor.go("/models/quinn/tiny-gptq?tab=quality")
    expect(page.get_by_test_id("report-card")).to_contain_text("Same likeliest token")
    expect(page.get_by_role("link", name="quinn/tiny", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Finetune")).to_have_count(0)
