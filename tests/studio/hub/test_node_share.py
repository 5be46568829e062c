"""/share: operators choose, nodes lay out, everybody reads; with a node's real keeper."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest
from huggingface_hub import HfApi

from studio.compute.models import Node
from studio.compute.services import make_node_token
from studio.hub.models import Kind, Repo, SharedRepo, Visibility
from studio.hub.node_share.selectors import describe_share
from tests.studio.asgi import make_token
from tests.studio.hub.made import push
from workers.config import NodeConfig
from workers.keeper import Keeper
from workers.studio_client import StudioClient

WEIGHTS = bytes(range(256)) * 8192  # 2 MiB: goes by Xet


@pytest.fixture
def open_model(alice):
    files = {"README.md": b"# Hello", "model.safetensors": WEIGHTS}
    return push(alice, "alice/model", files, kind=Kind.MODEL, visibility=Visibility.PUBLIC)


@pytest.fixture
def choose(api, olga):
    def post(repo: str = "alice/model", revision: str = "main", by=olga, **fields):
        body = {"kind": "model", "repo": repo, "revision": revision, **fields}
        return api(by).post("/api/node-share/", body, format="json")

    return post


@asynccontextmanager
async def keeper_of(url: str, token: str, folder):
    config = NodeConfig(
        studio_url=url,
        node_token=token,
        broker_url="redis://unused",
        node_name="n1",
        node_dir=folder / "node",
    )
    async with StudioClient(url) as client:
        keeper = Keeper(config, client)
        keeper._node.create()
        keeper._share.create()
        yield keeper


def work_once(url: str, token: str, folder) -> None:
    """Do what the keeper does in a minute, and report it."""

    async def work() -> None:
        async with keeper_of(url, token, folder) as keeper:
            await keeper.report_once()
            await keeper.share_once()
            await keeper.report_once()

    asyncio.run(work())


def test_a_node_lays_out_what_an_operator_chose_and_says_so(
    hub, choose, open_model, api, olga, alice, tmp_path
):
    token = make_node_token(name="n1")
    answer = choose()
    assert answer.status_code == 200, answer.content
    (entry,) = answer.json()
    assert (entry["path"], entry["sha"]) == ("/share/models/alice/model", open_model.sha)
    assert entry["chosen_by"] == "olga" and entry["size_bytes"] == len(WEIGHTS) + 7
    work_once(hub, token, tmp_path)
    shown = tmp_path / "node/share/models/alice/model"
    assert (shown / "model.safetensors").read_bytes() == WEIGHTS
    (node,) = api(olga).get("/api/nodes/").json()
    (state,) = node["share"]
    assert (state["repo"], state["state"]) == ("alice/model", "ready")
    assert state["bytes_done"] == state["bytes_total"] == len(WEIGHTS) + 7
    newer = push(alice, "alice/model", {"README.md": b"# Better"}, kind=Kind.MODEL)
    work_once(hub, token, tmp_path)
    assert (shown / "README.md").read_text() == "# Better"
    assert Node.objects.get().share[0]["revision"] == newer.sha


def test_a_tag_stays_where_it_is(hub, choose, open_model, alice, client_of, tmp_path):
    client_of(alice).create_tag("alice/model", tag="v1")
    choose(revision="v1")
    push(alice, "alice/model", {"README.md": b"# Better"}, kind=Kind.MODEL)
    work_once(hub, make_node_token(name="n1"), tmp_path)
    assert (tmp_path / "node/share/models/alice/model/README.md").read_text() == "# Hello"


def test_what_its_owner_hides_leaves_the_nodes(hub, choose, open_model, tmp_path):
    token = make_node_token(name="n1")
    choose()
    work_once(hub, token, tmp_path)
    Repo.objects.update(visibility=Visibility.PRIVATE)
    work_once(hub, token, tmp_path)
    assert not (tmp_path / "node/share/models/alice").exists()
    assert SharedRepo.objects.exists()  # shown again, it comes back


def test_a_repo_that_cannot_be_fetched_says_why_and_the_next_one_comes(
    hub, choose, open_model, alice, api, olga, hub_dir, tmp_path
):
    push(alice, "alice/broken", {"a.txt": b"x"}, kind=Kind.MODEL, visibility=Visibility.PUBLIC)
    blob = Repo.objects.get(name="broken").head.files.get().blob
    next(hub_dir.rglob(f"{blob.pk}*")).unlink()
    choose("alice/broken")
    choose()
    work_once(hub, make_node_token(name="n1"), tmp_path)
    broken, ready = api(olga).get("/api/nodes/").json()[0]["share"]
    assert (broken["repo"], broken["state"]) == ("alice/broken", "failed")
    assert broken["message"].startswith("It cannot be fetched")
    assert ready["state"] == "ready"


def test_a_disk_without_room_waits_and_says_so(hub, choose, open_model, monkeypatch, tmp_path):
    usage = type("Usage", (), {"free": 2**30, "total": 2**40, "used": 0})()
    monkeypatch.setattr("workers.keeper.shutil.disk_usage", lambda path: usage)
    choose()
    work_once(hub, make_node_token(name="n1"), tmp_path)
    (state,) = Node.objects.get().share
    assert state["state"] == "waiting" and "make room" in state["message"]


@pytest.mark.django_db
def test_only_operators_choose_and_only_what_is_open(choose, open_model, alice, carol, api, olga):
    assert choose(by=alice).status_code == 403
    assert choose("alice/none").status_code == 404
    refused = choose(revision="nope")
    assert refused.status_code == 404 and "no revision" in refused.json()["message"]
    Repo.objects.update(gate="auto")
    refused = choose()
    assert refused.status_code == 400 and refused.json()["field"] == "repo"
    Repo.objects.update(gate="", visibility=Visibility.PRIVATE)
    assert choose().status_code == 404  # not there for the operator either
    assert api(alice).get("/api/node-share/").json() == []
    Repo.objects.update(visibility=Visibility.PUBLIC)
    choose()
    where = "/api/node-share/model/alice/model/"
    assert api(carol).delete(where).status_code == 403
    assert api(olga).delete(where).status_code == 204
    assert api(olga).delete(where).status_code == 404
    assert describe_share() == []


def test_a_nodes_token_reads_what_is_open_and_nothing_else(hub, open_model, alice, olga):
    push(alice, "alice/secret", {"a.txt": b"x"}, kind=Kind.MODEL)
    token = make_node_token(name="n1")
    node = HfApi(endpoint=hub, token=token)
    assert node.repo_info("alice/model").sha == open_model.sha
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=hub, headers=headers) as http:
        assert http.get("/alice/secret/resolve/main/a.txt").status_code == 404
        assert http.get("/api/models/alice/secret").status_code == 404
        assert http.get("/api/models/alice/model/xet-write-token/main").status_code == 403
        made = http.post("/api/repos/create", json={"name": "mine"})
        assert made.status_code == 403
        assert http.get("/api/jobs/").status_code == 401
        assert http.get("/api/node-share/").status_code == 401


def test_a_reading_token_gets_no_words_for_writing(hub, open_model, alice):
    headers = {"Authorization": f"Bearer {make_token(alice, ['read'])}"}
    with httpx.Client(base_url=hub, headers=headers) as http:
        refused = http.get("/api/models/alice/model/xet-write-token/main")
        assert refused.status_code == 403 and "write" in refused.json()["message"]
        assert http.get("/api/models/alice/model/xet-read-token/main").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"\xff", b'{"cache_bytes": -1, "cache_limit_bytes": 0, "share": []}'],
)
def test_a_report_that_makes_no_sense_is_refused(client, body):
    token = make_node_token(name="n1")
    door = "/api/internal/nodes/share/"
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.post(door, body, content_type="application/json", headers=headers)
    assert answer.status_code == 400, answer.content
    good = json.dumps({"cache_bytes": 5, "cache_limit_bytes": 9, "share": []})
    answer = client.post(door, good, content_type="application/json", headers=headers)
    assert answer.json() == {"share": []} and Node.objects.get().cache_bytes == 5
    for wrong in ({}, {"Authorization": "Bearer node_x"}, {"Authorization": "Bearer ath_x"}):
        assert client.post(door, good, "application/json", headers=wrong).status_code == 401
