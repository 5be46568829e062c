"""Real programs of dev machines in a real browser, through the studio: Gradio, Streamlit, Vite."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.machines.models import Machine, NodeEngine
from studio.machines.orders import list_orders
from studio.machines.web import access, passes
from studio.machines.web.passes import enter_url
from tests.journeys.browser import PATIENCE_MS, listen_for_complaints, open_browser
from tests.live import ROOT, free_port, wait_for
from tests.studio.machines.conftest import make_running
from tests.studio.machines.house import Ports, run_house

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]
PACKAGES = ("gradio==6.31.0", "streamlit==1.67.0")

GRADIO = """
import pathlib, sys, time
import gradio as gr

def count(to):
    for number in range(int(to)):
        time.sleep(0.2)
        yield f"{number + 1} of {to}"

with gr.Blocks() as demo:
    to = gr.Textbox(label="Count to")
    answer = gr.Textbox(label="Answer")
    gr.Button("Count").click(count, to, answer)
    file, size = gr.File(label="A file"), gr.Textbox(label="Size")
    file.upload(lambda path: str(pathlib.Path(path).stat().st_size), file, size)
demo.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]))
"""
STREAMLIT = """
import streamlit as st

st.title("A real program")
name = st.text_input("Name")
if name:
    st.write(f"Hello {name}")
file = st.file_uploader("A file")
if file is not None:
    st.write(f"It has {len(file.getvalue())} bytes")
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """An environment with the programs, kept for later runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    name = "-".join(PACKAGES).replace("==", "-")
    home = cache / "athanor-tests" / f"web-{name}-{sys.version_info[0]}{sys.version_info[1]}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (home / "ready").touch()
    return python


@pytest.fixture
def machine(rich, node) -> Machine:
    return make_running(rich, node)


@pytest.fixture
def way(request) -> str:
    """Whether ports have names or are numbers."""
    return getattr(request, "param", "names")


by_numbers = pytest.mark.parametrize("way", ["numbers"], indirect=True)
by_both = pytest.mark.parametrize("way", ["names", "numbers"], indirect=True)


@pytest.fixture
def ports(way, machine, node, settings, monkeypatch) -> Iterator[Ports]:
    first = free_port()
    numbers = range(first, first + 1) if way == "numbers" else range(0)
    settings.MACHINES_PORTS = numbers
    monkeypatch.setattr(passes, "PASS_LASTS_S", 600)  # a loaded machine starts browsers slowly
    with run_house(machine.key, node.token_hash, numbers=numbers) as ports:
        NodeEngine.objects.update(relay_port=ports.relay, relay_host="127.0.0.1")
        settings.PUBLIC_URL = f"http://localhost:{ports.studio}"
        access.forget_looks()
        yield ports


@pytest.fixture
def open_program(ports, machine, tmp_path) -> Iterator[Callable[..., Page]]:
    """`open_program(command, port)` starts a program and opens it as its owner would."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str], port: int, **env: str) -> Page:
            url = enter_url(user=machine.owner, machine=machine, port=port)
            with (tmp_path / "log").open("wb") as log:
                program = subprocess.Popen(
                    command, cwd=tmp_path, env=os.environ | env, stdout=log, stderr=log
                )
            stack.callback(program.wait, 20)
            stack.callback(program.terminate)

            def is_up() -> bool:
                assert program.poll() is None, (tmp_path / "log").read_text()
                return not socket.create_connection(("127.0.0.1", port), 1).close()

            wait_for("the program", is_up)
            return visit(url)

        def visit(url: str) -> Page:
            names = "--host-resolver-rules=MAP *.dev.test 127.0.0.1"
            page = stack.enter_context(open_browser(names)).new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.own_complaints = listen_for_complaints(page)
            page.goto(url)
            return page

        start.visit = visit
        yield start


def expect_whole(page: Page, sign: Locator) -> None:
    """Expect a page's sign, loading it anew where a change of networks has cut what it loads.

    Chromium gives requests up when any network of this computer comes or goes, as those of
    containers do in the tests beside these.
    """

    def is_there_or_cut() -> bool:
        page.wait_for_timeout(200)  # in which the browser may speak
        return sign.is_visible() or is_cut()

    def is_cut() -> bool:
        return any("ERR_NETWORK_CHANGED" in each for each in page.own_complaints)

    for _ in range(5):
        # Megabytes of scripts come before it.
        wait_for("the page", is_there_or_cut, timeout_s=3 * PATIENCE_MS / 1000)
        if not is_cut():
            return
        page.own_complaints.clear()
        page.reload()
    expect(sign).to_be_visible()


def expect_no_complaints(page: Page) -> None:
    """Fail for errors of this origin; the world outside is not there in tests."""
    origin = page.url.partition("//")[2].partition("/")[0]
    errors = [each for each in page.own_complaints if not each.startswith("warning")]
    said = [each for each in errors if origin in each or "exception" in each]
    assert said == []


def test_gradio_answers_as_it_goes_and_takes_a_file(python, open_program, tmp_path):
    (tmp_path / "app.py").write_text(GRADIO)
    (tmp_path / "large").write_bytes(bytes(20_000_000))
    port = free_port()
    page = open_program([str(python), "app.py", str(port)], port, GRADIO_ANALYTICS_ENABLED="False")
    expect_whole(page, page.get_by_label("Count to"))
    page.get_by_label("Count to").fill("15")
    page.get_by_role("button", name="Count").click()
    answer = page.get_by_label("Answer")
    expect(answer).to_have_value(re.compile("^[0-9] of 15$"))  # not all at once at the end
    expect(answer).to_have_value("15 of 15")
    page.locator("input[type=file]").set_input_files(tmp_path / "large")
    expect(page.get_by_label("Size")).to_have_value("20000000")
    expect_no_complaints(page)


@by_numbers
def test_streamlit_answers_over_its_socket_and_takes_a_file(python, open_program, tmp_path):
    (tmp_path / "app.py").write_text(STREAMLIT)
    (tmp_path / "large").write_bytes(bytes(20_000_000))
    port = free_port()
    options = ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    options += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    page = open_program([str(python), "-m", "streamlit", "run", "app.py", *options], port)
    expect_whole(page, page.get_by_role("heading", name="A real program"))
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_text("Hello Ada")).to_be_visible()
    page.locator("input[type=file]").set_input_files(tmp_path / "large")
    expect(page.get_by_text("It has 20000000 bytes")).to_be_visible()
    expect_no_complaints(page)


@by_both
def test_a_vite_page_changes_with_its_file_and_is_not_loaded_anew(
    open_program, machine, settings, tmp_path
):
    page = '<link rel="icon" href="data:,"><p id="at"></p>'
    page += '<script type="module" src="/main.js"></script>'
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "main.js").write_text(
        'import { word } from "./word.js";\n'
        'const show = (said) => (document.querySelector("#at").textContent = said);\n'
        "show(word);\n"
        'import.meta.hot?.accept("./word.js", (fresh) => show(fresh.word));\n'
    )
    (tmp_path / "word.js").write_text('export const word = "before";\n')
    port = free_port()
    vite = str(ROOT / "frontend" / "node_modules" / ".bin" / "vite")
    if not settings.MACHINES_PORTS:
        settings.MACHINES_DOMAIN = "dev.test"  # Vite asks nobody for *.localhost
    env = list_orders(machine.node)[0].environment
    command = [vite, "--host", "127.0.0.1", "--port", str(port), "--strictPort"]
    page = open_program(command, port, **env)
    expect_whole(page, page.get_by_text("before", exact=True))
    expect(page.locator("#at")).to_have_text("before")
    page.evaluate("window.isTheSamePage = true")
    (tmp_path / "word.js").write_text('export const word = "after";\n')
    expect(page.locator("#at")).to_have_text("after")
    assert page.evaluate("window.isTheSamePage")
    expect_no_complaints(page)


def test_a_page_before_its_program_opens_by_itself(open_program, machine, ports):
    port = free_port()
    page = open_program.visit(enter_url(user=machine.owner, machine=machine, port=port))
    expect(page.get_by_text("looks again by itself")).to_be_visible()
    expect(page.get_by_text("本页会自动重试")).to_be_visible()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as late:
        expect(page.get_by_role("heading", name="Directory listing")).to_be_visible()
        late.terminate()
