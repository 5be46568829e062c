"""`make up` where names below a domain are missing: machines' ports at numbers of its own host.

The real parent and its web process; the machine is a page of this computer behind a real relay.
"""

import random
import socket
import threading
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.journeys.fake_node import run_node
from tests.live import LiveStudio, run_studio, wait_for

pytestmark = [
    pytest.mark.timeout(600),  # a studio of its own comes up first
    pytest.mark.xdist_group("made-up node"),  # its address is one: two workers cannot have it
]
MIB = 2**20
SENT_MIB, GROWTH_MIB = 200, 64


@pytest.fixture(scope="module")
def numbers() -> range:
    """Four ports of this machine that are free."""
    while True:
        # Below those that the system gives to whoever connects somewhere in between.
        first = random.randrange(20_000, 32_000, 4)
        if all(map(is_free, range(first, first + 4))):
            return range(first, first + 4)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def studio(tmp_path_factory, numbers) -> Iterator[LiveStudio]:
    ports = f"{numbers[0]}-{numbers[-1]}"
    folder = tmp_path_factory.mktemp("studio")
    with run_studio(folder, STUDIO_MACHINES_PORTS=ports) as studio:
        studio.manage("machine_image", "add", "base", "sha256:" + "a" * 64, "--tool=vscode=8080")
        studio.grant("mona", 10_000_000)
        with run_node(studio, tmp_path_factory.mktemp("node")):
            yield studio


@pytest.fixture(scope="module")
def browser(studio) -> Iterator[httpx.Client]:
    """A browser at the machine's port, signed in there as its page does it."""
    wish = {"name": "box", "image": "base", "flavor": "cpu-1", "duration_s": 3600}
    with studio.client("mona") as api:
        made = api.post("/api/machines/", json=wish)
        assert made.status_code == 201, made.text
        at = f"/api/machines/{made.json()['key']}/"
        wait_for("the machine", lambda: api.get(at).json()["progress"]["is_usable"])
        url = httpx.URL(api.post(f"{at}enter/", json={"port": 8080}).json()["url"])
    headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    with httpx.Client(base_url=url.copy_with(raw_path=b"/"), headers=headers, timeout=120) as http:
        assert http.get(url).status_code == 303
        yield http


def test_a_machine_s_port_opens_at_a_number_of_the_studio_s_own(studio, numbers, browser):
    assert browser.base_url.port in numbers
    answer = browser.get("/")
    assert answer.status_code == 200 and "The editor is here" in answer.text
    bare = browser.base_url.copy_with(raw_path=b"/")
    assert httpx.get(bare).status_code in {303, 401, 403, 404}  # nobody who is known
    other = bare.copy_with(port=next(n for n in numbers if n != bare.port))
    assert httpx.get(other).status_code == 404
    assert "The editor is here" not in httpx.get(studio.url).text


def test_a_large_upload_passes_through_and_is_not_kept_in_memory(studio, browser):
    web = psutil.Process(studio.pids()["web"])
    browser.post("/upload", content=bytes(MIB)).raise_for_status()  # what any upload loads
    before, most, is_over = web.memory_info().rss, [0], threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            most[0] = max(most[0], web.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        pieces = (bytes([number % 251]) * MIB for number in range(SENT_MIB))
        length = {"Content-Length": str(SENT_MIB * MIB)}
        answer = browser.post("/upload", content=pieces, headers=length)
    finally:
        is_over.set()
        looking.join()
    assert answer.json() == {"size": SENT_MIB * MIB}
    assert most[0] - before < GROWTH_MIB * MIB, f"{(most[0] - before) / MIB:.0f} MiB"
