"""Take pictures of every page, wide and narrow, light and dark, Chinese and English.

    python tests/journeys/shots.py http://127.0.0.1:8600 --signin LINK

The pictures land in screenshots/ (not in git). Not a test: it judges nothing.
"""

import argparse
import sys
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.journeys.browser import NARROW, WIDE, listen_for_complaints, open_browser  # noqa: E402

LOOKS = {
    "wide-light-en": (WIDE, "light", "en"),
    "wide-dark-zh": (WIDE, "dark", "zh"),
    "narrow-light-zh": (NARROW, "light", "zh"),
    "narrow-dark-en": (NARROW, "dark", "en"),
}


def find_pages(context: BrowserContext, url: str) -> dict[str, str]:
    """Name every page worth a picture, with the things this studio really has."""

    def first(path: str) -> str | None:
        rows = context.request.get(url + path).json().get("results", [])
        return rows[0]["id"] if rows else None

    job = first("/api/jobs/?page_size=1")
    ended = first("/api/jobs/?status=succeeded&page_size=1")
    failed = first("/api/jobs/?status=failed&page_size=1")
    base = first("/api/hub/repos/?kind=model&role=base")
    adapter = first("/api/hub/repos/?kind=model&role=adapter")
    dataset = first("/api/hub/repos/?kind=dataset")
    talk = first("/api/playground/conversations/?page_size=1")
    pages = {
        "home": "/",
        "jobs": "/jobs",
        "job": f"/jobs/{job}" if job else None,
        "job-log": f"/jobs/{job}?tab=log" if job else None,
        "job-ended": f"/jobs/{ended}" if ended else None,
        "job-ended-log": f"/jobs/{ended}?tab=log" if ended else None,
        "job-samples": f"/jobs/{ended}?tab=samples" if ended else None,
        "job-artifacts": f"/jobs/{ended}?tab=artifacts" if ended else None,
        "job-spec": f"/jobs/{ended}?tab=spec" if ended else None,
        "job-runs": f"/jobs/{ended}?tab=runs" if ended else None,
        "job-failed": f"/jobs/{failed}" if failed else None,
        "launch": f"/launch?model={base}&dataset={dataset}",
        "models": "/models",
        "model": f"/models/{base}" if base else None,
        "adapter": f"/models/{adapter}" if adapter else None,
        "adapter-provenance": f"/models/{adapter}?tab=provenance" if adapter else None,
        "datasets": "/datasets",
        "dataset": f"/datasets/{dataset}" if dataset else None,
        "dataset-report": f"/datasets/{dataset}?tab=report" if dataset else None,
        "dataset-new": "/datasets/new",
        "labelling": "/labelling",
        "labelling-new": "/labelling/new",
        "playground": "/playground",
        "conversation": f"/playground/{talk}" if talk else None,
        "imports": "/imports",
        "points": "/points",
        "profile": "/profile",
        "users": "/users",
        "nodes": "/nodes",
        "deployments": "/deployments",
        "not-found": "/nowhere",
    }
    return {name: path for name, path in pages.items() if path}


def take(page: Page, url: str, path: str, to: Path) -> None:
    """Open one address, let it settle, and take its picture."""
    page.goto(url + path)
    page.wait_for_selector("h1", state="attached")
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=15_000)
    page.wait_for_timeout(700)
    page.screenshot(path=to)


def main() -> None:
    """Parse the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--signin", help="a one-time sign-in link")
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots")
    parser.add_argument("--only", default="", help="pages whose name holds this word")
    parser.add_argument("--look", default="", help="looks whose name holds this word")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    url = options.url.rstrip("/")
    with open_browser() as browser:
        context = browser.new_context(viewport=WIDE)
        page = context.new_page()
        complaints = listen_for_complaints(page)
        if options.signin:
            page.goto(options.signin)
            page.get_by_role("button").click()
            page.wait_for_url(f"{url}/")
        pages = find_pages(context, url)
        for look, (size, theme, language) in LOOKS.items():
            if options.look not in look:
                continue
            page.set_viewport_size(size)
            page.goto(url)
            page.evaluate(
                "([theme, language]) => { localStorage.setItem('athanor.theme', theme);"
                " localStorage.setItem('athanor.language', language); }",
                [theme, language],
            )
            for name, path in pages.items():
                if options.only in name:
                    take(page, url, path, options.out / f"{name}-{look}.png")
    print(f"pictures of {len(pages)} pages are in {options.out}")
    for complaint in dict.fromkeys(complaints):
        print("the console said", complaint)


if __name__ == "__main__":
    main()
