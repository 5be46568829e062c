"""The doors of dev machines: what they answer, to whom, and how they refuse."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from studio.compute.services import make_node_token
from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Machine, NodeEngine, Status
from studio.machines.placing import place_machines
from studio.machines.web.origins import Origin, parse_host
from studio.machines.web.passes import make_cookie, read_cookie, spend_pass
from tests.studio.machines.conftest import make_machine, make_running, tell
from workers.machines.orders import MachineAnswer, MachinePhase

pytestmark = pytest.mark.django_db
WISH = {"name": "box", "image": "base", "flavor": "cpu-1", "duration_s": 3600}
DEEDS = ["start", "stop", "restart", "extend", "change", "reset", "enter"]


def test_a_machine_from_the_form_to_its_end(rich, node, api):
    client = api(rich)
    made = client.post("/api/machines/", WISH, format="json")
    assert made.status_code == 201, made.content
    body = made.json()
    assert (body["status"], body["queue_position"]) == ("queued", 1)
    assert body["lease"]["held_mpoints"] == 30_000
    assert body["ssh_command"].startswith("ssh box@")
    assert [tool["name"] for tool in body["tools"]] == ["vscode", "lab"]
    assert body["tools"][0]["url"] == f"http://8080-{body['key']}.localhost:8600/"
    place_machines()
    tell(Machine.objects.get(), node, MachinePhase.RUNNING)
    address = f"/api/machines/{body['key']}/"
    assert client.get(address).json()["status"] == "running"
    assert client.patch(address, {"name": "new"}, format="json").json()["name"] == "new"
    assert client.get("/api/machines/new/").json()["key"] == body["key"]
    longer = client.post(f"{address}extend/", {"duration_s": 1800}, format="json").json()
    assert longer["lease"]["granted_s"] == 5400
    assert client.post(f"{address}stop/").json()["status"] == "stopping"
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404


def test_the_list_asks_as_often_for_twenty_as_for_two(
    rich, node, api, django_assert_max_num_queries
):
    for number in range(8):
        make_machine(rich, f"m{number}")
    with django_assert_max_num_queries(36):  # one sum of each lease's hold
        assert len(api(rich).get("/api/machines/").json()) == 8


def test_the_options_say_what_there_is(rich, node, api):
    said = api(rich).get("/api/machines/options/").json()
    assert said["engine"] == {"is_available": True, "problem": "", "problem_told": None}
    assert said["images"][0]["tools"] == {"vscode": 8080, "lab": 8888}
    assert {"cpu-1", "gpu-30p"} <= {flavor["name"] for flavor in said["flavors"]}
    assert said["ssh"]["fingerprint"].startswith("SHA256:")
    assert said["ssh"]["host_key"].split()[1] == "ssh-ed25519"
    listed = {flavor["name"] for flavor in api(rich).get("/api/flavors/").json()}
    assert "gpu-30p" not in listed  # a run has whole devices


def test_without_a_docker_engine_one_sentence_says_how_to_get_one(rich, node, api):
    NodeEngine.objects.all().delete()
    engine = api(rich).get("/api/machines/options/").json()["engine"]
    assert not engine["is_available"]
    assert "apt install docker.io" in engine["problem"]
    assert engine["problem_told"] == {"code": "no_engine", "params": {}}
    NodeEngine.objects.create(node=node, problem="Set userns-remap.", reported_at=node.last_seen_at)
    assert api(rich).get("/api/machines/options/").json()["engine"]["problem"] == (
        "Set userns-remap."
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "box\n"}, "name"),
        ({"name": 5, "image": ["x"]}, "image"),
        ({"image": "other"}, "image"),
        ({"flavor": ""}, "flavor"),
        ({"duration_s": "long"}, "duration_s"),
        ({"duration_s": -1}, "duration_s"),
        ({"cpu": 4}, "cpu"),
    ],
)
def test_a_bad_wish_is_refused_by_its_field(rich, node, api, change, field):
    refused = api(rich).post("/api/machines/", WISH | change, format="json")
    assert refused.status_code == 400
    assert field in json.dumps(refused.json())
    assert not Machine.objects.exists()


def test_nobody_else_finds_a_machine_at_any_door(rich, bob, olga, node, api):
    machine = make_running(rich, node)
    base = f"/api/machines/{machine.key}"
    bodies = {"extend": {"duration_s": 900}, "enter": {"port": 8080}}
    for person in (bob, None):
        client = api(person)
        wanted = 404 if person else 401
        answers = [client.get(f"{base}/"), client.delete(f"{base}/"), client.get(f"{base}/ports/")]
        answers.append(client.patch(f"{base}/", {"name": "x"}, format="json"))
        answers.append(client.put(f"{base}/ports/80/", {"audience": "public"}, format="json"))
        answers.append(client.delete(f"{base}/ports/80/"))
        answers += [
            client.post(f"{base}/{deed}/", bodies.get(deed, {}), format="json") for deed in DEEDS
        ]
        assert {answer.status_code for answer in answers} == {wanted}
    assert api(bob).get("/api/machines/?all=1").status_code == 404
    assert len(api(olga).get("/api/machines/?all=1").json()) == 1
    assert api(olga).post(f"{base}/enter/", {"port": 8080}, format="json").status_code == 404
    assert Machine.objects.get().status == Status.RUNNING


def test_an_entry_is_good_once_for_one_origin_alone(rich, node, api):
    machine = make_running(rich, node)
    address = f"/api/machines/{machine.key}/enter/"
    url = api(rich).post(address, {"port": 8080, "path": "/a?b=c"}, format="json").json()["url"]
    parts = urlsplit(url)
    origin = parse_host(parts.netloc)
    assert origin == Origin(machine.key, 8080)
    query = parse_qs(parts.query)
    assert query["path"] == ["/a?b=c"]
    raw = query["pass"][0]
    assert spend_pass(raw, Origin(machine.key, 8888)) is None  # elsewhere: and it is spent
    assert spend_pass(raw, origin) is None
    again = api(rich).post(address, {"port": 8080}, format="json").json()["url"]
    raw = parse_qs(urlsplit(again).query)["pass"][0]
    assert spend_pass(raw, origin).user == rich
    cookie = make_cookie(rich, origin)
    assert read_cookie(cookie, origin).user_id == rich.pk
    assert read_cookie(cookie, Origin(machine.key, 8888)) is None
    assert read_cookie(cookie + "x", origin) is None


@pytest.mark.parametrize("path", ["//evil.test", "/\\evil.test", "https://evil.test", "x", "/\n"])
def test_an_entry_leads_nowhere_else(rich, node, api, path):
    machine = make_running(rich, node)
    address = f"/api/machines/{machine.key}/enter/"
    url = api(rich).post(address, {"port": 80, "path": path}, format="json").json()["url"]
    assert parse_qs(urlsplit(url).query)["path"] == ["/"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "8080.localhost", "0-abcd.localhost", "70000-abcdef.localhost", "8080-abcd.evil",
     "8080-abcdefgh.localhost.evil", "a-8080-abcd.localhost", "8080-ab cd.localhost", ""],
)  # fmt: skip
def test_a_host_that_is_no_machines(host):
    assert parse_host(host) is None


def test_a_published_port_is_listed_with_its_address(rich, node, api):
    machine = make_running(rich, node)
    base = f"/api/machines/{machine.key}/ports/"
    made = api(rich).put(f"{base}7860/", {"audience": "public"}, format="json")
    assert made.json()["url"] == f"http://7860-{machine.key}.localhost:8600/"
    assert [port["port"] for port in api(rich).get(base).json()] == [7860]
    past = {"audience": "public", "until": "2020-01-01T00:00:00Z"}
    assert api(rich).put(f"{base}7860/", past, format="json").json()["field"] == "until"
    assert api(rich).delete(f"{base}7860/").status_code == 204
    assert api(rich).get(base).json() == []


def test_a_machines_token_speaks_for_its_owner_while_it_runs(adam, image, node, api):
    from studio.points.services import grant_points

    grant_points(by=None, to=adam, mpoints=1_000_000, note="", key="k")
    machine = make_running(adam, node)
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_machine_token(machine)}")
    assert client.get("/api/me/").json()["username"] == "adam"
    assert client.get("/api/points/").status_code == 200
    assert client.get("/api/whoami-v2").json()["name"] == "adam"
    assert client.get("/api/nodes/").status_code == 404  # an administrator's role is not in it
    assert client.get("/api/machines/?all=1").status_code == 404
    assert client.post("/api/tokens/", {"name": "t"}, format="json").status_code == 403
    from studio.machines.services import stop_machine

    stop_machine(by=adam, machine=machine)
    tell(machine, node, MachinePhase.STOPPED)
    assert client.get("/api/me/").status_code == 401
    client.credentials(HTTP_AUTHORIZATION="Bearer mach_forged")
    assert client.get("/api/me/").status_code == 401


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_gateway_takes_a_machines_token(rich, node, api):
    machine = make_running(rich, node)
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_machine_token(machine)}")
    assert client.get("/v1/models").status_code == 200
    client.credentials(HTTP_AUTHORIZATION="Bearer mach_forged")
    refused = client.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "not_signed_in")


def test_a_node_reports_and_hears_its_orders_alone(rich, node, api):
    machine = make_machine(rich)
    place_machines()
    client = api()
    report = {"engine": "26", "machines": []}
    refused = client.post("/api/internal/nodes/machines/", report, format="json")
    assert refused.status_code == 401
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_node_token(name='n1')}")
    answer = client.post("/api/internal/nodes/machines/", report, format="json")
    orders = MachineAnswer.model_validate_json(answer.content).orders
    assert [order.machine for order in orders] == [machine.key]
    bad = client.post("/api/internal/nodes/machines/", {"engine": 5}, format="json")
    assert bad.status_code == 400 and bad.json()["field"]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_node_token(name='other')}")
    answer = client.post("/api/internal/nodes/machines/", report, format="json")
    told = answer.json()
    assert (told["orders"], told["saved"]) == ([], [])
