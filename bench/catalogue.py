"""What it takes to find something among 1000 repos with 100,000 files.

    python bench/catalogue.py                              # SQLite
    scripts/with_postgres.sh python bench/catalogue.py     # PostgreSQL

Makes a studio's database of its own, starts the web process on it, and asks as a signed-in person
over HTTP: thirty searches, their facets, and the pages of a repo. Prints a table and, as the last
line, one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.live import free_port, wait_for  # noqa: E402

_SEARCHES = (
    *(
        "chat",
        "model",
        "数学",
        "智能体 工具",
        "speech 语音",
        "person-3",
        "medical law",
        "poem 诗歌",
    ),
    *("reward", "翻译 summary", "large tiny", "code 代码 agent", "story", "wiki news", "787"),
)
_CONDITIONS = (
    "kind=model&language=zh&license=mit&modality=text&sort=likes",
    "kind=dataset&format=parquet&min_rows=1000&max_rows=1000000&language=en&sort=rows",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repos", type=int, default=1000)
    parser.add_argument("--files", type=int, default=100, help="of each repo")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="athanor-bench-") as folder:
        os.environ.setdefault("STUDIO_SECRET_KEY", "only-for-a-bench")
        os.environ["STUDIO_DATA_DIR"] = folder
        token = furnish(options.repos, options.files)
        found = measure(token, options.rounds)
    found["database"] = os.environ.get("STUDIO_DATABASE_URL", "sqlite").partition(":")[0]
    show(found)
    print(json.dumps(found))


def furnish(num_repos: int, num_files: int) -> str:
    """Make the database and what is in it; return a token of a person who owns none of it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "studio.settings"
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection, transaction

    from tests.factories import make_user
    from tests.studio.asgi import make_token
    from tests.studio.hub.crowd import make_crowd

    call_command("migrate", verbosity=0)
    with transaction.atomic():
        make_crowd(num_repos - 1, num_files)
        make_crowd(1, 5000, seed=8)
        token = make_token(make_user("reader"))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    connection.close()
    return token


def measure(token: str, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of request, from the first byte asked to the last byte read."""
    port = free_port()
    command = [sys.executable, "-m", "studio.up.web", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as web:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                wait_for("the web process", lambda: client.get("/api/hub/facets/").is_success)
                paths = list_paths(client)
                spent: dict[str, list[float]] = {kind: [] for kind in paths}
                for _ in range(rounds):
                    for kind, listed in paths.items():
                        spent[kind] += [ask(client, path) for path in listed]
        finally:
            web.terminate()
    return {kind: summarize(times) for kind, times in spent.items()}


def list_paths(client: httpx.Client) -> dict[str, list[str]]:
    """Return what is asked, by kind."""
    queries = [f"search={words}" for words in _SEARCHES]
    queries += [f"search={w}&{c}" for w in ("chat", "模型", "agent") for c in _CONDITIONS]
    queries += [*_CONDITIONS, "", "sort=likes", "page=10", "kind=model", "license=mit", "tag=chat"]
    queries += ["language=fr&language=de"]
    listed = client.get("/api/hub/repos/?page_size=30").json()["results"]
    repos = [(repo["kind"], repo["id"]) for repo in listed]
    tree = "tree/main?recursive=true"
    return {
        "search": [f"/api/hub/repos/?{query}" for query in queries],
        "facets": [f"/api/hub/facets/?{query}" for query in queries],
        "repo page": [f"/api/hub/repos/{kind}/{repo_id}/" for kind, repo_id in repos],
        "repo tree": [f"/api/{kind}s/{repo_id}/{tree}" for kind, repo_id in repos],
        "Hugging Face list": [f"/api/models?search={words}&limit=50" for words in _SEARCHES],
    }


def ask(client: httpx.Client, path: str) -> float:
    begun = time.perf_counter()
    client.get(path).raise_for_status()
    return (time.perf_counter() - begun) * 1000


def summarize(times: list[float]) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds."""
    cuts = statistics.quantiles(times, n=20)
    return {"num": len(times), "p50_ms": statistics.median(times), "p95_ms": cuts[18]}


def show(found: dict[str, dict[str, float]]) -> None:
    table = Table("asked", "times", "p50 ms", "p95 ms", title=str(found["database"]))
    for kind, one in found.items():
        if isinstance(one, dict):
            table.add_row(kind, f"{one['num']}", f"{one['p50_ms']:.0f}", f"{one['p95_ms']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
