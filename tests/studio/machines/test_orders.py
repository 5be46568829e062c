"""What nodes are told beside each machine: what to keep ready, and what the disk's limits are."""

import pytest
from rest_framework.test import APIClient

from studio.compute.services import make_node_token
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
