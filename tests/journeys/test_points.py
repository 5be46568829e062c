"""Points in the dashboard: a refusal that says what is missing, a grant, a sum that is right."""

import re

from playwright.sync_api import expect


def test_no_points_no_launch_until_an_administrator_grants_some(visit, live):
    poor = visit("paul")
    launch = f"/launch?model={BASE}&dataset={GUIDE}"
    poor.go(launch)
    advisor = poor.page.get_by_test_id("advisor")
    expect(advisor).to_contain_text(re.compile(r"[\d.]+ points are missing"))
    expect(poor.page.get_by_role("button", name="Launch", exact=True)).to_be_disabled()

    boss = visit("ada", role="administrator")
    boss.go("/users?search=paul")
    boss.page.get_by_role("button", name="Grant points").click()
    dialog = boss.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Grant points").click()
    expect(dialog.get_by_text("Write how many points, more than 0.")).to_be_visible()
    dialog.get_by_label("Points").fill("250.5")
    dialog.get_by_label("Note").fill("for the course")
    dialog.get_by_role("button", name="Grant points").click()
    expect(boss.page.get_by_text("250.50 points were granted to paul.")).to_be_visible()
    expect(boss.page.get_by_role("link", name="250.50")).to_be_visible()

    # The balance in paul's open page changes by itself.
    expect(poor.page.get_by_role("banner")).to_contain_text("250.50")
    poor.go("/points")
    expect(poor.page.get_by_role("row", name=re.compile("for the course"))).to_contain_text(
        "+250.500"
    )
    expect(poor.page.get_by_text("The sum of all changes is the balance.")).to_be_visible()
    single = poor.page.get_by_role("checkbox", name="Show every single move")
    single.click()
    expect(single).to_be_checked()
    expect(poor.page).to_have_url(re.compile("moves=each"))
    total = poor.page.get_by_test_id("sum-available").inner_text().lstrip("+")
    assert total == poor.page.get_by_test_id("balance-available").inner_text()
    poor.go(launch)
    expect(poor.page.get_by_role("button", name=re.compile("Launch for about"))).to_be_enabled()


def test_an_administrator_makes_a_user_whose_link_works_once(visit, live, browser):
    boss = visit("ada", role="administrator")
    page = boss.page
    boss.go("/users")
    page.get_by_role("button", name="Create a user").click()
    dialog = page.get_by_role("dialog", name="Create a user")
    dialog.get_by_label("Username").fill("newt")
    dialog.get_by_role("button", name="Create a user").click()
    links = page.get_by_role("dialog", name=re.compile("One-time sign-in link"))
    links.get_by_role("button", name="Make a sign-in link").click()
    link = links.get_by_role("region").inner_text().strip()

    newcomer = visit("")
    newcomer.page.goto(link)
    newcomer.page.get_by_role("button").first.click()
    expect(newcomer.page.get_by_role("heading", name="Welcome back, newt")).to_be_visible()
    newcomer.go("/profile")
    newcomer.page.get_by_label("New password").fill("furnace-door-7")
    newcomer.page.get_by_role("button", name="Choose a password").click()
    expect(newcomer.page.get_by_text("The password was changed.")).to_be_visible()

    again = visit("")
    again.page.goto(f"{live.url}/sign-in")
    again.page.get_by_label("Name or e-mail").fill("newt")
    again.page.get_by_label("Password").fill("wrong-password")
    again.page.get_by_role("button", name="Sign in").click()
    expect(again.page.get_by_role("alert")).to_contain_text("do not belong together")
    again.page.get_by_label("Password").fill("furnace-door-7")
    again.page.get_by_role("button", name="Sign in").click()
    expect(again.page.get_by_role("heading", name="Welcome back, newt")).to_be_visible()
    # 401 before signing in and 400 for the wrong password are answers, not faults.
    assert all(re.search("40[01]", complaint) for complaint in again.complaints), again.complaints
    again.complaints.clear()


BASE = "athanor/SmolLM2-135M-Instruct"
GUIDE = "athanor/athanor-guide"
