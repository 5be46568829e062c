"""Every page, both languages, wide and narrow, light and dark: loads, accessible, no complaints."""

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import NARROW, WIDE

MEMBERS = [
    "/",
    "/machines",
    "/machines/new",
    "/jobs",
    "/launch",
    "/models",
    "/models/athanor/SmolLM2-135M-Instruct",
    "/models/athanor/SmolLM2-135M-Instruct?tab=files",
    "/models/athanor/SmolLM2-135M-Instruct?tab=files&path=model.safetensors",
    "/models/athanor/SmolLM2-135M-Instruct?tab=history",
    "/datasets",
    "/datasets/athanor/athanor-guide",
    "/datasets/athanor/athanor-guide?tab=report",
    "/datasets/athanor/athanor-guide?tab=table",
    "/datasets/new",
    "/drive",
    "/imports",
    "/organizations",
    "/labelling",
    "/labelling/new",
    "/playground",
    "/points",
    "/profile",
    "/nowhere",
]
OPERATORS = ["/users", "/nodes", "/images", "/deployments"]


@pytest.mark.parametrize(
    ("language", "size", "theme"),
    [("en", WIDE, "light"), ("zh", WIDE, "dark"), ("zh", NARROW, "light"), ("en", NARROW, "dark")],
    ids=["en-wide-light", "zh-wide-dark", "zh-narrow-light", "en-narrow-dark"],
)
def test_every_page_is_accessible_and_silent(visit, language, size, theme):
    visitor = visit("pia", role="administrator", language=language, size=size)
    visitor.page.evaluate("theme => localStorage.setItem('athanor.theme', theme)", theme)
    for path in MEMBERS + OPERATORS:
        visitor.go(path)
        assert visitor.page.locator("html").get_attribute("data-theme") == theme
        visitor.expect_accessible()
        visitor.expect_no_sideways_scroll()


def test_a_member_sees_nothing_of_the_operators(visit):
    visitor = visit("milo")
    navigation = visitor.page.get_by_role("navigation", name="Main")
    expect(navigation.get_by_role("link", name="Jobs")).to_be_visible()
    expect(navigation.get_by_role("link", name="Nodes")).to_have_count(0)
    visitor.go("/users")
    expect(visitor.page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_a_stranger_is_led_to_sign_in_and_back(visit, live):
    visitor = visit("")
    page = visitor.page
    page.goto(f"{live.url}/points")
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_label("Password")).to_be_visible()
    # Being told "not signed in" is a 401, which Chromium writes to the console; nothing else.
    assert all("401" in complaint for complaint in visitor.complaints), visitor.complaints
    visitor.expect_accessible()
    visitor.complaints.clear()


def test_language_and_theme_are_kept_with_the_profile(visit, live):
    visitor = visit("lan")
    page = visitor.page
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("欢迎回来")
    page.get_by_role("button", name="深色主题").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.evaluate("localStorage.clear()")
    page.wait_for_load_state("networkidle")
    visitor.go("/jobs")
    expect(page.get_by_role("heading", level=1)).to_have_text("任务")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_palette_goes_anywhere_by_keyboard(visit):
    visitor = visit("pal")
    page = visitor.page
    page.keyboard.press("Control+k")
    search = page.get_by_role("combobox", name="Where to, or what to make?")
    expect(search).to_be_focused()
    search.fill("datasets")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{visitor.live.url}/datasets")


def test_a_token_is_shown_once_and_works(visit, live):
    visitor = visit("tom")
    page = visitor.page
    visitor.go("/profile")
    page.get_by_role("button", name="Make a token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make a token").click()
    expect(dialog.get_by_text("Write what it is for.")).to_be_visible()
    dialog.get_by_label("What is it for?").fill("my notebook")
    dialog.get_by_role("button", name="Make a token").click()
    token = dialog.get_by_role("region", name="Your new token").inner_text().strip()
    answer = page.request.get(f"{live.url}/api/me/", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["username"] == "tom"
    dialog.get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("cell", name="my notebook")).to_be_visible()
    assert token not in page.content()
