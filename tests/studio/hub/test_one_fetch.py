"""Many runs of a node wait for one model: it comes over the network once."""

import os
import subprocess
import sys
from collections import Counter

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
