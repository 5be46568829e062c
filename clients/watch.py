"""A run as it goes, in the terminal: its log above, one line with progress and loss below."""

import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from clients.api import Json, StudioApi

FINAL = {"succeeded", "failed", "stopped"}
_POLL_S = 0.4
_SILENCE_S = 300.0


class RunSilent(RuntimeError):
    """Nothing was heard of the run for minutes."""


def watch_job(api: StudioApi, job_id: str, console: Console) -> Json:
    """Show a job's current run until it has ended and all its events were seen; return the job.

    Raises:
        RunSilent: no event and no change of state for five minutes.
    """
    with _make_bar(console) as bar:
        view = _View(bar, console)
        heard = time.monotonic()
        while True:
            job = api.get(f"/api/jobs/{job_id}/")
            run = job["run"]
            answer = api.get(f"/api/runs/{run['id']}/events/", after=view.next_seq, limit=500)
            for event in answer["events"]:
                view.show(event)
            if view.is_news(job["status"], answer["next_seq"]):
                heard = time.monotonic()
            if job["status"] in FINAL and not answer["events"]:
                view.end()
                return dict(job)
            if time.monotonic() - heard > _SILENCE_S:
                raise RunSilent(f"{job['name']} is {job['status']} and silent for five minutes.")
            time.sleep(0.02 if answer["events"] else _POLL_S)


def _make_bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[stage]:<9}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


class _View:
    """What has been shown of one run."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self.next_seq = 0
        self._bar = bar
        self._console = console
        self._status = ""
        self._line = ""
        self._row = bar.add_task("", total=None, stage="queued", count="", numbers="")

    def is_news(self, status: str, next_seq: int) -> bool:
        """Say whether anything changed since the last call."""
        is_new = status != self._status or next_seq != self.next_seq
        self._status, self.next_seq = status, next_seq
        return is_new

    def show(self, event: dict[str, Any]) -> None:
        """Show one event; kinds that a newer studio adds are passed over."""
        match event["type"]:
            case "log":
                self._show_text(event.get("text") or "")
            case "metric":
                self._show_numbers(event["step"], event["values"])
            case "progress":
                self._show_progress(event)
            case "sample":
                self._console.print(f"[dim]sample[/] {escape(event['completion'])}")
            case "status":
                why = event.get("message") or event.get("reason") or ""
                self._console.print(f"[bold]{event['status']}[/] {escape(why)}")

    def end(self) -> None:
        """Show what is left of a last line without a newline."""
        if self._line:
            self._show_text("\n")

    def _show_text(self, text: str) -> None:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            # Of a bar that draws itself over and over, the last state is what one would see.
            shown = line.rstrip("\r").rpartition("\r")[2]
            self._console.print(f"[dim]log[/] {escape(shown)}", highlight=False)

    def _show_numbers(self, step: int, values: dict[str, float]) -> None:
        if "loss" in values:
            speed = values.get("tokens_per_s", 0)
            self._bar.update(self._row, numbers=f"loss {values['loss']:.3f}  {speed:.0f} tokens/s")
        if "eval_loss" in values:
            self._console.print(f"step {step}: evaluation loss {values['eval_loss']:.3f}")

    def _show_progress(self, event: dict[str, Any]) -> None:
        done, total = event["done"], event.get("total")
        of = f"/{total:.0f}" if total else ""
        eta = f" {event['eta_s']:.0f} s left" if event.get("eta_s") else ""
        self._bar.update(
            self._row,
            stage=event["stage"],
            completed=done,
            total=total,
            count=f"{done:.0f}{of} {event.get('unit', '')}{eta}",
        )
