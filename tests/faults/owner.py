"""A person who launches runs, and what the studio says of them beside what the node holds."""

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from engine.events import EVENT, Event, Log
from tests.live import LiveStudio, wait_for
from workers.process_identity import ProcessIdentity
from workers.run_dir import RunDir, RunProcesses

MODEL, DATASET = "athanor/tiny", "athanor/athanor-guide"
FINAL = {"succeeded", "failed", "stopped"}
PLENTY_MPOINTS = 10_000_000_000
TICK_S = 10.0  # how often the studio charges

Json = dict[str, Any]


@dataclass
class Owner:
    """One person, over the public API."""

    studio: LiveStudio
    name: str
    http: httpx.Client

    def make_spec(self, *, max_steps: int, output: str = "taught") -> Json:
        """A finetune of the tiny model: a step takes some ten milliseconds."""
        small = {"tokens_per_step": 512, "micro_batch_tokens": 512, "max_length": 512}
        return {
            "kind": "train",
            "model": MODEL,
            "dataset": DATASET,
            "output": output,
            "num_epochs": 1000,
            "max_steps": max_steps,
            "eval_every_steps": 500,
            **small,
        }

    def submit(self, spec: Json) -> httpx.Response:
        """Ask for a job."""
        return self.http.post(
            "/api/jobs/",
            json={"spec": spec, "flavor": "cpu-1"},
            headers={"Idempotency-Key": secrets.token_hex(8)},
        )

    def launch(self, *, max_steps: int = 100_000, output: str = "taught") -> "Launched":
        """Launch a job that takes long unless it is stopped."""
        answer = self.submit(self.make_spec(max_steps=max_steps, output=output))
        assert answer.status_code == 201, answer.text
        return Launched(self, answer.json()["id"])


@dataclass
class Launched:
    """A job of an owner, seen from the API and from the node's disk."""

    owner: Owner
    job_id: str

    def get(self) -> Json:
        answer = self.owner.http.get(f"/api/jobs/{self.job_id}/")
        answer.raise_for_status()
        return dict(answer.json())

    def stop(self) -> None:
        answer = self.owner.http.post(f"/api/jobs/{self.job_id}/stop/")
        assert answer.is_success, answer.text

    @property
    def run_id(self) -> str:
        return str(self.get()["run"]["id"])

    def run_dir(self) -> RunDir:
        return RunDir(self.owner.studio.data_dir / "node" / "runs" / self.run_id)

    def processes(self) -> RunProcesses:
        processes = self.run_dir().read_processes()
        assert processes is not None
        return processes

    def engine(self) -> ProcessIdentity:
        engine = self.processes().engine
        assert engine is not None
        return engine

    def next_seq(self) -> int:
        return int(self.get()["run"]["next_seq"])

    def wait(self, what: str, check: Callable[[Json], Any], *, timeout_s: float = 120.0) -> Json:
        """Wait until the job, as the API shows it, passes the check; return it."""
        latest: Json = {}

        def look() -> bool:
            latest.update(self.get())
            return bool(check(latest))

        try:
            wait_for(what, look, timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the job is {latest}") from None
        return latest

    def wait_training(self) -> None:
        """Wait until steps are reported."""
        self.wait("the first steps", lambda job: job["run"]["latest_metrics"].get("loss"))

    def wait_fresh_events(self, *, timeout_s: float) -> None:
        """Wait until the studio has events that were not there at the call."""
        seen = self.next_seq()
        self.wait("fresh events", lambda job: job["run"]["next_seq"] > seen, timeout_s=timeout_s)

    def wait_final(self, *, timeout_s: float = 300.0) -> Json:
        """Wait until the run has ended and its log has been checked."""
        return self.wait(
            "the end",
            lambda job: job["status"] in FINAL and job["run"]["log_complete"] is not None,
            timeout_s=timeout_s,
        )

    def read_events(self) -> list[Event]:
        """Return what the recorder wrote."""
        lines = self.run_dir().events_path.read_bytes().splitlines()
        return [EVENT.validate_json(line) for line in lines]

    def download_log(self) -> bytes:
        answer = self.owner.http.get(f"/api/runs/{self.run_id}/log/download/")
        answer.raise_for_status()
        return answer.content

    def read_api_events(self) -> list[Json]:
        """Return every event through the API, page by page."""
        events: list[Json] = []
        while True:
            answer = self.owner.http.get(
                f"/api/runs/{self.run_id}/events/", params={"after": len(events), "limit": 500}
            )
            answer.raise_for_status()
            page = answer.json()["events"]
            if not page:
                return events
            events += page


def check_log(launched: Launched) -> None:
    """The studio's log is what the recorder wrote: every byte, in order, and it says so itself."""
    written = launched.read_events()
    stored = launched.read_api_events()
    assert [event["seq"] for event in stored] == [event.seq for event in written]
    assert [event["type"] for event in stored] == [event.type for event in written]
    log = b"".join(event.to_bytes() for event in written if isinstance(event, Log))
    assert launched.download_log() == log
    last = json.loads(launched.run_dir().events_path.read_bytes().splitlines()[-1])
    assert last["log_sha256"] == hashlib.sha256(log).hexdigest()
    run = launched.get()["run"]
    assert run["log_complete"] is True
    assert run["log_bytes"] == len(log)


def check_charge(launched: Launched) -> None:
    """The owner paid for the time between the first and the last event, within one tick."""
    job = launched.wait(
        "the settlement", lambda job: job["held_mpoints"] == 0 and job["cost_mpoints"] > 0
    )
    events = launched.read_events()
    seconds = events[-1].time - events[0].time
    rate = job["price_mpoints_per_hour"] / 3600
    assert abs(job["cost_mpoints"] - seconds * rate) <= TICK_S * rate + 1


def check_statement(owner: Owner) -> None:
    """The lines of the statement add up to the balance."""
    balance = owner.http.get("/api/points/").json()
    lines: list[Json] = []
    while True:
        page = owner.http.get(
            "/api/points/statement/", params={"page": len(lines) // 100 + 1, "page_size": 100}
        ).json()
        lines += page["results"]
        if len(lines) >= page["count"]:
            break
    available = sum(line["available_change_mpoints"] for line in lines)
    held = sum(line["held_change_mpoints"] for line in lines)
    written = balance["held_mpoints"] + balance["unwritten_mpoints"]
    assert (available, held) == (balance["available_mpoints"], written)


def make_owner(studio: LiveStudio, name: str, mpoints: int = PLENTY_MPOINTS) -> Owner:
    """Return a person with points."""
    owner = Owner(studio, name, studio.client(name))
    if mpoints:
        studio.grant(name, mpoints)
    return owner


def import_tiny_model(studio: LiveStudio, folder: Path) -> None:
    """Put the two-layer model into the studio's hub."""
    from engine.models.tiny import save_tiny

    save_tiny(folder)
    card = "---\nlicense: apache-2.0\n---\nA random two-layer model for tests.\n"
    (folder / "README.md").write_text(card)
    studio.manage("hub_import", str(folder), MODEL, "--kind", "model")
