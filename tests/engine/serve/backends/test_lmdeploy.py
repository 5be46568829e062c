"""LMDeploy as a backend: started by its own flags, asked over HTTP, ended with us."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.lmdeploy_install import install_lmdeploy
from engine.serve.backend import (
    ChatRequest,
    Constraint,
    EmbedRequest,
    RequestRefused,
    Sampling,
    TextRequest,
)
from engine.serve.backends import open_backend
from engine.serve.backends.lmdeploy import VERSION, build_arguments, choose_devices, probe_flags
from engine.specs import Placement, ServeSpec
from tests.engine.serve.tiny_models import HELLO, Reader

FAKE = Path(__file__).parent / "fake_lmdeploy.py"
FACTS = FAKE.with_name("lmdeploy_facts.json")
SEVEN = Constraint("json_schema", '{"type": "integer"}')


def make_environment(folder: Path, text: str = "") -> Path:
    """Make a folder that looks like an environment with LMDeploy."""
    program = folder / "bin" / "lmdeploy"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n" + (text or FAKE.read_text()))
    program.chmod(0o755)
    shutil.copy(FACTS, program.parent)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("lmdeploy") / "env")


def open_it(environment, model, tmp_path, **options):
    spec = ServeSpec(model=str(model), backend="lmdeploy", max_context=128, **options)
    return open_backend(spec, Placement(run_dir=tmp_path, lmdeploy_dir=environment), Emitter())


@pytest.fixture
def backend(environment, base, tmp_path):
    backend = open_it(environment, base, tmp_path)
    yield backend
    backend.close()


@pytest.fixture
def backend_with_adapter(environment, base, red, tmp_path):
    backend = open_it(environment, base, tmp_path, adapters=(str(red),))
    yield backend
    backend.close()


def ask(backend, **options):
    """Return what the server was sent, and the last piece."""
    reader = Reader()
    kind = TextRequest if "prompt" in options else ChatRequest
    what = options if "prompt" in options else {"messages": HELLO} | options
    backend.submit(kind(model=backend.list_models()[0].name, **what), reader.pieces.put)
    text, last = reader.read_all()
    return json.loads(text.removeprefix("I got ")), last


def read_flags(got):
    """Return the flags that the server was started with; those without a value are True."""
    flags = {}
    for word in got["argv"][3:]:
        if word.startswith("--"):
            name = word
            flags[name] = True
        else:
            flags[name] = word
    return flags


def test_it_is_started_asked_and_ended(environment, base, red, tmp_path):
    backend = open_it(environment, base, tmp_path, adapters=(str(red),))
    process = backend._server._process
    try:
        assert [model.name for model in backend.list_models()] == [str(base), str(red)]
        reader = Reader()
        backend.submit(ChatRequest(model=str(base), messages=HELLO), reader.pieces.put)
        text, last = reader.read_all()
        assert (last.finish, last.usage.num_prompt_tokens, last.num_tokens) == ("stop", 5, 4)
        got = json.loads(text.removeprefix("I got "))
        assert got["argv"][:3] == ["serve", "api_server", str(base)]
        assert got["argv"][got["argv"].index("--session-len") + 1] == "128"
        assert got["argv"][got["argv"].index("--adapters") + 1] == f"{red}={red}"
        assert got["body"]["messages"] == list(HELLO)
        assert last.usage.num_cached_tokens == 2
        with pytest.raises(RequestRefused, match="--tool-call-parser"):
            backend.submit(
                ChatRequest(model=str(base), messages=HELLO, tools=({"type": "function"},)), print
            )
        assert backend.is_healthy()
    finally:
        backend.close()
    assert process.poll() is not None


def test_what_the_spec_says_becomes_its_flags(environment, base, tmp_path):
    backend = open_it(
        environment,
        base,
        tmp_path,
        kv_precision="int8",
        max_running=600,
        max_batch_tokens=2048,
        tensor_parallel=2,
    )
    try:
        flags = read_flags(ask(backend)[0])
    finally:
        backend.close()
    assert flags["--quant-policy"] == "8"
    assert flags["--max-batch-size"] == "600"
    assert flags["--max-prefill-token-num"] == "2048"
    assert flags["--enable-prefix-caching"] is True
    assert (flags["--tp"], flags["--dtype"]) == ("2", "bfloat16")


def test_what_is_at_its_default_is_left_to_it(tmp_path):
    flags = frozenset(json.loads(FACTS.read_text())["flags"])
    spec = ServeSpec(model="a/b", backend="lmdeploy", has_prefix_cache=False)
    arguments = build_arguments(spec, flags, tmp_path, {}, port=1)
    for name in ("--quant-policy", "--enable-prefix-caching", "--max-prefill-token-num"):
        assert name not in arguments
    assert arguments[arguments.index("--max-batch-size") + 1] == "64"
    int4 = spec.model_copy(update={"kv_precision": "int4"})
    with pytest.raises(EngineError, match="has no --quant-policy"):
        build_arguments(int4, flags - {"--quant-policy"}, tmp_path, {}, port=1)


def test_the_facts_are_of_the_version_that_we_install():
    assert json.loads(FACTS.read_text())["version"] == VERSION


def test_how_it_draws_is_told_in_full(backend):
    """What is left out it takes from its own defaults, which are not ours."""
    got, _ = ask(backend)
    wanted = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    assert {name: got["body"][name] for name in wanted} == wanted
    got, _ = ask(backend, prompt="Once", sampling=Sampling(temperature=0, top_k=7))
    assert (got["body"]["temperature"], got["body"]["top_k"]) == (0, 1)


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (Sampling(frequency_penalty=0.5), "frequency_penalty"),
        (Sampling(presence_penalty=-0.5), "presence_penalty"),
        (Sampling(stop_token_ids=(3,)), "stop_token_ids"),
        (Sampling(logit_bias=((3, 1.0),)), "logit_bias"),
    ],
)
def test_what_it_would_pass_over_is_refused(backend, sampling, field):
    for request in (
        ChatRequest(model="x", messages=HELLO, sampling=sampling),
        TextRequest(model="x", prompt="Once", sampling=sampling),
    ):
        with pytest.raises(RequestRefused, match="LMDeploy") as refused:
            backend.submit(request, print)
        assert (refused.value.status, refused.value.field) == (400, field)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"prompt": (1, 2)}, "prompt"),
        ({"prompt": "Once", "sampling": Sampling(num_logprobs=1)}, "logprobs"),
        ({"prompt": "Once", "sampling": Sampling(constraint=SEVEN)}, "response_format"),
    ],
)
def test_of_a_completion_it_takes_less_than_of_a_chat(backend, options, field):
    with pytest.raises(RequestRefused, match="LMDeploy") as refused:
        backend.submit(TextRequest(model="x", **options), print)
    assert (refused.value.status, refused.value.field) == (400, field)
    sampling = Sampling(num_logprobs=1, constraint=SEVEN)
    body = ask(backend, sampling=sampling)[0]["body"]
    assert body["top_logprobs"] == 1
    assert body["response_format"]["json_schema"]["schema"] == {"type": "integer"}


def test_its_pytorch_engine_takes_biases(backend_with_adapter):
    got, _ = ask(backend_with_adapter, sampling=Sampling(logit_bias=((3, 1.0),)))
    assert got["body"]["logit_bias"] == {"3": 1.0}
    assert read_flags(got)["--backend"] == "pytorch"
    assert read_flags(got)["--logprobs-mode"] == "raw_logprobs"


def test_an_answer_stops_at_any_text_though_it_knows_only_tokens(backend):
    reader = Reader()
    sampling = Sampling(stop=("got",))
    request = ChatRequest(model=backend.list_models()[0].name, messages=HELLO, sampling=sampling)
    backend.submit(request, reader.pieces.put)
    text, last = reader.read_all()
    assert (text, last.finish) == ("I ", "stop")


@pytest.mark.parametrize("seed", [13, 14, 15])
def test_an_answer_that_it_gives_up_on_is_an_error(backend, seed):
    last = ask(backend, sampling=Sampling(seed=seed))[1]
    assert last.finish == "error"
    assert "ended the answer" in last.message


def test_it_embeds_nothing_and_says_so(backend):
    with pytest.raises(RequestRefused, match="Unsupported") as refused:
        backend.embed(EmbedRequest(backend.list_models()[0].name, ("a",)))
    assert refused.value.status == 400


def test_texts_become_tokens_and_nothing_else_does(backend):
    name = backend.list_models()[0].name
    assert backend.tokenize(TextRequest(model=name, prompt="ab")) == [97, 98]
    with pytest.raises(RequestRefused, match="send prompt"):
        backend.tokenize(ChatRequest(model=name, messages=HELLO))
    with pytest.raises(RequestRefused, match="no tokens into text"):
        backend.detokenize(name, [97])
    for change in (lambda: backend.load_adapter("a", "a"), lambda: backend.unload_adapter("a")):
        with pytest.raises(RequestRefused, match="as it starts"):
            change()


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
        "lmdeploy_fake.py": FAKE.read_text() + "\n\ndef main():\n    build_parser().print_help()\n",
        FACTS.name: FACTS.read_text(),
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
