"""How references become folders, and what is said when a hub refuses or stays away.

The whole way through a real hub is gone in `tests/studio/hub` and `tests/journeys`.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import engine.hub as hub
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.specs import Placement
from engine.status import Reason


@pytest.fixture
def answers() -> list[int]:
    """The status codes that the hub answers with, in turn; the last one stays."""
    return [404]


@pytest.fixture
def address(answers) -> Iterator[str]:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def refuse(self):
            code = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = refuse

        def log_message(self, *args):
            return

    with serve(Refusing) as url:
        yield url


@contextmanager
def serve(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def place(tmp_path: Path, url: str) -> Placement:
    return Placement(
        run_dir=tmp_path,
        hub_url=url,
        hub_token="run_x",
        cache_dir=tmp_path / "cache",
        push_to="alice/out",
    )


def test_a_path_is_used_as_it_is(tmp_path):
    found = hub.fetch_repo(str(tmp_path), "model", Placement(run_dir=tmp_path), Emitter())
    assert (found.path, found.repo, found.revision) == (tmp_path, None, None)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EngineError, match="dataset: ./nowhere does not exist") as caught:
        hub.fetch_repo("./nowhere", "dataset", Placement(run_dir=tmp_path), Emitter())
    assert caught.value.reason == Reason.BAD_DATA


@pytest.mark.parametrize(
    ("kind", "reason"), [("model", Reason.BAD_MODEL), ("dataset", Reason.BAD_DATA)]
)
def test_a_repo_that_is_not_there_is_named(tmp_path, address, kind, reason):
    with pytest.raises(EngineError, match=f"{kind}: alice/none does not exist") as caught:
        hub.fetch_repo("alice/none", kind, place(tmp_path, address), Emitter())
    assert caught.value.reason == reason


def test_what_is_no_hub_is_told_as_such(tmp_path):
    about = {"id": "a/b", "sha": "0" * 40, "siblings": [{"rfilename": "config.json"}]}

    class Odd(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            tree = [{"type": "file", "path": "config.json", "oid": "0" * 40, "size": 2}]
            body = json.dumps(tree if "/tree/" in self.path else about).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self):  # a sign-in page, say: 200 and none of a hub's headers
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            return

    with serve(Odd) as url, pytest.raises(EngineError, match="a/b cannot be fetched") as caught:
        hub.fetch_repo("a/b", "model", place(tmp_path, url), Emitter())
    assert caught.value.reason == Reason.BAD_MODEL


def test_a_hub_that_is_busy_is_asked_again(tmp_path, address, answers, monkeypatch):
    answers[:] = [503, 503, 404]
    monkeypatch.setattr(hub.time, "sleep", lambda seconds: None)
    with pytest.raises(EngineError, match="does not exist"):
        hub.fetch_repo("alice/none", "model", place(tmp_path, address), Emitter())
    assert answers == [404]


def test_a_hub_that_stays_away_fails_the_launch(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_RETRY_FOR_S", 0.0)
    with pytest.raises(EngineError, match="did not answer") as caught:
        hub.fetch_repo("a/b", "model", place(tmp_path, "http://127.0.0.1:9"), Emitter())
    assert caught.value.reason == Reason.LAUNCH_FAILED


def test_a_hub_that_stays_away_at_the_end_loses_no_adapter(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_RETRY_FOR_S", 0.0)
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("kept")
    with pytest.raises(EngineError) as caught:
        hub.push_folder(out, "adapter", place(tmp_path, "http://127.0.0.1:9"), Emitter())
    assert caught.value.reason == Reason.ARTIFACT_LOST
    assert (out / "README.md").read_text() == "kept"


def test_without_a_repo_to_push_to_nothing_is_sent(tmp_path):
    assert hub.push_folder(tmp_path, "adapter", Placement(run_dir=tmp_path), Emitter()) is None


def test_a_hub_of_our_own_never_gets_another_hubs_token(tmp_path):
    assert hub._token(Placement(run_dir=tmp_path, hub_url="http://studio")) is False
