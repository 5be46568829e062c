"""A hub elsewhere that breaks off, sends on and lies; a drive and a hub of the test's own."""

import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from studio.drive.spaces import home_path
from studio.hub import remote
from studio.importing import running

MIB = 2**20
BIG = random.Random(7).randbytes(3 * MIB)
FILES = {"config.json": b"{}", "README.md": b"---\nlicense: mit\n---\n# R\n", "sub/m.bin": BIG}


class Elsewhere:
    """What the hub elsewhere holds, how it behaves, and what it was asked."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.breaks: list[int] = []
        """After so many bytes of a file the connection ends, once for each number."""
        self.sends_on = ""
        """Where a request for a file is redirected to, when it comes by the name localhost."""
        self.listing: object = None
        """What it lists instead of its files."""
        self.on_file = lambda path: None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.port = 0

    @property
    def source(self) -> str:
        return f"hf+http://localhost:{self.port}/owner/name"

    def list_entries(self) -> object:
        if self.listing is not None:
            return self.listing
        return [
            {
                "type": "file",
                "path": path,
                "size": len(data),
                "oid": "",
                "lfs": {"oid": hashlib.sha256(data).hexdigest()},
            }
            for path, data in self.files.items()
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: Elsewhere

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append((path, dict(self.headers)))
        if "/revision/" in path:
            self._send(json.dumps({"sha": "a" * 40}).encode())
        elif "/tree/" in path:
            self._send(json.dumps(self.hub.list_entries()).encode())
        elif self.hub.sends_on and self.headers["Host"].startswith("localhost"):
            self.send_response(302)
            self.send_header("Location", self.hub.sends_on)
            self.end_headers()
        else:
            self._send_file(unquote(path.partition(f"/resolve/{'a' * 40}/")[2] or path[1:]))

    def _send_file(self, path: str) -> None:
        self.hub.on_file(path)
        data = self.hub.files.get(path)
        if data is None:
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.end_headers()
        cut = self.hub.breaks.pop(0) if len(data) > MIB and self.hub.breaks else len(data)
        self.wfile.write(data[start : start + cut])
        self.wfile.flush()
        self.close_connection = True

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def elsewhere():
    hub = Elsewhere()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def folders(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0))
    settings.HUB_DIR = tmp_path / "hub"
    settings.DRIVE_DIR = tmp_path / "drive"
    settings.DRIVE_DIR.mkdir()
    settings.IMPORT_ALLOW = (frozenset({"localhost"}), ())


@pytest.fixture
def made(alice):
    """`made("a/b.txt", b"...")` writes a file into alice's drive."""

    def make(path: str, content: bytes = b"x"):
        file = home_path(alice) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    return make


@pytest.fixture
def ask(api, alice, monkeypatch):
    """`ask(source)` begins an import and runs it as the control worker would."""
    monkeypatch.setattr(running, "send_import", lambda item: None)

    def submit(source: str, *, run: bool = True, by=alice, **more):
        body = {"source": source, "kind": "model", "namespace": by.username, "name": "r"} | more
        answer = api(by).post("/api/imports/", body, format="json")
        if answer.status_code != 201 or not run:
            return answer.json()
        assert running.run_import(answer.json()["id"])
        return api(by).get(f"/api/imports/{answer.json()['id']}/").json()

    return submit
