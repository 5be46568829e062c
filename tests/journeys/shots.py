"""Take pictures of every page, wide and narrow, light and dark, Chinese and English.

    python tests/journeys/shots.py http://127.0.0.1:8600 --signin LINK

The pictures land in screenshots/ (not in git). Not a test: it judges nothing.
"""

import argparse
import re
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


PAGES = {
    "home": "/",
    "jobs": "/jobs",
    "job": "/jobs/{job}",
    "job-log": "/jobs/{job}?tab=log",
    "job-ended": "/jobs/{ended}",
    "job-ended-log": "/jobs/{ended}?tab=log",
    "job-samples": "/jobs/{ended}?tab=samples",
    "job-artifacts": "/jobs/{ended}?tab=artifacts",
    "job-spec": "/jobs/{ended}?tab=spec",
    "job-runs": "/jobs/{ended}?tab=runs",
    "job-failed": "/jobs/{failed}",
    "launch": "/launch?model={base}&dataset={dataset}",
    "launch-script": "/launch?kind=script",
    "machines": "/machines",
    "machine-new": "/machines/new",
    "machine": "/machines/{machine}",
    "machine-terminal": "/machines/{machine}/terminal",
    "models": "/models",
    "model": "/models/{base}",
    "model-files": "/models/{base}?tab=files",
    "model-file": "/models/{base}?tab=files&path=config.json",
    "model-tensors": "/models/{base}?tab=files&path=model.safetensors",
    "model-history": "/models/{base}?tab=history",
    "adapter": "/models/{adapter}",
    "adapter-provenance": "/models/{adapter}?tab=provenance",
    "datasets": "/datasets",
    "dataset": "/datasets/{dataset}",
    "dataset-report": "/datasets/{dataset}?tab=report",
    "dataset-rows": "/datasets/{dataset}?tab=rows",
    "dataset-files": "/datasets/{dataset}?tab=files",
    "dataset-new": "/datasets/new",
    "drive": "/drive",
    "drive-trash": "/drive?view=trash",
    "drive-links": "/drive?view=shares",
    "imports": "/imports",
    "organizations": "/organizations",
    "organization": "/organizations/{organization}",
    "labelling": "/labelling",
    "labelling-new": "/labelling/new",
    "labelling-project": "/labelling/{project}",
    "labelling-work": "/labelling/{project}/work",
    "playground": "/playground",
    "conversation": "/playground/{talk}",
    "points": "/points",
    "profile": "/profile",
    "users": "/users",
    "nodes": "/nodes",
    "images": "/images",
    "deployments": "/deployments",
    "not-found": "/nowhere",
}
THINGS = {
    "job": "/api/jobs/?page_size=1",
    "ended": "/api/jobs/?status=succeeded&page_size=1",
    "failed": "/api/jobs/?status=failed&page_size=1",
    "machine": "/api/machines/",
    "base": "/api/hub/repos/?kind=model&role=base",
    "adapter": "/api/hub/repos/?kind=model&role=adapter",
    "dataset": "/api/hub/repos/?kind=dataset",
    "organization": "/api/organizations/",
    "project": "/api/labelling/projects/",
    "talk": "/api/playground/conversations/?page_size=1",
}


def find_pages(context: BrowserContext, url: str) -> dict[str, str]:
    """Name every page worth a picture, with the things this studio really has."""

    def first(path: str) -> str | None:
        answer = context.request.get(url + path).json()
        rows = answer.get("results", []) if isinstance(answer, dict) else answer
        return (rows[0].get("id") or rows[0].get("key") or rows[0]["name"]) if rows else None

    has = {thing: found for thing, path in THINGS.items() if (found := first(path))}
    wanted = {name: re.findall(r"{(\w+)}", path) for name, path in PAGES.items()}
    return {name: PAGES[name].format(**has) for name in PAGES if set(wanted[name]) <= set(has)}


def take(page: Page, url: str, path: str, to: Path) -> None:
    """Open one address, let it settle, and take its picture."""
    page.goto(url + path)
    page.wait_for_selector("h1, h2", state="attached")
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
