"""Images are registered by what cannot change, by operators alone."""

import pytest
from django.core.management import CommandError, call_command

from studio.core.errors import BadInput, Forbidden
from studio.machines.images import register_image
from studio.machines.models import Image, NodeEngine
from studio.machines.reports import take_report
from tests.studio.machines.conftest import make_machine
from workers.machines.orders import MachineReport

pytestmark = pytest.mark.django_db
PINNED = "sha256:" + "a" * 64
DOOR = "/api/machine-images/"


def test_the_command_adds_lists_and_retires(capsys):
    call_command("machine_image", "add", "base", PINNED, "--tool", "vscode=8080")
    call_command("machine_image", "list")
    assert "vscode=8080" in capsys.readouterr().out
    assert Image.objects.get().tools == {"vscode": 8080}
    call_command("machine_image", "retire", "base")
    assert not Image.objects.get().is_active
    call_command("machine_image", "add", "base", PINNED, "--flavor", "cpu-1")
    image = Image.objects.get()
    assert image.is_active and [flavor.name for flavor in image.flavors.all()] == ["cpu-1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "A b"}, "name"),
        ({"reference": "athanor/machine:latest"}, "reference"),
        ({"reference": "--privileged"}, "reference"),
        ({"reference": "a" * 250 + "@" + PINNED}, "reference"),
        ({"title": "x" * 81}, "title"),
        ({"tools": {"x": 70000}}, "tools"),
        ({"tools": {"x": 22}}, "tools"),
        ({"flavors": ["none"]}, "flavors"),
        ({"idle_s": -1}, "idle_s"),
        ({"idle_s": 10**7}, "idle_s"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(change, field):
    with pytest.raises(BadInput) as refusal:
        register_image(by=None, **({"name": "base", "reference": PINNED} | change))
    assert refusal.value.field == field


def test_members_register_none(alice):
    with pytest.raises(Forbidden):
        register_image(by=alice, name="base", reference=PINNED)
    with pytest.raises(CommandError, match="there is no image"):
        call_command("machine_image", "retire", "base")
    with pytest.raises(CommandError, match="NAME=PORT"):
        call_command("machine_image", "add", "base", PINNED, "--tool", "vscode")


def test_an_operator_registers_one_sees_who_uses_it_and_retires_it(api, olga, rich, node):
    body = {"name": "cuda", "reference": PINNED, "title": "CUDA", "tools": {"lab": 8888}}
    made = api(olga).post(DOOR, body | {"flavors": ["cpu-1"]}, format="json")
    assert made.status_code == 201, made.content
    make_machine(rich)
    told = {each["name"]: each for each in api(olga).get(DOOR).json()}
    assert told["cuda"]["flavors"] == ["cpu-1"] and told["cuda"]["num_machines"] == 0
    assert told["base"]["num_machines"] == 1
    assert api(olga).post(f"{DOOR}base/retire/").json()["is_active"] is False
    offered = api(rich).get("/api/machines/options/").json()["images"]
    assert [each["name"] for each in offered] == ["cuda"]


def test_which_nodes_have_an_image_is_told_by_the_nodes(api, olga, image, node):
    has_it = {"name": "n1", "has_it": None}
    assert api(olga).get(DOOR).json()[0]["nodes"] == [has_it]
    for images, said in (((image.reference,), True), ((), False)):
        take_report(node=node, report=MachineReport(engine="26.1", machines=[], images=images))
        assert api(olga).get(DOOR).json()[0]["nodes"] == [has_it | {"has_it": said}]
    take_report(node=node, report=MachineReport(engine="26.1", machines=[]))
    assert NodeEngine.objects.get().images == []


@pytest.mark.parametrize(
    ("change", "field"),
    [({"tools": {"x": "y"}}, "tools"), ({"reference": "latest"}, "reference"), ({"n": 1}, "n")],
)
def test_a_bad_form_names_its_field(api, olga, change, field):
    body = {"name": "cuda", "reference": PINNED} | change
    refused = api(olga).post(DOOR, body, format="json")
    assert refused.status_code == 400 and refused.json()["field"].startswith(field)


def test_images_are_not_there_for_members(api, carol, image):
    assert api(carol).get(DOOR).status_code == 404
    assert api(carol).post(DOOR, {}, format="json").status_code == 404
    assert api(carol).post(f"{DOOR}base/retire/").status_code == 404
    assert api().get(DOOR).status_code in {401, 403}
