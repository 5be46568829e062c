"""A node's folder, orders for it, and a studio to talk to."""

import contextlib
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.specs import TrainSpec
from tests.workers.studio_double import StudioDouble, serve_double
from workers.config import NodeConfig
from workers.node_dir import NodeDir
from workers.orders import RunOrder
from workers.process_identity import signal_session
from workers.studio_client import StudioClient


@pytest.fixture
async def studio() -> AsyncIterator[StudioDouble]:
    async with serve_double() as double:
        yield double


@pytest.fixture
async def client(studio: StudioDouble) -> AsyncIterator[StudioClient]:
    async with StudioClient(studio.url) as client:
        yield client


@pytest.fixture
def config(tmp_path: Path, studio: StudioDouble) -> NodeConfig:
    return NodeConfig(
        studio_url=studio.url,
        node_token="node_test",
        broker_url="redis://127.0.0.1:1/0",
        node_name="test",
        node_dir=tmp_path / "node",
    )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeDir]:
    """A node's folder; whatever still runs from it is ended with the test."""
    node = NodeDir(tmp_path / "node")
    node.create()
    yield node
    for path in node.runs.iterdir():
        run = node.find_run(path.name)
        if run and (processes := run.read_processes()):
            with contextlib.suppress(ProcessLookupError):
                signal_session(processes.recorder, signal.SIGKILL)


@pytest.fixture
def make_order() -> Callable[..., RunOrder]:
    def make(**fields: Any) -> RunOrder:
        run_id = fields.pop("run_id", str(uuid.uuid4()))
        values: dict[str, Any] = {
            "run_id": run_id,
            "job_id": str(uuid.uuid4()),
            "run_index": 1,
            "spec": TrainSpec(model="athanor/tiny", dataset="alice/talks"),
            "run_token": f"run_{run_id}",
            "issued_at": time.time(),
            "expires_at": time.time() + 600,
        }
        return RunOrder(**(values | fields))

    return make
