"""What a person sees of a run in a terminal: log, progress bar, latest numbers, the end."""

from pathlib import Path
from typing import Any, Self

from rich import console as rich_console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from engine.events import Log
from engine.status import FINAL, Status

# Metric -> how it is shown behind the bar.
_SHOWN_METRICS = {
    "loss": "loss {:.3f}",
    "eval_loss": "eval {:.3f}",
    "tokens_per_s": "{:,.0f} tok/s",
}


class Console:
    """Shows events as they are recorded. Outside a terminal it writes the log and the end only."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._out = rich_console.Console()
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self._out,
            disable=not self._out.is_terminal,
            transient=True,
        )
        self._stages: dict[str, Any] = {}
        self._numbers: dict[str, float] = {}
        self._line = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        shower = getattr(self, f"_show_{event['type']}", None)
        if shower is not None:
            shower(event)

    def _show_log(self, event: dict[str, Any]) -> None:
        text = Log.model_validate(event).to_bytes().decode(errors="replace")
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._out.print(Text(line.rpartition("\r")[2]), soft_wrap=True)

    def _show_progress(self, event: dict[str, Any]) -> None:
        stage = event["stage"]
        if stage not in self._stages:
            for task in self._stages.values():
                self._bar.update(task, visible=False)
            self._stages[stage] = self._bar.add_task(stage, total=None, numbers="")
        numbers = "  ".join(
            form.format(self._numbers[name])
            for name, form in _SHOWN_METRICS.items()
            if name in self._numbers
        )
        self._bar.update(
            self._stages[stage],
            visible=True,
            completed=event["done"],
            total=event.get("total"),
            numbers=numbers,
        )

    def _show_metric(self, event: dict[str, Any]) -> None:
        self._numbers |= event["values"]

    def _show_sample(self, event: dict[str, Any]) -> None:
        answer = " ".join(event["completion"].split())
        self._out.print(Text(f"step {event['step']}  {event['prompt']} -> {answer}"))

    def _show_endpoint(self, event: dict[str, Any]) -> None:
        self._out.print(Text(f"Serving {', '.join(event['models'])} at {event['url']}"))

    def _show_status(self, event: dict[str, Any]) -> None:
        if Status(event["status"]) not in FINAL:
            return
        if self._line:
            self._out.print(Text(self._line))
        words = [event["status"], event["reason"].replace("_", " "), event["message"]]
        style = "bold red" if event["status"] == Status.FAILED else "bold green"
        self._out.print(Text(": ".join(filter(None, words)), style=style), soft_wrap=True)
        self._out.print(Text(f"Everything is in {self._run_dir}"), soft_wrap=True)


def show_import(source: Path, target: Path) -> None:
    """Import a GGUF file with a progress bar.

    Raises:
        EngineError: the file cannot be imported.
    """
    from engine.errors import EngineError
    from engine.models.gguf import import_gguf
    from engine.status import Reason

    with Progress(console=rich_console.Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        try:
            import_gguf(source, target, on_progress)
        except ValueError as error:
            raise EngineError(Reason.BAD_MODEL, str(error)) from error
