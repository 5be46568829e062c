"""LMDeploy as a backend: started by its own flags, asked over HTTP, ended with us."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.lmdeploy_install import install_lmdeploy
from engine.serve.backend import ChatRequest, RequestRefused
from engine.serve.backends import open_backend
from engine.serve.backends.lmdeploy import build_arguments, choose_devices, probe_flags
from engine.specs import Placement, ServeSpec
from tests.engine.serve.tiny_models import HELLO, Reader

FAKE = Path(__file__).parent / "fake_lmdeploy.py"


def make_environment(folder: Path, text: str = "") -> Path:
    """Make a folder that looks like an environment with LMDeploy."""
    program = folder / "bin" / "lmdeploy"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n" + (text or FAKE.read_text()))
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("lmdeploy") / "env")


def open_it(environment, model, tmp_path, **options):
    spec = ServeSpec(model=str(model), backend="lmdeploy", max_context=128, **options)
    return open_backend(spec, Placement(run_dir=tmp_path, lmdeploy_dir=environment), Emitter())


def test_it_is_started_asked_and_ended(environment, base, red, tmp_path):
    backend = open_it(environment, base, tmp_path, adapters=(str(red),))
    process = backend._server._process
    try:
        assert [model.name for model in backend.list_models()] == [str(base)]
        reader = Reader()
        backend.submit(ChatRequest(model=str(base), messages=HELLO), reader.pieces.put)
        text, last = reader.read_all()
        assert (last.finish, last.usage.num_prompt_tokens, last.num_tokens) == ("stop", 5, 4)
        got = json.loads(text.removeprefix("I got "))
        assert got["argv"][:3] == ["serve", "api_server", str(base)]
        assert got["argv"][got["argv"].index("--session-len") + 1] == "128"
        assert got["argv"][got["argv"].index("--adapters") + 1] == f"{red}={red}"
        assert got["body"]["messages"] == list(HELLO)
        with pytest.raises(RequestRefused, match="--tool-call-parser"):
            backend.submit(
                ChatRequest(model=str(base), messages=HELLO, tools=({"type": "function"},)), print
            )
        assert backend.is_healthy()
    finally:
        backend.close()
    assert process.poll() is not None


def test_what_it_printed_is_told_when_it_dies(base, tmp_path):
    dying = FAKE.read_text().replace('endswith("broken")', 'endswith("lmdeploy")')
    environment = make_environment(tmp_path / "env", dying)
    with pytest.raises(EngineError, match="CUDA out of memory in a far away place"):
        open_it(environment, base, tmp_path)


def test_an_environment_that_is_none_is_told(base, tmp_path):
    with pytest.raises(EngineError, match="engine lmdeploy install"):
        open_it(None, base, tmp_path)
    with pytest.raises(EngineError, match="has no bin/lmdeploy"):
        open_it(tmp_path, base, tmp_path)


def test_flags_are_probed_and_never_assumed(environment, tmp_path):
    flags = probe_flags(environment / "bin" / "lmdeploy")
    assert {"--adapters", "--dtype", "--tp"} <= flags
    spec = ServeSpec(model="a/b", backend="lmdeploy")
    with pytest.raises(EngineError, match="has no --dtype"):
        build_arguments(spec, flags - {"--dtype"}, tmp_path, {}, port=1)
    other = make_environment(tmp_path / "other", "print('--server-name --server-port')")
    with pytest.raises(EngineError, match="lacks --model-name"):
        probe_flags(other / "bin" / "lmdeploy")


@pytest.mark.parametrize(
    ("shown", "devices", "wanted"),
    [(None, (0, 1), "0,1"), ("3,GPU-5", (1,), "GPU-5"), (None, (), ""), ("2", (0,), "2")],
)
def test_it_is_shown_the_runs_own_devices(shown, devices, wanted):
    assert choose_devices(shown, devices) == wanted


def make_wheel(folder: Path) -> Path:
    """Make a wheel of a package `lmdeploy` whose program is the fake."""
    wheel = folder / "lmdeploy-0.18.0-py3-none-any.whl"
    info = "lmdeploy-0.18.0.dist-info"
    files = {
        "lmdeploy_fake.py": FAKE.read_text() + "\n\ndef main():\n    print(HELP)\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lmdeploy\nVersion: 0.18.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nlmdeploy = lmdeploy_fake:main\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return wheel


@pytest.mark.slow
def test_one_command_makes_its_environment(tmp_path, capfd):
    folder = tmp_path / "env"
    install_lmdeploy(folder, str(make_wheel(tmp_path)))
    assert "LMDeploy is ready" in capfd.readouterr().out
    listed = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert "torch" not in listed
    with pytest.raises(EngineError, match="is not empty"):
        install_lmdeploy(folder)
