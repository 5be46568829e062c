"""What a studio needs done before it opens: tables, shipped repos, a node's token, a link.

One process, because Django takes a while to load. `make up` and the `prepare` service of
compose.yaml both run it; a second time it changes nothing but the link.
"""

import argparse
import json
import sys
from io import StringIO
from pathlib import Path

import django
from django.core.management import CommandError, call_command

from studio.up.places import write_secret
from studio.up.shipped import MODEL_ID, ModelUnavailable, ShippedRepo, get_dataset, get_model


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.up.prepare")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", type=Path, help="folder of the shipped model, made elsewhere")
    model.add_argument("--cache-dir", type=Path, help="where to make it, with the engine here")
    parser.add_argument("--node", default="local", help="node to make a token for")
    parser.add_argument("--node-token-file", type=Path, required=True)
    parser.add_argument("--signin-link-file", type=Path)
    parser.add_argument("--done-file", type=Path, required=True, help="remembers what was imported")
    options = parser.parse_args()
    django.setup()
    try:
        prepare(options)
    except CommandError as error:
        sys.exit(f"athanor: {error}")


def prepare(options: argparse.Namespace) -> None:
    """Migrate, import what is shipped, name the node, and make a sign-in link."""
    call_command("migrate", interactive=False, verbosity=0)
    _import_new([get_dataset(), *_list_models(options)], options.done_file)
    if not options.node_token_file.exists():
        write_secret(options.node_token_file, _answer_of("node_token", options.node))
    if options.signin_link_file:
        link = _answer_of("signin_link", "admin", "--create", "--role", "administrator")
        write_secret(options.signin_link_file, link)


def _list_models(options: argparse.Namespace) -> list[ShippedRepo]:
    if options.model:
        folder = options.model.resolve()
        return [ShippedRepo(MODEL_ID, "model", folder, folder.name)]
    if options.cache_dir:
        try:
            return [get_model(options.cache_dir)]
        except ModelUnavailable as error:
            print(f"athanor: going on without the shipped model: {error}", file=sys.stderr)
    return []


def _import_new(repos: list[ShippedRepo], done_file: Path) -> None:
    done = json.loads(done_file.read_text()) if done_file.exists() else {}
    for repo in repos:
        if done.get(repo.repo_id) == repo.stamp:
            continue
        print(f"athanor: importing {repo.repo_id} into the hub", file=sys.stderr, flush=True)
        call_command("hub_import", str(repo.folder), repo.repo_id, kind=repo.kind)
        done[repo.repo_id] = repo.stamp
        done_file.write_text(json.dumps(done, indent=1))


def _answer_of(command: str, *arguments: str) -> str:
    """Run a management command and return its last line."""
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().strip().splitlines()[-1].strip()


if __name__ == "__main__":
    main()
