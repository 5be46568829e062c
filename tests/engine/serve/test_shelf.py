"""Adapters that come and go: bounded memory and slots, and no request that meets another's."""

import threading

import pytest

from engine.errors import EngineError
from engine.serve.backend import ModelUnknown, RequestRefused
from engine.serve.shelf import Adapter, Shelf
from tests.engine.serve.fake_decoder import DEADLINE_S, FakeDecoder, make_adapter


class Library:
    """Adapters by ref: its number, which is the weights too. Counts what is read."""

    def __init__(self) -> None:
        self.decoder = FakeDecoder()
        self.num_reads = 0
        self.fails = False

    def read(self, ref: str) -> Adapter:
        self.num_reads += 1
        if not ref.isdigit():
            raise EngineError("bad_model", f"{ref} is no adapter")
        return Adapter(make_adapter(int(ref)), f"digest{ref}", 10)

    def between_steps(self, work) -> None:
        if self.fails:
            raise RuntimeError("as told")
        work(self.decoder)

    def open(self, **options) -> Shelf:
        options = {"num_slots": 4, "memory_bytes": 1000} | options
        return Shelf(self.read, self.between_steps, taken=frozenset(["base"]), **options)


@pytest.fixture
def library():
    return Library()


def test_a_name_holds_its_weights_until_nobody_uses_them(library):
    shelf = library.open()
    shelf.load("mine", "7")
    held = shelf.hold("mine")
    assert (library.decoder.slots[held.slot], held.digest) == (7, "digest7")
    unloading = threading.Thread(target=shelf.unload, args=("mine",))
    unloading.start()
    while shelf.list_names():
        unloading.join(0.01)
    assert library.decoder.slots == {held.slot: 7}
    shelf.let_go(held)
    unloading.join(DEADLINE_S)
    assert library.decoder.slots == {}


def test_a_name_given_to_another_adapter_is_another(library):
    shelf = library.open()
    shelf.load("mine", "1")
    shelf.unload("mine")
    shelf.load("mine", "2")
    assert shelf.hold("mine").digest == "digest2"
    assert shelf.list_digests() == [("mine", "digest2")]


def test_the_least_recently_asked_makes_room_and_what_is_kept_stays(library):
    shelf = library.open(memory_bytes=30, kept=frozenset(["first"]))
    for number, name in enumerate(("first", "two", "three")):
        shelf.load(name, str(number))
    shelf.let_go(shelf.hold("two"))
    shelf.load("four", "4")
    assert shelf.list_names() == ["first", "four", "two"]
    assert sorted(library.decoder.slots.values()) == [0, 1, 4]


def test_slots_are_bounded_as_memory_is_and_used_again_from_the_lowest(library):
    shelf = library.open(num_slots=2)
    for number in range(9):
        shelf.load(f"name{number}", str(number))
    assert library.decoder.slots.keys() == {0, 1}
    shelf = library.open(num_slots=1, kept=frozenset(["a", "b"]))
    shelf.load("a", "1")
    with pytest.raises(EngineError, match="fill every slot"):
        shelf.load("b", "2")


def test_loading_the_same_again_reads_nothing_and_a_taken_name_is_refused(library):
    shelf = library.open()
    shelf.load("mine", "1")
    shelf.load("mine", "1")
    assert library.num_reads == 1
    for name in ("mine", "base"):
        with pytest.raises(RequestRefused, match="unload it first"):
            shelf.load(name, "2")


def test_what_cannot_be_loaded_takes_neither_name_nor_slot(library):
    shelf = library.open(num_slots=1)
    with pytest.raises(EngineError):
        shelf.load("mine", "odd")
    library.fails = True
    with pytest.raises(RuntimeError):
        shelf.load("mine", "1")
    library.fails = False
    assert shelf.list_names() == []
    shelf.load("mine", "1")
    with pytest.raises(ModelUnknown):
        shelf.hold("other")
    with pytest.raises(ModelUnknown):
        shelf.unload("other")


def test_a_slow_fetch_holds_up_no_other_adapter(library):
    may_end = threading.Event()
    read = library.read

    def read_slowly(ref: str) -> Adapter:
        if ref == "9":
            assert may_end.wait(DEADLINE_S)
        return read(ref)

    shelf = Shelf(read_slowly, library.between_steps, num_slots=4, memory_bytes=1000)
    slow = [threading.Thread(target=shelf.load, args=("slow", "9")) for _ in range(2)]
    for thread in slow:
        thread.start()
    shelf.load("quick", "1")
    shelf.unload("quick")
    assert shelf.list_names() == []
    may_end.set()
    for thread in slow:
        thread.join(DEADLINE_S)
    assert shelf.list_names() == ["slow"]
    assert list(library.decoder.slots.values()) == [9]


def test_room_is_made_of_what_nobody_uses(library):
    shelf = library.open(num_slots=2)
    shelf.load("busy", "1")
    held = shelf.hold("busy")
    shelf.load("idle", "2")
    shelf.load("new", "3")  # would wait for ever for "busy"
    assert shelf.list_names() == ["busy", "new"]
    shelf.let_go(held)
