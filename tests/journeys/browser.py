"""How journeys start Chromium and what they hold against every page. No test of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = os.environ.get("ATHANOR_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"width": 1280, "height": 860}
NARROW = {"width": 360, "height": 740}
# A loaded machine is slow, not wrong: waits end when what they wait for is there.
PATIENCE_MS = 60_000
LOCALES = {"en": "en-US", "zh": "zh-CN"}

# Resolves when whatever moves has come to rest; what moves without end does not count.
_REST = """() => Promise.all(document.getAnimations()
    .filter((each) => each.effect?.getComputedTiming().iterations !== Infinity)
    .map((each) => each.finished.catch(() => null)))"""


@contextmanager
def open_browser(*arguments: str) -> Iterator[Browser]:
    """Start a headless Chromium and end it."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*ARGUMENTS, *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


def listen_for_complaints(page: Page) -> list[str]:
    """Collect every console error, warning and uncaught exception of a page from now on."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            where = message.location.get("url", "")
            complaints.append(f"{message.type}: {message.text} ({where})")

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    return complaints


@dataclass
class Visitor:
    """A person at a browser."""

    live: Any
    page: Page
    complaints: list[str]

    @classmethod
    def arrive(
        cls, live: Any, browser: Browser, *, language: str = "en", size: dict[str, int] = WIDE
    ) -> Self:
        """Open an empty page in a browser of its own that asks for this language."""
        context = browser.new_context(
            viewport=size, locale=LOCALES[language], reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        return cls(live, page, listen_for_complaints(page))

    def sign_in(self, username: str, *, role: str = "member") -> None:
        """Come in by a one-time link."""
        self.page.goto(self.live.signin_link(username, role=role))
        self.page.get_by_role("button").first.click()
        self.page.wait_for_url(f"{self.live.url}/")
        self.settle()

    def go(self, path: str) -> None:
        """Open an address and wait until nothing on it is loading."""
        self.page.goto(self.live.url + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has its heading and no skeleton is left."""
        expect(self.page.locator("h1").first).to_be_attached()
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def expect_accessible(self) -> None:
        """Fail for what axe-core calls serious or critical."""
        self.page.evaluate(_REST)  # a colour on its way to another has no contrast of its own
        found = Axe().run(self.page).response["violations"]
        grave = [
            f"{fault['id']}: {fault['help']}: {[node['html'][:200] for node in fault['nodes'][:3]]}"
            for fault in found
            if fault["impact"] in {"serious", "critical"}
        ]
        assert grave == [], f"on {self.page.url}: {grave}"

    def expect_no_sideways_scroll(self) -> None:
        """Fail where the page itself is wider than the window; tables may scroll within it."""
        wider = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wider <= 0, f"{self.page.url} is {wider} px wider than the window"
