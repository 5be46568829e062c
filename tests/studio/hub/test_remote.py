"""Imports from another hub: a real one, and a server that speaks ModelScope's addresses."""

import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import CommandError, call_command

from studio.core.errors import BadInput
from studio.hub.content import open_blob
from studio.hub.models import Repo
from studio.hub.remote import HUGGING_FACE, imports_folder, read_source
from studio.hub.services import delete_repo
from tests.studio.asgi import make_token
from tests.studio.hub.made import push

BIG = random.Random(3).randbytes(3 * 2**20)
FILES = {"config.json": b"{}", "README.md": b"---\nlicense: mit\n---\n# R\n", "sub/m.bin": BIG}


def bring(source: str, *, kind: str = "model") -> str:
    out = StringIO()
    call_command("hub_import", source, "athanor/r", kind=kind, stdout=out)
    return out.getvalue().strip()


def read_all(repo: Repo) -> dict[str, bytes]:
    return {file.path: open_blob(file.blob).read() for file in repo.head.files.all()}


@pytest.mark.parametrize(
    ("text", "endpoint", "repo_id", "revision"),
    [
        ("hf://a/b", HUGGING_FACE, "a/b", "main"),
        ("hf://a/b@refs/pr/1", HUGGING_FACE, "a/b", "refs/pr/1"),
        ("hf+http://127.0.0.1:1/a/b@v1", "http://127.0.0.1:1", "a/b", "v1"),
        ("modelscope://a/b", "https://www.modelscope.cn", "a/b", "master"),
    ],
)
def test_a_source_names_hub_repo_and_revision(text, endpoint, repo_id, revision):
    source = read_source(text, "model")
    assert (source.endpoint, source.repo_id, source.revision) == (endpoint, repo_id, revision)


@pytest.mark.parametrize("text", ["hf://a", "hf://a/b/c", "ftp://x/a/b", "hf+https://a/b", "://"])
def test_what_names_no_source_is_refused_with_examples(text):
    with pytest.raises(BadInput, match="hf://owner/name"):
        read_source(text, "model")


def test_another_hubs_repo_comes_whole_and_again_changes_nothing(hub, alice, monkeypatch):
    monkeypatch.setenv("ATHANOR_SOURCE_TOKEN", make_token(alice))
    push(alice, "alice/r", FILES, kind="model")
    address = f"{hub.replace('http', 'hf+http')}/alice/r"
    said = bring(address)
    repo = Repo.objects.get(namespace="athanor")
    assert read_all(repo) == FILES and (repo.license, repo.visibility) == ("mit", "public")
    assert bring(address) == said
    assert not list(imports_folder().glob("*"))


def test_an_import_goes_on_with_what_is_here(hub, alice, monkeypatch):
    monkeypatch.setenv("ATHANOR_SOURCE_TOKEN", make_token(alice))
    push(alice, "alice/r", FILES, kind="model")
    address = f"{hub.replace('http', 'hf+http')}/alice/r"
    source = read_source(address, "model")
    from studio.hub import remote

    half = imports_folder() / remote._name_of(source) / "sub" / "m.bin"
    half.parent.mkdir(parents=True)
    half.write_bytes(BIG[: 2**20])
    told = []
    files = remote.list_remote_files(read_source(address, "model", token=make_token(alice)))
    remote.fetch_files(
        read_source(address, "model", token=make_token(alice)),
        files,
        lambda path, count: told.append((path, count)),
    )
    assert ("sub/m.bin", 2**20) in told and half.read_bytes() == BIG
    half.write_bytes(BIG[:-1] + b"?")  # other bytes of the same length are found out
    bring(address)
    assert read_all(Repo.objects.get(namespace="athanor")) == FILES


def test_a_strangers_repo_says_what_to_do_and_leaves_nothing(hub, alice, carol, monkeypatch):
    repo = push(alice, "alice/r", FILES, kind="model").repo
    monkeypatch.setenv("ATHANOR_SOURCE_TOKEN", make_token(carol))
    with pytest.raises(CommandError, match="answered 404"):
        bring(f"{hub.replace('http', 'hf+http')}/alice/r")
    delete_repo(by=alice, repo=repo)
    assert not Repo.objects.exists()


def test_a_hub_that_is_away_is_one_sentence(db):
    with pytest.raises(CommandError, match="cannot be reached"):
        bring("hf+http://127.0.0.1:9/a/b")


@pytest.fixture
def modelscope():
    """A server with ModelScope's addresses, as its public client asks them; `lies` spoils bytes."""

    class Handler(BaseHTTPRequestHandler):
        lies = False

        def do_GET(self):
            asked = urlsplit(self.path)
            query = parse_qs(asked.query)
            if asked.path.endswith("/repo/files"):
                entries = [
                    {
                        "Path": path,
                        "Type": "blob",
                        "Size": len(data),
                        "Sha256": hashlib.sha256(data).hexdigest(),
                    }
                    for path, data in FILES.items()
                ]
                body = json.dumps({"Code": 200, "Data": {"Files": entries}}).encode()
            else:
                body = FILES[query["FilePath"][0]]
                body = bytes(len(body)) if self.lies else body
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"modelscope+http://127.0.0.1:{server.server_port}/owner/name"
    server.shutdown()
    server.server_close()


def test_modelscopes_repo_comes_whole(db, modelscope):
    bring(modelscope[1])
    assert read_all(Repo.objects.get()) == FILES


def test_other_bytes_than_were_listed_make_no_repo(db, modelscope):
    modelscope[0].lies = True
    with pytest.raises(CommandError, match="other bytes than the source lists"):
        bring(modelscope[1])
    assert not Repo.objects.exists()
