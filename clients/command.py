"""The `athanor` command: a studio from a terminal, on a laptop as in a dev machine.

Tables for people; with `--json` what the API answered, for programs. Exit 1 with one sentence on
standard error where the studio refuses or does not answer.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer
import yaml

from clients import environments, gpu, machines, nodes, ports, runs, ssh_keys, usage
from clients.account import (
    Account,
    NoAccount,
    check_token,
    check_url,
    find_account,
    forget_account,
    keep_account,
)
from clients.api import ApiRefusal, Json, StudioApi
from clients.completion import complete_flavor, complete_job
from clients.terminal import (
    AsJson,
    Refused,
    clean,
    console,
    format_points,
    make_api,
    say,
    show,
    show_table,
)
from clients.watch import FINAL, RunSilent, watch_job

app = typer.Typer(
    no_args_is_help=True, help="An Athanor studio from a terminal.", pretty_exceptions_enable=False
)
jobs = typer.Typer(no_args_is_help=True, help="Jobs: submit, look at, follow, cancel.")
app.add_typer(jobs, name="job")

Limit = Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")]
Search = Annotated[str, typer.Argument(help="Words of the name or the card.")]
JobName = Annotated[
    str, typer.Argument(help="A job's id, or its beginning.", autocompletion=complete_job)
]


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="The studio's address.")],
    token: Annotated[
        str, typer.Option(help="An API token; without it you are asked.", envvar="ATHANOR_TOKEN")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Sign in with an API token, which Profile > API tokens makes; it may come by a pipe."""
    address = check_url(url)
    account = Account(address, check_token(token or _ask_token()))
    me = StudioApi(account.url, account.token, retry_s=0).get("/api/me/")
    path = keep_account(account)

    def tell() -> None:
        say(f"Signed in to {address} as {me['username']}; the token is in {path}.")

    show(me, as_json, tell)


@app.command()
def logout(as_json: AsJson = False) -> None:
    """Forget the token that `login` kept; the studio goes on taking it until it is revoked."""
    was_there = forget_account()
    told = "Signed out." if was_there else "Nobody was signed in."
    show({"was_signed_in": was_there}, as_json, lambda: say(told))


@app.command()
def whoami(as_json: AsJson = False) -> None:
    """Say who is signed in, and where."""
    account = find_account()
    me = StudioApi(account.url, account.token).get("/api/me/")
    show(me, as_json, lambda: say(f"{me['username']} ({me['role']}) at {account.url}"))


@app.command()
def points(as_json: AsJson = False) -> None:
    """Say how many points there are, and what is being spent."""
    body = make_api().get("/api/points/")

    def tell() -> None:
        console.print(f"available  {format_points(body['available_mpoints'])}")
        console.print(f"held       {format_points(body['held_mpoints'])}")
        if body["burn_mpoints_per_hour"]:
            console.print(f"spending   {format_points(body['burn_mpoints_per_hour'])} an hour")

    show(body, as_json, tell)


@app.command()
def models(search: Search = "", limit: Limit = 20, as_json: AsJson = False) -> None:
    """List models that you may see."""
    _list_repos("model", search, limit, as_json=as_json)


@app.command()
def datasets(search: Search = "", limit: Limit = 20, as_json: AsJson = False) -> None:
    """List datasets that you may see."""
    _list_repos("dataset", search, limit, as_json=as_json)


@jobs.command("submit")
def submit_job(
    spec: Annotated[Path, typer.Argument(help="A spec as YAML or JSON; - is standard input.")],
    flavor: Annotated[
        str,
        typer.Option(help="What it runs on; see the launch page.", autocompletion=complete_flavor),
    ],
    name: Annotated[str, typer.Option(help="Its name; without one the file's.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Launch a job from a spec."""
    body = {"name": name or _name_of(spec), "flavor": flavor, "spec": _read_spec(spec)}
    api = make_api()
    job = api.post("/api/jobs/", body, once=True)
    show(job, as_json, lambda: say(f"{job['id']} is {job['status']}."))
    if follow:
        _follow(api, job["id"])


@jobs.command("list")
def list_jobs(limit: Limit = 20, as_json: AsJson = False) -> None:
    """List your jobs, newest first."""
    page = make_api().get("/api/jobs/", page_size=limit)
    rows = (
        (job["id"][:8], job["name"], job["kind"], job["status"], format_points(job["cost_mpoints"]))
        for job in page["results"]
    )
    show(
        page["results"],
        as_json,
        lambda: show_table(("id", "name", "kind", "status", "points"), rows),
    )


@jobs.command("logs")
def show_logs(
    job: JobName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it ends.")] = False,
) -> None:
    """Print the log of a job's latest run; with -f as it goes, with its progress."""
    api = make_api()
    found = _find_job(api, job)
    if follow and found["status"] not in FINAL:
        _follow(api, found["id"])
        return
    for piece in api.stream(f"/api/runs/{found['run']['id']}/log/download/"):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@jobs.command("cancel")
def cancel_job(job: JobName, as_json: AsJson = False) -> None:
    """Stop a job; what it has learnt so far is kept."""
    api = make_api()
    stopped = api.post(f"/api/jobs/{_find_job(api, job)['id']}/stop/", {})
    show(stopped, as_json, lambda: say(f"{stopped['id']} is {stopped['status']}."))


app.add_typer(machines.app, name="machine")
app.add_typer(ssh_keys.app, name="key")
app.add_typer(environments.app, name="env")
app.add_typer(nodes.app, name="node")
ports.add_to(app)
gpu.add_to(app)
runs.add_to(app)
usage.add_to(app, machines.app)


def main() -> None:
    """Run the command; what goes wrong is one sentence."""
    try:
        app()
    except (ApiRefusal, NoAccount, RunSilent, Refused) as error:
        _fail(str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"The studio does not answer: {error or type(error).__name__}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}.")


def _fail(sentence: str) -> None:
    print(clean(" ".join(sentence.split())), file=sys.stderr)
    raise SystemExit(1)


def _ask_token() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("API token (Profile > API tokens)", hide_input=True))
    return sys.stdin.readline()


def _list_repos(kind: str, search: str, limit: int, *, as_json: bool) -> None:
    page = make_api().get("/api/hub/repos/", kind=kind, search=search, page_size=limit)
    rows = (
        (
            repo["id"],
            repo["license"] or "-",
            f"{repo['size_bytes'] / 2**20:,.1f} MiB",
            repo["summary"],
        )
        for repo in page["results"]
    )
    show(page["results"], as_json, lambda: show_table(("repo", "licence", "size", "about"), rows))


def _name_of(spec: Path) -> str:
    return "job" if str(spec) == "-" else spec.stem


def _read_spec(path: Path) -> Json:
    where = "Standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        spec = yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise Refused(f"{where} cannot be read as YAML or JSON: {error}") from error
    except OSError as error:
        raise Refused(f"{where} cannot be read: {error.strerror}.") from error
    if not isinstance(spec, dict):
        raise Refused(f"{where} holds no spec: write its fields, such as `kind: train`.")
    return spec


def _find_job(api: StudioApi, name: str) -> Json:
    """Return the job of an id, or of the only one among the newest that begins so."""
    if re.fullmatch(r"[0-9a-f-]{36}", name):
        return dict(api.get(f"/api/jobs/{name}/"))
    listed = api.get("/api/jobs/", page_size=100)["results"]
    found = [job for job in listed if job["id"].startswith(name)]
    if len(found) != 1:
        amiss = "No job" if not found else "More than one job"
        raise Refused(f"{amiss} begins with {name!r}: `athanor job list` shows them.")
    return dict(api.get(f"/api/jobs/{found[0]['id']}/"))


def _follow(api: StudioApi, job_id: str) -> None:
    job = watch_job(api, job_id, console)
    if job["status"] == "failed":
        raise SystemExit(1)


if __name__ == "__main__":
    main()
