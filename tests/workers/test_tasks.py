"""The queue's tasks: an order is kept once, or not at all."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from workers import tasks
from workers.errors import WorkerError
from workers.files import hold_lock, read_json, write_once, write_whole
from workers.inventory import take_inventory
from workers.node_dir import NodeDir
from workers.orders import RunOrder
from workers.unreadable import name_fields

MakeOrder = Callable[..., RunOrder]


def test_an_order_is_spooled_once(node: NodeDir, make_order: MakeOrder) -> None:
    order = make_order().model_dump_json()
    assert tasks.start_run(node, order) == "spooled"
    assert tasks.start_run(node, order) == "known"
    assert len(node.list_orders()) == 1


def test_a_spooled_order_reads_back_as_it_was_sent(node: NodeDir, make_order: MakeOrder) -> None:
    order = make_order(devices=(1,), push_to="alice/out", resume_run_id="earlier-1")
    node.spool_order(order)
    assert RunOrder.model_validate_json(node.list_orders()[0].read_bytes()) == order


def test_the_same_order_in_many_threads_is_kept_whole(node: NodeDir, make_order: MakeOrder) -> None:
    order = make_order().model_dump_json()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(tasks.start_run(node, order)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["known"] * 7 + ["spooled"]
    assert RunOrder.model_validate_json(node.list_orders()[0].read_bytes())


def test_a_late_order_is_not_kept(node: NodeDir, make_order: MakeOrder) -> None:
    assert tasks.start_run(node, make_order(expires_at=time.time()).model_dump_json()) == "late"
    assert node.list_orders() == []


@pytest.mark.parametrize("run_id", ["../escape", "", "/etc", ".hidden", "a/b", "x" * 65])
def test_a_run_id_that_is_no_name_is_refused(
    node: NodeDir, make_order: MakeOrder, run_id: str
) -> None:
    order = json.loads(make_order().model_dump_json()) | {"run_id": run_id}
    assert tasks.start_run(node, json.dumps(order)) == "refused"
    assert list(node.orders.iterdir()) == []


def test_an_order_that_cannot_be_read_is_kept_once_for_the_refusal(
    node: NodeDir, make_order: MakeOrder
) -> None:
    order = json.loads(make_order().model_dump_json())
    order["spec"]["not_known_here"] = 1
    for _ in range(2):
        assert tasks.start_run(node, json.dumps(order)) == "refused"
    (path,) = node.list_orders()
    assert json.loads(path.read_bytes()) == order
    late = order | {"run_id": "late-1", "expires_at": time.time()}
    assert tasks.start_run(node, json.dumps(late)) == "late"
    assert node.list_orders() == [path]


def test_a_refusal_names_fields_as_people_write_them(make_order: MakeOrder) -> None:
    order = json.loads(make_order().model_dump_json())
    order["spec"] |= {"not_known_here": 1, "lora": {"rank": "many\n"}}
    with pytest.raises(ValidationError) as caught:
        RunOrder.model_validate(order)
    assert name_fields(caught.value) == ["spec.lora.rank", "spec.not_known_here"]
    with pytest.raises(ValidationError) as caught:
        RunOrder.model_validate(order | {"spec": {"kind": "dream"}, "run_index": 0})
    assert name_fields(caught.value) == ["run_index", "spec.kind"]


def test_an_order_of_a_newer_studio_with_more_fields_is_kept(
    node: NodeDir, make_order: MakeOrder
) -> None:
    order = json.loads(make_order().model_dump_json()) | {"priority": 3}
    assert tasks.start_run(node, json.dumps(order)) == "spooled"


def test_a_ping_answers_and_leaves_its_stamp() -> None:
    assert tasks.ping("here")["time"] > 0
    assert tasks.last_ping["stamp"] == "here"
    tasks.ping(None)
    assert tasks.last_ping["stamp"] == "here"


def test_write_once_keeps_the_first_value_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    assert write_once(path, {"n": 1})
    assert not write_once(path, {"n": 2})
    assert read_json(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_without_an_object_in_it_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    write_whole(tmp_path / "note.json", content)
    assert read_json(tmp_path / "note.json") is None


def test_a_second_holder_of_a_lock_is_told_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "report.lock"
    with (
        hold_lock(path, "report"),
        pytest.raises(WorkerError, match="stop it, or change ATHANOR_NODE_DIR"),
        hold_lock(path, "report"),
    ):
        pass
    with hold_lock(path, "report"):
        pass


def test_the_inventory_counts_what_is_there(tmp_path: Path) -> None:
    inventory = take_inventory(tmp_path)
    assert inventory.cores >= 1
    assert inventory.memory_bytes > 1 << 28
    assert inventory.disk_free_bytes > 0
