"""What nodes are told beside each machine: what to keep ready, and what the disk's limits are."""

import pytest
from django.core.exceptions import ValidationError
from rest_framework.test import APIClient

from studio.compute.models import Flavor
from studio.compute.services import make_node_token
from studio.machines.disks import find_usual_sizes
from studio.machines.models import Image, NodeEngine, Status
from studio.machines.orders import find_usual_image, list_orders
from studio.machines.placing import place_machines
from tests.studio.machines.conftest import make_machine

GIB = 2**30


@pytest.mark.django_db
def test_the_usual_image_is_what_most_machines_have_of_those_that_are_offered(rich, image, node):
    other = Image.objects.create(name="other", title="Other", reference="sha256:other")
    assert find_usual_image() == image.reference  # the older, where nobody has made any
    for number in range(2):
        machine = make_machine(rich, f"box-{number}")
        machine.image = other
        machine.save()
    assert find_usual_image() == "sha256:other"
    other.is_active = False
    other.save()
    assert find_usual_image() == image.reference
    image.delete()
    assert find_usual_image() == ""


def test_a_machine_that_was_deleted_makes_no_image_usual(rich, image, node):
    other = Image.objects.create(name="other", title="Other", reference="sha256:other")
    machine = make_machine(rich)
    machine.image, machine.status = other, Status.DELETED
    machine.save()
    assert find_usual_image() == image.reference


def test_limits_of_the_disk_are_told_with_each_order_and_what_is_unlimited_is_kept(
    settings, rich, node
):
    settings.MACHINE_DISK_GIB, settings.MACHINE_SCRATCH_GIB = 7, 0
    make_machine(rich)
    place_machines()
    (order,) = list_orders(node)
    assert (order.limits.disk_bytes, order.limits.scratch_bytes) == (7 * GIB, None)
    door = APIClient()
    door.credentials(HTTP_AUTHORIZATION=f"Bearer {make_node_token(name='n1')}")
    report = {"engine": "26.1", "machines": [], "unlimited": ["layer"]}
    answer = door.post("/api/internal/nodes/machines/", report, format="json").json()
    assert (answer["disk_bytes"], answer["scratch_bytes"]) == (7 * GIB, None)
    assert answer["usual_image"] == "sha256:abc"
    assert NodeEngine.objects.get(node=node).unlimited == ["layer"]


def test_a_flavor_s_own_disk_sizes_go_before_the_studio_s(settings, api, rich, node):
    settings.MACHINE_DISK_GIB, settings.MACHINE_SCRATCH_GIB = 7, 9
    Flavor.objects.filter(name="cpu-1").update(disk_gib=0, scratch_gib=3)
    for flavor in ("cpu-1", "cpu-2"):
        make_machine(rich, flavor, flavor=flavor)
    place_machines()
    own, usual = list_orders(node)
    if own.hostname != "cpu-1":
        own, usual = usual, own
    assert (own.limits.disk_bytes, own.limits.scratch_bytes) == (None, 3 * GIB)
    assert (usual.limits.disk_bytes, usual.limits.scratch_bytes) == (7 * GIB, 9 * GIB)
    offered = {
        each["name"]: each for each in api(rich).get("/api/machines/options/").json()["flavors"]
    }
    shown = {each["name"]: each["flavor"] for each in api(rich).get("/api/machines/").json()}
    for said in (offered["cpu-1"], shown["cpu-1"]):
        assert (said["disk_bytes"], said["scratch_bytes"]) == (None, 3 * GIB)
    for said in (offered["cpu-2"], shown["cpu-2"]):
        assert (said["disk_bytes"], said["scratch_bytes"]) == (7 * GIB, 9 * GIB)


def test_spares_are_made_with_the_sizes_that_most_machines_have(rich, node):
    assert find_usual_sizes() == (None, None)
    Flavor.objects.filter(name="cpu-1").update(scratch_gib=3)
    make_machine(rich, "one")
    make_machine(rich, "two")
    make_machine(rich, "three", flavor="cpu-2")
    assert find_usual_sizes() == (None, 3)


@pytest.mark.parametrize("field, most", [("disk_gib", 100_000), ("scratch_gib", 16_000)])
def test_a_flavor_cannot_have_a_size_that_no_node_takes(db, field, most):
    flavor = Flavor.objects.get(name="cpu-1")
    setattr(flavor, field, most)
    flavor.full_clean()
    setattr(flavor, field, most + 1)
    with pytest.raises(ValidationError, match="flavor_"):
        flavor.full_clean()
