"""How long a person waits: launch to first line and first loss, a line written to a line seen.

    python bench/first_light.py --url http://127.0.0.1:8600 --token ath_... --signin-link http://...

Runs against a studio that is already up, through its public API, a WebSocket and headless
Chromium. A log line's age is the browser's clock when it is drawn minus the time its recorder
stamped on it, on one machine. Prints one table and, as its last line, one JSON object.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
import uuid
from typing import Any

import httpx
import websockets
from playwright.async_api import Page, async_playwright
from rich.console import Console
from rich.table import Table

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Notes when each numbered line of the log first stands in the page.
WATCH_LINES = """
() => {
  window.seenLines = {};
  const note = () => {
    for (const row of document.querySelectorAll('.log-line[data-index]')) {
      const line = row.dataset.index;
      const isLoaded = row.querySelector('.log-text').textContent !== '\u2026';
      if (isLoaded && !(line in window.seenLines)) window.seenLines[line] = Date.now() / 1000;
    }
  };
  const all = {childList: true, subtree: true, characterData: true, attributes: true};
  new MutationObserver(note).observe(document.body, all);
  note();
}
"""


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def make_spec(model: str, dataset: str, *, steps: int, tokens: int) -> dict[str, Any]:
    """Return a finetune of many small steps: each writes one line."""
    return {
        "kind": "train",
        "model": model,
        "dataset": dataset,
        "output": "bench-first-light",
        "num_epochs": 1000,
        "max_steps": steps,
        "tokens_per_step": tokens,
        "micro_batch_tokens": tokens,
        "max_length": tokens,
        "eval_fraction": 0.0,
        "save_every_steps": 100_000,
        "lora": {"rank": 4, "alpha": 8.0},
    }


async def launch(client: httpx.AsyncClient, spec: dict[str, Any], flavor: str) -> dict[str, Any]:
    """Submit a job and return it."""
    answer = await client.post(
        "/api/jobs/",
        json={"spec": spec, "flavor": flavor},
        headers={"Idempotency-Key": uuid.uuid4().hex},
    )
    answer.raise_for_status()
    return answer.json()


async def watch(url: str, token: str, run_id: str, clicked: float) -> dict[str, float]:
    """Follow a run's socket until its first loss; return seconds from the click."""
    address = f"{url.replace('http', 'ws', 1)}/ws/runs/{run_id}/?after=0"
    first: dict[str, float] = {}
    headers = {"Authorization": f"Bearer {token}"}
    async with websockets.connect(address, additional_headers=headers, max_size=None) as socket:
        async for raw in socket:
            for event in json.loads(raw).get("events", []):
                if event["type"] == "log":
                    first.setdefault("first_log_s", time.time() - clicked)
                if event["type"] == "metric" and "loss" in event["values"]:
                    first["first_loss_s"] = time.time() - clicked
                    return first
    return first


async def wait_until_ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """Poll the job until its status is final."""
    while True:
        job = (await client.get(f"/api/jobs/{job_id}/")).json()
        if job["status"] in {"succeeded", "failed", "stopped"}:
            return job
        await asyncio.sleep(0.5)


async def sign_in(page: Page, signin_link: str) -> None:
    """Use a one-time link."""
    await page.goto(signin_link)
    await page.locator("button[type=submit]").click()
    await page.wait_for_url(lambda address: "signin" not in address)


async def line_ages(
    client: httpx.AsyncClient, url: str, signin_link: str, spec: dict[str, Any], flavor: str
) -> list[float]:
    """Return, for each log line drawn while the run wrote, seconds from written to drawn."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=os.environ.get("ATHANOR_CHROMIUM", "/usr/bin/chromium"),
            args=CHROMIUM_FLAGS,
        )
        page = await browser.new_page()
        await sign_in(page, signin_link)
        job = await launch(client, spec, flavor)
        await page.goto(f"{url}/jobs/{job['id']}?tab=log")
        await page.evaluate(WATCH_LINES)
        await wait_until_ended(client, job["id"])
        await asyncio.sleep(1)
        seen: dict[str, float] = await page.evaluate("() => window.seenLines")
        opened = min(seen.values(), default=0.0)
        await browser.close()
    written = await line_times(client, job["run"]["id"])
    # What was written before the page was there measures the page, not the line.
    return [
        at - written[int(line)]
        for line, at in seen.items()
        if int(line) in written and written[int(line)] > opened
    ]


async def line_times(client: httpx.AsyncClient, run_id: str) -> dict[int, float]:
    """Return the time each line's last byte was recorded, by line number."""
    times: dict[int, float] = {}
    after = 0
    while True:
        answer = (await client.get(f"/api/runs/{run_id}/events/?after={after}&limit=500")).json()
        for event in answer["events"]:
            if event["type"] == "log":
                for index in range(event["text"].count("\n")):
                    times.setdefault(event["first_line"] + index, event["time"])
        if not answer["events"]:
            return times
        after = answer["next_seq"]


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Take all figures."""
    headers = {"Authorization": f"Bearer {options.token}"}
    figures: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=options.url, headers=headers, timeout=60) as client:
        short = make_spec(options.model, options.dataset, steps=3, tokens=512)
        firsts = []
        for _ in range(options.launches):
            clicked = time.time()
            job = await launch(client, short, options.flavor)
            firsts.append(await watch(options.url, options.token, job["run"]["id"], clicked))
            await wait_until_ended(client, job["id"])
        for name in ("first_log_s", "first_loss_s"):
            figures[f"launch_to_{name}"] = statistics.median(first[name] for first in firsts)
        if options.signin_link:
            long = make_spec(options.model, options.dataset, steps=options.lines, tokens=64)
            ages = await line_ages(client, options.url, options.signin_link, long, options.flavor)
            figures["lines_seen"] = len(ages)
            figures["line_to_browser_p50_s"] = percentile(ages, 0.5)
            figures["line_to_browser_p95_s"] = percentile(ages, 0.95)
    return figures


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--signin-link", help="one-time link of the same user, for the browser")
    parser.add_argument("--model", default="athanor/SmolLM2-135M-Instruct")
    parser.add_argument("--dataset", default="athanor/athanor-guide")
    parser.add_argument("--flavor", default="cpu-2")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--launches", type=int, default=3)
    figures = asyncio.run(measure(parser.parse_args()))
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
