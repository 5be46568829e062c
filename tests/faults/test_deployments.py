"""A model's server through its whole life, in real parts: the studio's clock stops it when nobody
uses it, the next request wakes it, a pushed revision takes over once it has passed, and an
operator goes back and sets how it is served."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import httpx
import pytest
from huggingface_hub import HfApi

from engine.models.tiny import save_tiny
from tests.faults.owner import Json, Owner
from tests.live import ROOT, LiveStudio, wait_for
from workers.run_dir import RunDir

pytestmark = [pytest.mark.fault, pytest.mark.slow]

# A random model with wide weights says something; with narrow ones it repeats the end of the
# prompt, which is a line break, and that does not pass the gate.
TALKS, MUMBLES = {"initializer_range": 0.2}, {}
PATIENCE_S = 240.0
OPEN = ("starting", "ready")


class Asked:
    """A model of alice's on a live studio: what is pushed to it, asked of it and told of it."""

    def __init__(self, studio: LiveStudio, alice: Owner, name: str, folder: Path) -> None:
        # The studio outlives the test, which may be run again.
        self.studio, self.name, self.folder = studio, f"alice/{name}-{token_hex(3)}", folder
        self.alice = alice
        self.boss = studio.client("root", role="administrator")
        self.hub = HfApi(endpoint=studio.url, token=studio.make_token("alice"))
        self.hub.create_repo(self.name, private=False)

    def push(self, folder: Path) -> str:
        """Push a folder and return its commit."""
        pushed = self.hub.upload_folder(
            repo_id=self.name, folder_path=folder, commit_message="weights"
        )
        return str(pushed.oid)

    def push_tiny(self, seed: int, shape: Json) -> str:
        folder = self.folder / f"seed-{seed}-{len(shape)}"
        return self.push(save_tiny(folder, seed=seed, **shape))

    def send(self) -> httpx.Response:
        return self.alice.http.post(
            "/v1/chat/completions",
            json={
                "model": self.name,
                "messages": [{"role": "user", "content": "Hello!"}],
                "max_tokens": 12,
                "temperature": 0,
            },
            timeout=PATIENCE_S,
        )

    def ask(self) -> str:
        """Return the answer of a server that is up."""
        answer = self.send()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def ask_until_up(self) -> str:
        """Return the answer of a server that may have to start, on a machine that may be slow."""

        def answered() -> httpx.Response | None:
            answer = self.send()
            assert answer.status_code in {200, 503}, answer.text
            return answer if answer.status_code == 200 else None

        answer = wait_for(f"{self.name} to answer", answered, timeout_s=PATIENCE_S)
        return str(answer.json()["choices"][0]["message"]["content"])

    def list_deployments(self) -> list[Json]:
        """Return its deployments, newest first."""
        answer = self.boss.get("/api/deployments/", params={"page_size": 100})
        return [one for one in answer.json()["results"] if one["model"] == self.name]

    def get_deployment(self, revision: str = "") -> Json:
        """Return its newest deployment, or the newest of a revision."""
        return next(one for one in self.list_deployments() if one["revision"].startswith(revision))

    def wait_status(self, deployment_id: str, *statuses: str) -> Json:
        def look() -> Json | None:
            found = next(one for one in self.list_deployments() if one["id"] == deployment_id)
            return found if found["status"] in statuses else None

        return dict(wait_for(f"a server that is {statuses}", look, timeout_s=PATIENCE_S))

    def get_rollout(self) -> Json:
        answer = self.boss.get("/api/rollouts/", params={"page_size": 100})
        return next(one for one in answer.json()["results"] if one["model"] == self.name)

    def set_serving(self, client: httpx.Client, spec: Json, flavor: str | None = None) -> None:
        """Set how it is served."""
        body = {"spec": spec, "flavor": flavor}
        answer = client.put(f"/api/serving/settings/{self.name}/", json=body)
        assert answer.status_code == 200, answer.text

    def get_run_dir(self, deployment: Json) -> RunDir:
        answer = self.boss.get(f"/api/jobs/{deployment['job_id']}/")
        run_id = answer.json()["run"]["id"]
        return RunDir(self.studio.data_dir / "node" / "runs" / run_id)

    def is_engine_alive(self, deployment: Json) -> bool:
        processes = self.get_run_dir(deployment).read_processes()
        assert processes is not None and processes.engine is not None
        return processes.engine.is_alive()

    def stop_all(self) -> None:
        for one in self.list_deployments():
            if one["status"] in OPEN:
                self.boss.post(f"/api/deployments/{one['id']}/stop/")


@pytest.fixture
def make_model(
    furnace: LiveStudio, alice: Owner, tmp_path: Path
) -> Iterator[Callable[[str], Asked]]:
    """`make_model(name)` is a new model of alice's; its servers end with the test."""
    made: list[Asked] = []

    def make(name: str) -> Asked:
        made.append(Asked(furnace, alice, name, tmp_path))
        return made[-1]

    yield make
    for model in made:
        model.stop_all()


def test_a_server_that_nobody_uses_ends_and_the_next_request_wakes_it(furnace, make_model):
    model = make_model("dozes")
    model.push_tiny(0, TALKS)
    said = model.ask_until_up()
    first = model.get_deployment()
    assert first["status"] == "ready" and model.is_engine_alive(first)

    furnace.manage(
        "shell",
        "-c",
        "from datetime import timedelta; from studio.serving.models import Deployment; "
        f"found = Deployment.objects.filter(pk={first['id']!r}); "
        "found.update(last_used_at=found.get().last_used_at - timedelta(minutes=31))",
    )
    ended = model.wait_status(first["id"], "stopped")
    assert ended["told"]["code"] == "server_idle"
    run = model.boss.get(f"/api/jobs/{first['job_id']}/").json()["run"]
    assert (run["status"], run["reason"]) == ("stopped", "idle")
    assert not model.is_engine_alive(first)

    assert model.ask_until_up() == said
    woken = model.get_deployment()
    assert woken["id"] != first["id"] and woken["revision"] == first["revision"]


def test_a_pushed_revision_takes_over_once_it_has_passed_and_an_operator_goes_back(make_model):
    model = make_model("moves")
    first = model.push_tiny(0, TALKS)
    old = model.ask_until_up()

    mumbling = model.push_tiny(0, MUMBLES)
    assert model.ask() == old  # which begins the trial

    def is_refused() -> bool:
        assert model.ask() == old
        return bool(model.get_rollout()["refused"])

    wait_for("the trial to end", is_refused, timeout_s=PATIENCE_S)
    rollout = model.get_rollout()
    assert (rollout["refused"], rollout["served"]) == (mumbling, first)
    assert rollout["told"]["params"]["problem"]["told"]["code"] == "gate_empty"
    assert model.get_deployment(mumbling)["is_retiring"] is True

    second = model.push_tiny(1, TALKS)
    assert model.ask() == old
    assert model.get_rollout()["candidate"] == second

    def has_moved() -> bool:
        served = model.get_rollout()["served"]
        said = model.ask()
        # Asked after the look: one that had moved by then answers from the new revision.
        assert said != old if served == second else True
        return served == second

    wait_for("the new revision to take over", has_moved, timeout_s=PATIENCE_S)
    new = model.ask()
    assert new != old
    before = model.get_deployment(first)
    assert before["is_retiring"] is True and model.is_engine_alive(before)
    assert model.get_deployment(second)["status"] == "ready"

    answer = model.boss.post(f"/api/rollouts/{model.get_rollout()['id']}/rollback/")
    assert answer.json()["served"] == first and answer.json()["is_held"] is True
    assert model.ask() == old  # its server had not ended yet
    kept, left = model.get_deployment(first), model.get_deployment(second)
    assert (kept["id"], kept["is_retiring"], left["is_retiring"]) == (before["id"], False, True)


def quantize(base: Path, run_dir: Path) -> Path:
    """Return the folder of a model in 4 bits, with its report card."""
    small = {"method": "rtn", "num_samples": 4, "num_held_out": 4, "length": 64}
    spec = run_dir.with_suffix(".yaml")
    spec.write_text(
        "\n".join(f"{key}: {value}" for key, value in ({"model": base} | small).items())
    )
    command = [sys.executable, "-m", "engine", "quantize", spec, "--run-dir", run_dir]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return run_dir / "out"


def test_an_owners_threshold_keeps_a_model_that_lost_too_much_from_being_served(
    make_model, tmp_path
):
    model = make_model("rounded")
    base = save_tiny(tmp_path / "base", seed=0, **TALKS)
    model.push(quantize(base, tmp_path / "run"))

    model.set_serving(model.alice.http, {"least_agreement": 0.999, "on_low_agreement": "refuse"})
    assert model.send().status_code == 503
    ended = model.wait_status(model.get_deployment()["id"], "failed")
    assert ended["told"]["code"] == "quality_low"
    assert "asks for 99.9%" in ended["message"]

    model.set_serving(model.alice.http, {"least_agreement": 0.999})
    model.ask_until_up()  # one that failed just now is not started at each request
    log = model.get_run_dir(model.get_deployment()).events_path.read_text()
    assert "it is served all the same" in log


def test_what_an_operator_sets_is_what_the_next_server_does(make_model):
    model = make_model("narrow")
    model.push_tiny(0, TALKS)
    long = {"model": model.name, "prompt": "a" * 100, "max_tokens": 4}
    model.ask_until_up()
    first = model.get_deployment()
    assert model.alice.http.post("/v1/completions", json=long).status_code == 200

    model.set_serving(model.boss, {"max_context": 64, "kv_precision": "int8"}, "cpu-1")
    assert model.get_deployment()["is_outdated"] is True
    assert model.alice.http.post("/v1/completions", json=long).status_code == 200

    restarted = model.boss.post(f"/api/deployments/{first['id']}/restart/").json()
    second = model.wait_status(restarted["id"], "ready")
    model.wait_status(first["id"], "stopped")
    assert second["is_outdated"] is False
    assert model.boss.get(f"/api/jobs/{second['job_id']}/").json()["flavor"] == "cpu-1"
    order = model.get_run_dir(second).read_order()
    assert order is not None and order.spec.kv_precision == "int8"
    refused = model.alice.http.post("/v1/completions", json=long)
    assert refused.status_code == 400, refused.text
