"""The browser for journeys lives as long as one module: Playwright's loop must not outlast it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.browser import WIDE, Visitor, open_browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything that asks for a browser as a journey."""
    for item in items:
        if "visit" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.journey)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def visit(live, browser: Browser, tmp_path: Path) -> Iterator[type[Visitor]]:
    """`visit("alice")` is a page with alice signed in; what its console says fails the test."""
    visitors: list[Visitor] = []

    def open_page(
        username: str, *, role: str = "member", language: str = "en", size: dict[str, int] = WIDE
    ) -> Visitor:
        visitor = Visitor.arrive(live, browser, language=language, size=size)
        visitors.append(visitor)
        if username:
            visitor.sign_in(username, role=role)
        return visitor

    yield open_page
    for index, visitor in enumerate(visitors):
        visitor.page.screenshot(path=tmp_path / f"last-{index}.png")
        visitor.page.context.close()
    for visitor in visitors:
        assert visitor.complaints == [], f"the console said: {visitor.complaints}"


@pytest.fixture
def browser_page(visit) -> Page:
    """A page on which alice has signed in."""
    return visit("alice").page
