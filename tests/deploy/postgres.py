"""A PostgreSQL server of a test's own, which may be restarted: on a Unix socket, in a new folder.

scripts/with_postgres.sh is for whole suites: it starts one and leaves it alone.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass
class PostgresServer:
    """A server, and how it is started and ended."""

    folder: Path
    programs: Path

    @property
    def url(self) -> str:
        """As STUDIO_DATABASE_URL says it."""
        return f"postgres://athanor@{quote(str(self.folder), safe='')}/athanor"

    def create(self) -> None:
        """Make the cluster and its database, and leave it running."""
        auth = ("-A", "trust", "-E", "UTF8", "--locale=C")
        self._run("initdb", "-D", str(self._data), "-U", "athanor", *auth)
        self.start()
        self._run("createdb", "-h", str(self.folder), "-U", "athanor", "athanor")

    def start(self) -> None:
        """Start it and wait until it answers. What it commits is on disk, as it is in production:
        it is to be there after `end`.
        """
        options = f"-k {self.folder} -c listen_addresses="
        log = ("-l", str(self.folder / "log"))
        self._run("pg_ctl", "-s", "-w", "-D", str(self._data), *log, "-o", options, "start")

    def end(self) -> None:
        """End it at once, with every connection that is open, as a crash does."""
        self._run("pg_ctl", "-s", "-w", "-D", str(self._data), "-m", "immediate", "stop")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        owner = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        command = [*(owner if os.geteuid() == 0 else []), str(self.programs / program), *arguments]
        # Into a file: what the server inherits would keep a pipe open for as long as it runs.
        with (self.folder / "commands").open("a") as said:
            done = subprocess.run(command, cwd="/", stdout=said, stderr=said, timeout=120)
        assert done.returncode == 0, (self.folder / "commands").read_text()[-2000:]


def find_programs() -> Path | None:
    """Return where PostgreSQL's programs are; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Run a server until the block ends."""
    programs = find_programs()
    assert programs is not None, "PostgreSQL is not installed: run `make provision`"
    folder = Path(tempfile.mkdtemp(prefix="athanor-pg-"))  # short, and all in small letters
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
    server = PostgresServer(folder, programs)
    try:
        server.create()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.end()
        shutil.rmtree(folder)
