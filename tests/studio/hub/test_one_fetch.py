"""Many runs of a node wait for one model: it comes over the network once."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo
from engine.specs import Placement
from studio.hub.models import Kind, Visibility
from tests.studio.asgi import make_token
from tests.studio.hub.made import push

RUNS = 4
FETCH = """
import sys
from engine.emitter import Emitter
from engine.hub import fetch_repo
from engine.specs import Placement
url, token, cache = sys.argv[1:]
placement = Placement(run_dir=cache, hub_url=url, hub_token=token, cache_dir=cache)
print(fetch_repo("alice/model", "model", placement, Emitter()).path)
"""


def test_one_download_serves_many_waiting_runs(hub, alice, caplog, tmp_path):
    small, large = os.urandom(900_000), os.urandom(3 * 2**20)  # whole, and in chunks by Xet
    files = {"tokenizer.json": small, "model.safetensors": large}
    push(alice, "alice/model", files, kind=Kind.MODEL, visibility=Visibility.PUBLIC)
    caplog.clear()
    command = [sys.executable, "-c", FETCH, hub, make_token(alice), str(tmp_path / "cache")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(RUNS)]
    paths = {run.communicate(timeout=120)[0].strip().splitlines()[-1] for run in runs}
    assert [run.returncode for run in runs] == [0] * RUNS
    (path,) = paths
    for name, content in files.items():
        with open(f"{path}/{name}", "rb") as file:
            assert file.read() == content
    requests = [record.msg for record in caplog.records if record.name == "studio.request"]
    gets = Counter(said["path"] for said in requests if said["method"] == "GET")
    (resolved,) = (num for path, num in gets.items() if path.endswith("/tokenizer.json"))
    assert resolved == 1
    assert [num for path, num in gets.items() if "/reconstructions/" in path] == [1]


def test_a_server_gets_gguf_files_where_a_model_has_no_others(hub, alice, tmp_path):
    card, weights = b"# A model\n", os.urandom(200_000)
    one, both = {"README.md": card, "m.Q4_1.gguf": weights}, {"m.gguf": weights}
    push(alice, "alice/gguf", one, kind=Kind.MODEL, visibility=Visibility.PUBLIC)
    both |= {"model.safetensors": weights, "config.json": b"{}"}
    push(alice, "alice/both", both, kind=Kind.MODEL, visibility=Visibility.PUBLIC)
    placement = Placement(
        run_dir=tmp_path, hub_url=hub, hub_token=make_token(alice), cache_dir=tmp_path / "cache"
    )
    found = {
        (name, takes): {
            path.name
            for path in fetch_repo(
                name, "model", placement, Emitter(), takes_gguf=takes
            ).path.iterdir()
        }
        for name in ("alice/gguf", "alice/both")
        for takes in (False, True)
    }
    assert "m.Q4_1.gguf" not in found["alice/gguf", False]
    assert "m.Q4_1.gguf" in found["alice/gguf", True]
    push(alice, "alice/many", one | {"m.Q8_0.gguf": weights}, kind=Kind.MODEL)
    with pytest.raises(EngineError, match=r"several GGUF files \(m.Q4_1.gguf, m.Q8_0.gguf\)"):
        fetch_repo("alice/many", "model", placement, Emitter(), takes_gguf=True)
    assert "m.gguf" not in found["alice/both", True] | found["alice/both", False]
