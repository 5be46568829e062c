"""Saving a machine as an image, and cloning one: done once, told when it fails, no stranger's."""

from datetime import timedelta

import pytest
from django.utils import timezone

from studio.core.errors import BadInput, Conflict, NotFound
from studio.machines import saving
from studio.machines.cloning import clone_machine
from studio.machines.images import register_image
from studio.machines.models import Image, Machine, Reason, Saving, Status
from studio.machines.orders import list_orders
from studio.machines.placing import place_machines
from studio.machines.reports import take_report
from studio.machines.services import (
    change_machine,
    create_machine,
    delete_machine,
    reset_machine,
    start_machine,
    stop_machine,
)
from studio.machines.wishes import Wish
from studio.points.services import grant_points
from tests.factories import make_node
from tests.studio.machines.conftest import have_engine, make_machine, make_running, tell
from workers.machines.orders import MachinePhase, MachineReport, SavedState

ID = "sha256:" + "b" * 64


@pytest.fixture
def box(rich, node) -> Machine:
    return make_running(rich, node)


def save(box: Machine, name: str = "mine") -> Saving:
    saving.save_machine(by=box.owner, machine=box, name=name)
    return Saving.objects.get(image__name=name, machine=box, ended_at=None)


def say(node, *states: SavedState) -> None:
    take_report(node=node, report=MachineReport(engine="26.1", machines=[], saved=states))


def finish(node, key: str) -> None:
    say(node, SavedState(key=key, image=ID, size_bytes=1234))


def test_a_save_is_ordered_until_its_node_says_what_came_of_it(box, node):
    key = save(box).key
    assert [order.save for order in list_orders(node)] == [key]
    assert saving.list_kept_keys(node) == [key]
    finish(node, key)
    assert [order.save for order in list_orders(node)] == [None]
    image = Image.objects.get(name="mine")
    assert (image.reference, image.size_bytes, image.is_active, image.node) == (
        ID,
        1234,
        True,
        node,
    )
    assert (image.owner, image.tools) == (box.owner, {"vscode": 8080, "lab": 8888})
    finish(node, key)  # told twice
    assert saving.list_kept_keys(node) == [key]


def test_asked_twice_it_is_done_once(box):
    save(box)
    saving.save_machine(by=box.owner, machine=box, name="mine")
    assert Saving.objects.count() == 1
    with pytest.raises(Conflict) as refused:
        saving.save_machine(by=box.owner, machine=box, name="other")
    assert refused.value.code == "saving_already"


@pytest.mark.parametrize("name", ["", "My", "a b", "-a", "a_b", "x" * 40, "base\n"])
def test_a_bad_name_is_refused_by_its_field(box, name):
    with pytest.raises(BadInput) as refused:
        saving.save_machine(by=box.owner, machine=box, name=name)
    assert refused.value.field == "name"


def test_a_name_of_an_image_that_is_there_is_refused(box, node):
    for name in ("base", "mine"):
        if name == "mine":
            finish(node, save(box).key)
        with pytest.raises(Conflict) as refused:
            saving.save_machine(by=box.owner, machine=box, name=name)
        assert refused.value.code == "image_name_taken"


def test_five_are_the_most_and_one_that_is_deleted_makes_room(box, node):
    for number in range(saving.MOST_SAVED):
        finish(node, save(box, f"i{number}").key)
    with pytest.raises(Conflict) as refused:
        saving.save_machine(by=box.owner, machine=box, name="more")
    assert refused.value.code == "too_many_saved"
    saving.delete_saved(by=box.owner, name="i0")
    save(box, "i0")


def test_a_failure_is_told_and_leaves_no_image(box, node):
    say(node, SavedState(key=save(box).key, problem="The disk of its node is full."))
    assert not saving.list_saved(box.owner).exists()
    assert saving.list_kept_keys(node) == []
    assert Saving.objects.get().problem == "The disk of its node is full."
    save(box)  # the name is free again


def test_what_never_ends_is_given_up_after_an_hour(box):
    save(box)
    Saving.objects.update(begun_at=timezone.now() - timedelta(minutes=61))
    saving.fail_overdue_savings()
    assert "within an hour" in Saving.objects.get().problem


def test_another_nodes_word_is_not_heard(box):
    key = save(box).key
    finish(make_node("n2"), key)
    assert Saving.objects.get(key=key).ended_at is None


def test_a_machine_without_a_container_has_nothing_to_save(rich, node, box):
    waiting = make_machine(rich, "other")
    with pytest.raises(Conflict) as refused:
        saving.save_machine(by=rich, machine=waiting, name="mine")
    assert refused.value.code == "no_container_to_save"


def test_what_is_being_saved_is_neither_reset_nor_changed_and_may_be_deleted(rich, node, box):
    stop_machine(by=rich, machine=box)
    tell(box, node, MachinePhase.STOPPED)
    save(box)
    for deed in (reset_machine, change_machine):
        with pytest.raises(Conflict) as refused:
            deed(by=rich, machine=box)
        assert refused.value.code == "saving_already"
    delete_machine(by=rich, machine=box)
    assert "deleted" in Saving.objects.get().problem


def test_a_machine_of_a_saved_image_goes_to_the_node_that_has_it(rich, node, box):
    finish(node, save(box).key)
    other = make_node("n2", cores=64, memory_gib=256)
    have_engine(other)
    made = create_machine(owner=rich, wish=Wish("two", "mine", "cpu-1"))
    place_machines()
    made.refresh_from_db()
    assert made.node == node
    have_engine(node, version="")  # away
    third = create_machine(owner=rich, wish=Wish("three", "mine", "cpu-1"))
    place_machines()
    third.refresh_from_db()
    assert third.status == Status.QUEUED and "n1 does not answer" in third.message


def test_a_deleted_image_is_kept_while_a_machine_has_it(rich, node, box):
    key = save(box).key
    finish(node, key)
    made = create_machine(owner=rich, wish=Wish("two", "mine", "cpu-1"))
    saving.delete_saved(by=rich, name="mine")
    assert not saving.list_saved(rich).exists()
    with pytest.raises(BadInput):
        create_machine(owner=rich, wish=Wish("three", "mine", "cpu-1"))
    assert saving.list_kept_keys(node) == [key]
    delete_machine(by=rich, machine=made)
    assert saving.list_kept_keys(node) == []


def test_a_saved_image_is_its_owners_alone(rich, bob, olga, node, box, api):
    finish(node, save(box).key)
    grant_points(by=None, to=bob, mpoints=1_000_000, note="", key="bob")
    base = f"/api/machines/{box.key}"
    for person in (bob, olga):
        client = api(person)
        assert client.get("/api/saved-images/").json() == []
        assert client.delete("/api/saved-images/mine/").status_code == 404
        names = [each["name"] for each in client.get("/api/machines/options/").json()["images"]]
        assert names == ["base"]
        for deed in ("save", "clone"):
            asked = client.post(f"{base}/{deed}/", {"name": "theirs"}, format="json")
            assert asked.status_code == 404
    wish = {"name": "x", "image": "mine", "flavor": "cpu-1", "duration_s": 3600}
    assert api(bob).post("/api/machines/", wish, format="json").status_code == 400
    assert api(None).get("/api/saved-images/").status_code == 401
    assert [each["name"] for each in api(rich).get("/api/saved-images/").json()] == ["mine"]
    assert api(rich).delete("/api/saved-images/mine/").status_code == 204
    with pytest.raises(NotFound):
        saving.delete_saved(by=rich, name="mine")


def test_an_operators_image_of_the_same_name_changes_nobodys_own(rich, node, box):
    finish(node, save(box).key)
    register_image(by=None, name="mine", reference="sha256:" + "c" * 64)
    made = create_machine(owner=rich, wish=Wish("two", "mine", "cpu-1"))
    assert made.image.reference == ID


def test_a_clone_waits_for_its_copy_and_then_starts_like_its_source(rich, node, box):
    made = clone_machine(by=rich, machine=box, name="twin")
    assert (made.flavor, made.status, made.lease.ended_at) == (box.flavor, Status.QUEUED, None)
    place_machines()
    made.refresh_from_db()
    assert made.status == Status.QUEUED and "copy is being made" in made.message
    key = list_orders(node)[0].save
    assert key is not None
    finish(node, key)
    place_machines()
    made.refresh_from_db()
    assert (made.status, made.node, made.image.reference) == (Status.STARTING, node, ID)
    assert not saving.list_saved(rich).exists()  # it is no image that anybody picks
    delete_machine(by=rich, machine=made)
    tell(made, node, None)
    assert saving.list_kept_keys(node) == []


def test_a_clone_whose_copy_fails_ends_with_the_reason_and_gives_its_points_back(rich, node, box):
    made = clone_machine(by=rich, machine=box, name="twin")
    say(node, SavedState(key=str(list_orders(node)[0].save), problem="The disk is full."))
    made.refresh_from_db()
    assert (made.status, made.reason) == (Status.STOPPED, Reason.START_FAILED)
    assert "The disk is full." in made.message
    assert made.lease.ended_at is not None
    with pytest.raises(Conflict) as refused:
        start_machine(by=rich, machine=made)
    assert refused.value.code == "copy_failed"


def test_a_clone_of_what_has_no_container_begins_from_its_image(rich, node, box):
    stop_machine(by=rich, machine=box)
    tell(box, node, MachinePhase.STOPPED)
    reset_machine(by=rich, machine=box)
    made = clone_machine(by=rich, machine=box, name="twin")
    assert made.image.name == "base" and not Saving.objects.exists()


def test_a_second_click_on_clone_makes_no_second_machine(rich, box):
    clone_machine(by=rich, machine=box, name="twin")
    with pytest.raises(Conflict) as refused:
        clone_machine(by=rich, machine=box, name="twin")
    assert refused.value.code == "machine_name_taken"
    with pytest.raises(Conflict) as refused:
        clone_machine(by=rich, machine=box, name="triplet")
    assert refused.value.code == "saving_already"
    assert (Machine.objects.count(), Saving.objects.count()) == (2, 1)
