"""A Docker engine that only tells: so many machines' containers that run, by its API on a socket.

    python -m bench.docker_double SOCKET NUMBER PID

It answers what a node asks in each pass, with bodies of a real engine's size, so that the node's
own side can be measured with more containers than a machine can run. How long a real engine takes
to answer is not in it.
"""

import argparse
import json
import re
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

IMAGE = "sha256:" + "a" * 64
NODE = "n1"
MACHINE_AT = "127.0.0.3"
_PADDING_BYTES = 5000
"""What a real container's body has beside what a node reads: 8 KB in all (Docker 20.10)."""
_STARTED = "2026-11-29T10:00:00.123456789Z"


def make_bodies(number: int, pid: int) -> dict[str, Any]:
    """Return what is answered, by path."""
    listed, bodies = [], {}
    for each in range(number):
        id, name = f"{each:064x}", f"/athanor-m{each}-1"
        labels = {"athanor.node": NODE, "athanor.machine": f"m{each}", "athanor.life": "1"}
        labels["athanor.slot"] = ""
        row = {"Id": id, "Names": [name], "Image": IMAGE, "ImageID": IMAGE, "State": "running"}
        row |= {"Labels": labels, "Status": "Up 2 hours", "Created": 1, "Ports": [], "Command": "x"}
        listed.append(row | {"Mounts": [{"Type": "bind", "Source": "/x" * 40}] * 4})
        bodies[f"/containers/{id}/json"] = make_inspected(id, name, labels, pid)
    # As an engine with user namespaces: who a container's root is, is in the folder's name.
    about = {"DockerRootDir": "/var/lib/docker/100000.100000", "Driver": "overlay2"}
    about["SecurityOptions"] = ["name=userns"]
    return bodies | {
        "/containers/json": listed,
        "/version": {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
        "/info": about,
        "/images/json": [],
        "/volumes": {"Volumes": [], "Warnings": None},
        "/networks": [],
    }


def make_inspected(id: str, name: str, labels: dict[str, str], pid: int) -> dict[str, Any]:
    state = {"Status": "running", "Running": True, "Pid": pid, "ExitCode": 0, "OOMKilled": False}
    state |= {"StartedAt": _STARTED, "FinishedAt": "0001-01-01T00:00:00Z"}
    networks = {"athanor-u1": {"IPAddress": MACHINE_AT, "Gateway": MACHINE_AT}}
    return {
        "Id": id,
        "Name": name,
        "State": state,
        "Config": {"Labels": labels, "Env": ["A=1"] * 20},
        "NetworkSettings": {"Networks": networks},
        "HostConfig": {"Padding": "x" * _PADDING_BYTES},
    }


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a Unix socket; each connection has a thread, and is kept."""

    daemon_threads = True
    request_queue_size = 64
    answers: dict[str, bytes]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = re.sub(r"^/v[0-9.]+", "", self.path.partition("?")[0])
        assert isinstance(self.server, Server)
        body = self.server.answers.get(path)
        self.send_response(200 if body is not None else 404)
        body = body or b'{"message": "there is no such thing"}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "node"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("socket", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("pid", type=int, help="the process that all of them say is theirs")
    options = parser.parse_args()
    made = make_bodies(options.number, options.pid)
    with Server(str(options.socket), Handler) as server:
        server.answers = {path: json.dumps(body).encode() for path, body in made.items()}
        server.serve_forever()


if __name__ == "__main__":
    main()
