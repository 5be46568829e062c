"""Nodes and flavors: what is offered, what a node must say, and who may look."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from studio.compute.models import Flavor, Node
from studio.compute.selectors import get_flavor, list_online_node_names
from studio.compute.services import BadNodeToken, make_node_token, read_node_token
from studio.core.errors import BadInput
from tests.factories import make_claimed_run, make_node
from workers.sentences import NODE_SENTENCES

pytestmark = pytest.mark.django_db

BEAT = {
    "version": "0.1.0",
    "cores": 2,
    "memory_bytes": 16 * 2**30,
    "disk_free_bytes": 2**40,
    "devices": [],
    "runs": [],
}


def beat(client, token: str, **changes):
    headers = {"Authorization": f"Bearer {token}"}
    body = BEAT | changes
    return client.post("/api/internal/nodes/heartbeat/", body, format="json", headers=headers)


def test_a_node_that_speaks_is_online(api):
    answer = beat(api(), make_node_token(name="lab-1"))
    assert answer.json() == {"name": "lab-1", "broker_queue": "node.lab-1"}
    assert list_online_node_names() == ["lab-1"]
    assert Node.objects.get().cores == 2


def test_operators_see_how_a_node_runs_engines_and_why_it_cannot(api, olga):
    token = make_node_token(name="lab-1")
    beat(api(), token)  # of a node of an older version
    shown = api(olga).get("/api/nodes/").json()[0]
    assert (shown["runtime"], shown["runtime_problem"]) == ("process", "")
    beat(api(), token, runtime="docker", runtime_problem="No engine answers.")
    shown = api(olga).get("/api/nodes/").json()[0]
    assert (shown["runtime"], shown["runtime_problem"]) == ("docker", "No engine answers.")
    assert shown["runtime_problem_told"] is None  # no sentence that this studio knows
    assert beat(api(), token, runtime="podman").status_code == 400


def test_operators_see_what_a_node_says_of_its_engine_s_image_with_its_code(api, olga):
    names = {"image": "athanor-engine", "found": "0.0.9", "version": "0.1.0"}
    notice = NODE_SENTENCES.say("engine_version_differs", **names)
    beat(api(), make_node_token(name="lab-1"), runtime="docker", runtime_notice=notice)
    shown = api(olga).get("/api/nodes/").json()[0]
    assert (shown["runtime_problem"], shown["runtime_notice"]) == ("", notice)
    assert shown["runtime_notice_told"] == {"code": "engine_version_differs", "params": names}


def test_a_node_that_is_silent_is_not(api):
    beat(api(), make_node_token(name="lab-1"))
    Node.objects.update(last_seen_at=timezone.now() - timedelta(seconds=25))
    assert list_online_node_names() == []


@pytest.mark.parametrize("token", ["", "node_wrong", "run_x", "ath_x"])
def test_a_wrong_token_is_401(api, token):
    make_node_token(name="lab-1")
    assert beat(api(), token).status_code == 401


def test_a_new_token_ends_the_former():
    old = make_node_token(name="lab-1")
    new = make_node_token(name="lab-1")
    assert read_node_token(new).name == "lab-1"
    with pytest.raises(BadNodeToken):
        read_node_token(old)


def test_the_token_is_stored_as_a_hash_only():
    raw = make_node_token(name="lab-1")
    assert raw not in str(Node.objects.values().get())


@pytest.mark.parametrize(
    "change", [{"cores": -1}, {"memory_bytes": "much"}, {"runs": ["x"]}, {"devices": [{}]}]
)
def test_a_malformed_beat_names_its_field(api, change):
    answer = beat(api(), make_node_token(name="lab-1"), **change)
    assert answer.status_code == 400
    assert answer.json()["field"].startswith(next(iter(change)))


def test_the_command_prints_a_token():
    out = StringIO()
    call_command("node_token", "lab-1", stdout=out)
    assert read_node_token(out.getvalue().strip()).name == "lab-1"


def test_the_command_keeps_a_file_that_still_holds(tmp_path):
    path = tmp_path / "secrets" / "token"
    call_command("node_token", "lab-1", file=path)
    first = path.read_text()
    call_command("node_token", "lab-1", file=path)
    assert path.read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600
    make_node_token(name="lab-1")
    call_command("node_token", "lab-1", file=path)
    assert path.read_text() != first


def test_the_command_refuses_a_name_that_is_no_name():
    with pytest.raises(CommandError, match="name"):
        call_command("node_token", "no spaces")


def test_flavors_are_listed_cheapest_first_and_say_why_not(api, alice):
    make_node(cores=1, memory_gib=8)
    flavors = api(alice).get("/api/flavors/").json()
    assert [(f["name"], f["is_available"], f["why_not"]) for f in flavors] == [
        ("cpu-1", True, None),
        ("cpu-2", False, "no_node_fits"),
        ("gpu-1", False, "no_device"),
    ]


def test_without_a_node_every_flavor_says_so(api, alice):
    flavors = api(alice).get("/api/flavors/").json()
    assert {f["why_not"] for f in flavors} == {"no_node_online"}


def test_a_gpu_flavor_names_its_gpu(api, alice):
    make_node(cores=8, memory_gib=64, num_devices=1)
    flavors = {f["name"]: f for f in api(alice).get("/api/flavors/").json()}
    assert flavors["gpu-1"]["device_name"] == "H200"
    assert flavors["cpu-1"]["device_name"] is None


def test_a_flavor_that_is_unlisted_or_off_is_not_offered():
    Flavor.objects.filter(name="cpu-1").update(is_active=False)
    for name in ("cpu-1", "serve", "nonsense"):
        with pytest.raises(BadInput, match="cpu-2"):
            get_flavor(name)


def test_operators_see_the_nodes_and_their_runs(api, olga, alice):
    make_claimed_run(alice)
    (node,) = api(olga).get("/api/nodes/").json()
    assert (node["name"], node["is_online"], node["num_running"]) == ("lab-1", True, 1)


def test_the_nodes_are_not_there_for_anybody_else(api, carol):
    assert api(carol).get("/api/nodes/").status_code == 404
    assert api().get("/api/nodes/").status_code in {401, 403}
    assert api().get("/api/flavors/").status_code in {401, 403}
