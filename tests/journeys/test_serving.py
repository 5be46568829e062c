"""An application's key, from the page that makes it to the line that says what it used; and how a
model is served, from the form that sets it."""

import re
import secrets

import openai
import pytest
from huggingface_hub import HfApi
from playwright.sync_api import expect

from engine.models.tiny import save_tiny
from tests.journeys.browser import NARROW

BASE = "athanor/SmolLM2-135M-Instruct"


def test_a_key_is_made_used_counted_and_revoked(visit, live):
    name = f"my app {secrets.token_hex(3)}"
    visitor = visit("dev")
    page = visitor.page
    visitor.go("/deployments?tab=keys")
    page.get_by_role("button", name="New API key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="New API key").click()
    expect(dialog.get_by_text("Give it a name.")).to_be_visible()
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Budget").fill("2.5")
    dialog.get_by_role("button", name="New API key").click()
    key = dialog.get_by_role("region").inner_text().strip()
    assert key.startswith("sk-ath-")
    dialog.locator(".ant-modal-footer").get_by_role("button", name="Close").click()
    row = page.get_by_role("row", name=re.compile(name))
    expect(row).to_contain_text("0.00 / 2.50")

    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key=key, max_retries=0, timeout=180)
    stream = client.chat.completions.create(
        model=BASE,
        messages=[{"role": "user", "content": "Say hello."}],
        max_tokens=5,
        stream=True,
    )
    assert [chunk for chunk in stream]
    visitor.go("/deployments?tab=uses")
    used = page.get_by_role("row", name=re.compile("SmolLM2"))
    expect(used).to_contain_text("5")
    visitor.expect_accessible()

    visitor.go("/deployments?tab=keys")
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_an_operator_sees_servers_and_revisions_on_a_narrow_screen_in_chinese(visit):
    boss = visit("olga", role="operator", language="zh", size=NARROW)
    for tab in ("", "?tab=revisions", "?tab=keys", "?tab=uses"):
        boss.go(f"/deployments{tab}")
        boss.expect_no_sideways_scroll()
    boss.expect_accessible()


def test_an_operator_sets_how_a_model_is_served_and_takes_it_back(visit, live):
    boss = visit("olga", role="operator")
    page = boss.page
    boss.go("/deployments")
    page.get_by_label("Set how a model is served").fill("SmolLM2-135M-I")
    page.get_by_title(BASE).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Longest context").fill("2048")
    dialog.get_by_text("remote", exact=True).click()
    dialog.get_by_label("Address of the remote server").fill("nowhere")
    boss.expect_accessible()
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog.get_by_text("Write an address up to and with /v1")).to_be_visible()
    boss.complaints.clear()  # the refusal itself is one
    dialog.get_by_text("native", exact=True).click()
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog).to_have_count(0)
    row = page.get_by_role("row", name=re.compile("max_context: 2048"))
    expect(row).to_contain_text(BASE)

    row.get_by_role("button", name="Settings").click()
    expect(dialog.get_by_label("Longest context")).to_have_value("2048")
    dialog.get_by_role("button", name="Serve it as usual").click()
    expect(page.get_by_text("Every model is served as usual.")).to_be_visible()


def test_an_owner_sets_the_threshold_of_her_model_and_no_more(visit, live, tmp_path):
    live.make_token("alice")
    hub = HfApi(endpoint=live.url, token=live.make_token("alice"))
    name = f"alice/small-{secrets.token_hex(3)}"
    hub.create_repo(name, private=True)
    hub.upload_folder(repo_id=name, folder_path=save_tiny(tmp_path / "tiny"))
    visitor = visit("alice", language="zh", size=NARROW)
    page = visitor.page
    visitor.go(f"/models/{name}")
    page.get_by_role("button", name="服务设置").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("最低一致率").fill("0.95")
    dialog.get_by_text("不服务", exact=True).click()
    expect(dialog.locator(".field")).to_have_count(2)
    visitor.expect_no_sideways_scroll()
    visitor.expect_accessible()
    dialog.locator(".settings-foot").get_by_role("button").last.click()
    expect(dialog).to_have_count(0)
    told = live.client("alice").get(f"/api/serving/settings/{name}/").json()
    assert told["spec"] == {"least_agreement": 0.95, "on_low_agreement": "refuse"}
