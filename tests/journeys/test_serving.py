"""An application's key, from the page that makes it to the line that says what it used."""

import re
import secrets

import openai
import pytest
from playwright.sync_api import expect

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
