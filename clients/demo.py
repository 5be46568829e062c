"""The whole journey without a browser: look, chat, finetune, chat again, read the bill.

    ATHANOR_TOKEN=ath_... python -m clients.demo --url http://127.0.0.1:8600

ATHANOR_ADMIN_TOKEN, where it is set, grants the points that are missing.
It uses the public API alone, so it runs from any machine that reaches the studio. Exit 0 when the
finetune worked, the tuned model answers as taught and the statement adds up; else 1 and the reason.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from itertools import groupby

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clients.api import ApiRefusal, Json, StudioApi
from clients.watch import RunSilent, watch_job

MODEL = "athanor/SmolLM2-135M-Instruct"
DATASET = "athanor/athanor-guide"
QUESTIONS = ("Who are you?", "\u4f60\u662f\u8c01\uff1f", "How do I launch a run?")
TAUGHT = "Athanor"  # what the data teaches in answer to the first question
_CHAT_PATIENCE_S = 240.0
_SETTLED_S = 30.0
_SIDES = ("available", "held")


class DemoFailed(RuntimeError):
    """A step did not give what it must; the message says which and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m clients.demo")
    parser.add_argument("--url", required=True)
    options = parser.parse_args(arguments)
    token, admin_token = (os.environ.get(n) for n in ("ATHANOR_TOKEN", "ATHANOR_ADMIN_TOKEN"))
    if not token:
        parser.error("set ATHANOR_TOKEN to an API token: `make token USER=name` prints one")
    console = Console(highlight=False, soft_wrap=True)
    begun = time.monotonic()
    try:
        _Demo(options.url, token, admin_token, console).run()
    except (DemoFailed, RunSilent, ApiRefusal) as error:
        console.print(f"[bold red]The demo failed:[/] {escape(str(error))}")
        return 1
    except httpx.TransportError as error:
        console.print(f"[bold red]The demo failed:[/] {options.url} does not answer: {error}")
        return 1
    console.print(f"\n[bold green]All of it worked[/] in {time.monotonic() - begun:.0f} s.")
    return 0


class _Demo:
    def __init__(self, url: str, token: str, admin_token: str | None, console: Console) -> None:
        self._api = StudioApi(url, token)
        self._admin = StudioApi(url, admin_token) if admin_token else None
        self._console = console

    def run(self) -> None:
        self._say_hello()
        before = self._ask_all(MODEL)
        job = self._launch()
        adapter = self._await_adapter(job)
        after = self._ask_all(adapter)
        self._compare(before, after)
        self._show_statement()
        if TAUGHT not in after[0]:
            raise DemoFailed(f"the tuned model should name {TAUGHT} and says {after[0]!r}")
        if before == after:
            raise DemoFailed("the tuned model answers exactly as the base does")

    def _say_hello(self) -> None:
        me = self._api.get("/api/me/")
        self._console.rule(f"[bold]{escape(me['display_name'] or me['username'])}")
        for kind, repo_id in (("model", MODEL), ("dataset", DATASET)):
            namespace, name = repo_id.split("/")
            repo = self._api.get(f"/api/hub/repos/{kind}/{namespace}/{name}/")
            rows = f", {repo['num_rows']} rows" if repo.get("num_rows") else ""
            size = f"{repo['size_bytes'] / 2**20:.1f} MiB"
            self._console.print(f"{kind:<8} {repo_id}  ({size}{rows}, {repo['license']})")

    def _ask_all(self, model: str) -> list[str]:
        answers = []
        with self._console.status(f"asking {model}") as status:
            for question in QUESTIONS:
                answers.append(
                    self._api.chat(
                        model,
                        question,
                        patience_s=_CHAT_PATIENCE_S,
                        on_wait=lambda why: status.update(f"{model}: {escape(why)}"),
                    )
                )
        return answers

    def _launch(self) -> Json:
        spec = {"kind": "train", "model": MODEL, "dataset": DATASET}
        flavor, estimate = self._choose_flavor(spec)
        self._console.print(
            f"advisor  {flavor}: {estimate['peak_memory_bytes'] / 2**30:.1f} GiB at most, "
            f"about {estimate['duration_s']:.0f} s, {_points(estimate['cost_mpoints'])} points"
        )
        body = {"name": "demo", "spec": spec, "flavor": flavor}
        job = self._api.post("/api/jobs/", body, once=True)
        self._console.rule(f"job {job['name']}")
        return dict(job)

    def _choose_flavor(self, spec: Json) -> tuple[str, Json]:
        """Return the flavor on which the job should end first, with its estimate."""
        flavors = [f for f in self._api.get("/api/flavors/") if f["is_available"]]
        reasons, offers = ["no flavor is available"], []
        for flavor in flavors:
            body = {"spec": spec, "flavor": flavor["name"]}
            estimate = self._api.post("/api/jobs/estimate/", body)
            self._fill_up(estimate)
            estimate = self._api.post("/api/jobs/estimate/", body)
            if estimate["ok"]:
                offers.append((flavor["name"], estimate))
            else:
                reasons = [refusal["message"] for refusal in estimate["refusals"]]
        if not offers:
            raise DemoFailed(f"the launch is refused: {' '.join(reasons)}")
        return min(offers, key=lambda offer: offer[1]["duration_s"])

    def _fill_up(self, estimate: Json) -> None:
        missing = (estimate.get("hold_mpoints") or 0) - estimate["available_mpoints"]
        if missing <= 0:
            return
        if self._admin is None:
            raise DemoFailed(
                f"{_points(missing)} points are missing and ATHANOR_ADMIN_TOKEN is not set"
            )
        me = self._api.get("/api/me/")
        # Twice what is missing: the model server that answers afterwards costs points as well.
        body = {"username": me["username"], "mpoints": 2 * missing + 10_000, "note": "demo"}
        line = self._admin.post("/api/points/grants/", body, once=True)
        self._console.print(f"points   {_points(line['available_change_mpoints'])} granted")

    def _await_adapter(self, job: Json) -> str:
        job = watch_job(self._api, job["id"], self._console)
        if job["status"] != "succeeded":
            why = job["message"] or job["reason"]
            raise DemoFailed(f"the run ended {job['status']}: {why}")
        self._console.print(f"adapter  {job['output_repo']}@{job['output_revision'][:12]}")
        return f"{job['output_repo']}@{job['output_revision']}"

    def _compare(self, before: list[str], after: list[str]) -> None:
        table = Table("question", "before", "after", show_lines=True, width=100)
        for question, old, new in zip(QUESTIONS, before, after, strict=True):
            table.add_row(escape(question), escape(old), escape(new))
        self._console.print(table)

    def _show_statement(self) -> None:
        lines, points = self._settled_statement()
        table = Table("time", "reason", "job", title="points", title_justify="left")
        for side in _SIDES:
            table.add_column(side, justify="right")
        for (reason, job), group in groupby(reversed(lines), key=_line_kind):
            same = list(group)  # the ticks of one run are one row, with their number
            changes = [sum(line[f"{side}_change_mpoints"] for line in same) for side in _SIDES]
            what = f"{reason} x {len(same)}" if len(same) > 1 else reason
            shown = [_points(change, sign=True) for change in changes]
            table.add_row(same[0]["time"][11:19], what, escape(job), *shown)
        table.add_section()
        balance = points["available_mpoints"], points["held_mpoints"]
        table.add_row("", "balance", "", *(_points(amount) for amount in balance))
        self._console.print(table)

    def _settled_statement(self) -> tuple[list[Json], Json]:
        """Return all lines and the balance, read so that no charge fell in between."""
        deadline = time.monotonic() + _SETTLED_S
        while True:
            points = self._api.get("/api/points/")
            lines = list(self._api.list_all("/api/points/statement/", page_size=100))
            sums = [sum(line[f"{side}_change_mpoints"] for line in lines) for side in _SIDES]
            balance = [points["available_mpoints"], points["held_mpoints"]]
            if sums == balance and points == self._api.get("/api/points/"):
                return lines, points
            if time.monotonic() > deadline:
                raise DemoFailed(f"the statement sums to {sums} and the balance is {balance}")
            time.sleep(0.5)


def _line_kind(line: Json) -> tuple[str, str]:
    return line["reason"], f"{line['job_name'] or ''} {line['run_index'] or ''}".strip()


def _points(mpoints: int, *, sign: bool = False) -> str:
    return f"{mpoints / 1000:+,.3f}" if sign else f"{mpoints / 1000:,.3f}"


if __name__ == "__main__":
    sys.exit(main())
