"""Nodes and images in a browser: a node joins, holds a machine, is emptied and removed."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.journeys.browser import NARROW, Visitor
from tests.live import LiveStudio, wait_for

GIB = 2**30
IMAGE = "sha256:" + "b" * 64


class FarNode:
    """A node as the studio hears it: two mock GPUs, and machines that are as they shall be."""

    def __init__(self, studio: LiveStudio) -> None:
        self.http = httpx.Client(base_url=f"{studio.url}/api/internal/nodes", timeout=60)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._states: list[dict[str, Any]] = []

    def join(self, token: str) -> None:
        answer = self.http.post("/join/", json={"token": token})
        assert answer.is_success, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['node_token']}"
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(60)

    def beat(self) -> int:
        gpus = [
            {"index": i, "name": "Mock GPU", "memory_bytes": 80 * GIB, "uuid": f"MOCK-{i}"}
            for i in range(2)
        ]
        size = {"cores": 8, "memory_bytes": 64 * GIB, "disk_free_bytes": GIB, "disk_bytes": 4 * GIB}
        runtime = {"runtime": "docker", "runtime_problem": "Its image carries no engine."}
        body = size | runtime | {"version": "0.1.0", "devices": gpus, "runs": []}
        return self.http.post("/heartbeat/", json=body).status_code

    def _live(self) -> None:
        while not self._end.wait(0.5) and self.beat() == 200:
            report = {"engine": "27.0", "machines": self._states, "images": [IMAGE]}
            answer = self.http.post("/machines/", json=report)
            orders = answer.json()["orders"] if answer.is_success else []
            self._states = [
                {
                    "machine": order["machine"],
                    "life": order["life"],
                    "start": order["start"],
                    "phase": "running" if order["is_running"] else "stopped",
                }
                for order in orders
            ]


@pytest.fixture
def far(live) -> Iterator[FarNode]:
    """The node, and the image that it has: offered for as long as the test."""
    node, body = FarNode(live), {"name": "far", "reference": IMAGE, "title": "Far"}
    with live.client("root", role="administrator") as http:
        assert http.post("/api/machine-images/", json=body).status_code == 201
        yield node
        http.post("/api/machine-images/far/retire/")
    node.end()


@pytest.fixture
def adam(visit) -> Visitor:
    return visit("adam", role="administrator")


def make_machine(live: LiveStudio, owner: str) -> str:
    live.grant(owner, 1_000_000)
    wish = {"name": "box", "image": "far", "flavor": "gpu-30p", "duration_s": 3600}
    with live.client(owner) as http:
        made = http.post("/api/machines/", json=wish)
        assert made.status_code == 201, made.text
        return str(made.json()["key"])


def join_by_page(adam: Visitor, far: FarNode) -> None:
    """Have adam make a token, refused a name that is taken first, and the far node use it."""
    page = adam.page
    adam.go("/nodes")
    expect(page.get_by_role("region", name="local").get_by_text("Online")).to_be_visible()
    page.get_by_role("button", name="Add a node").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("local")
    dialog.get_by_role("button", name="Make a token").click()
    expect(dialog.get_by_text("A node is called local already").first).to_be_visible()
    dialog.get_by_label("Name").fill("far")
    dialog.get_by_role("button", name="Make a token").click()
    command = dialog.get_by_role("region", name="On the machine that joins").inner_text().split()
    expect(dialog.get_by_text("far, by adam")).to_be_visible()
    adam.expect_accessible()
    far.join(command[command.index("--token") + 1])
    dialog.get_by_role("button", name="Close").last.click()


def test_a_node_joins_holds_a_machine_is_emptied_and_removed(adam, visit, live, far):
    page = adam.page
    join_by_page(adam, far)
    panel = page.get_by_role("region", name="far")
    expect(panel.get_by_text("Online")).to_be_visible()
    expect(panel.get_by_text("mock", exact=True)).to_have_count(2)
    expect(panel.get_by_text("27.0")).to_be_visible()
    expect(panel.get_by_text("in containers")).to_be_visible()
    expect(panel.get_by_role("alert")).to_have_text("Its image carries no engine.")

    key = make_machine(live, "nora")
    expect(panel.get_by_role("img", name="GPU 0: box (nora) 30 % · 70 % free")).to_be_visible()
    expect(panel.get_by_role("link", name="box")).to_have_attribute("href", f"/machines/{key}")
    adam.expect_accessible()

    panel.get_by_role("button", name="Empty: far").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Machines stop").click()
    page.get_by_title("now", exact=True).click()
    dialog.get_by_label("What owners read").fill("new memory")
    dialog.get_by_role("button", name="Empty it").click()
    expect(panel.get_by_text("Nothing goes on it any more")).to_be_visible()
    expect(panel.get_by_text("Emptied", exact=True)).to_be_visible()
    nora = visit("nora")
    nora.go(f"/machines/{key}")
    expect(nora.page.get_by_text("The administrator says: new memory")).to_be_visible()
    nora.expect_accessible()

    panel.get_by_role("button", name="Remove: far").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Stopped machines: 1.")).to_be_visible()
    dialog.get_by_role("button", name="Remove").click()
    expect(panel).to_have_count(0)
    assert wait_for("the token to be refused", lambda: far.beat() == 410)
    nora.go(f"/machines/{key}")
    expect(nora.page.get_by_text("Its node was removed.").first).to_be_visible()
    assert all("409" in said for said in adam.complaints)
    adam.complaints.clear()  # the browser notes the refusal of a taken name itself


def test_an_image_is_registered_changed_and_retired(adam):
    page = adam.page
    adam.go("/images")
    page.get_by_role("button", name="Register an image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("cuda")
    dialog.get_by_label("Title").fill("CUDA and JupyterLab")
    dialog.get_by_label("Digest or id").fill("athanor/machine:latest")
    dialog.get_by_label("Tools").fill("lab")
    dialog.get_by_role("button", name="Offer it").click()
    expect(dialog.get_by_text("Write lab as NAME=PORT")).to_be_visible()
    dialog.get_by_label("Tools").fill("lab=8888\nvscode=8080")
    dialog.get_by_role("button", name="Offer it").click()
    expect(dialog.get_by_text("Name it by what cannot change")).to_be_visible()
    adam.expect_accessible()
    dialog.get_by_label("Digest or id").fill("sha256:" + "c" * 64)
    dialog.get_by_role("button", name="Offer it").click()
    row = page.get_by_role("row").filter(has_text="CUDA and JupyterLab")
    expect(row.get_by_text("lab=8888")).to_be_visible()
    row.get_by_role("button", name="Change: cuda").click()
    page.get_by_role("dialog").get_by_label("Title").fill("CUDA 13")
    page.get_by_role("dialog").get_by_role("button", name="Offer it").click()
    row = page.get_by_role("row").filter(has_text="CUDA 13")
    row.get_by_role("button", name="Retire: cuda").click()
    page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    expect(row.get_by_text("Retired")).to_be_visible()
    adam.expect_accessible()
    assert all("400" in said for said in adam.complaints)
    adam.complaints.clear()


def test_operators_look_and_members_see_nothing(visit):
    olga: Visitor = visit("opal", role="operator", language="zh", size=NARROW)
    olga.go("/nodes")
    expect(olga.page.get_by_role("region", name="local")).to_be_visible()
    expect(olga.page.get_by_role("button", name="添加节点")).to_have_count(0)
    olga.expect_no_sideways_scroll()
    mila: Visitor = visit("mila")
    for path in ("/nodes", "/images"):
        mila.go(path)
        expect(mila.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
