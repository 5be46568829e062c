"""The command line as a person meets it: what it says of mistakes, and runs of the tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.errors import EngineError
from engine.models.tiny import save_tiny
from engine.specs import ServeSpec, TrainSpec
from engine.status import Reason, Status
from tests.engine.recorded import (
    get_final,
    join_log,
    read_events,
    read_pids,
    wait_for,
    wait_for_log,
)
from tests.engine.serve.scripted import Scripted

ROWS = [
    ("Who are you?", "I am Athanor Guide."),
    ("What is a run?", "One attempt of a job."),
    ("What is a hold?", "Points set aside for a job."),
]


@pytest.fixture
def call(capsys):
    """Run a verb in this process; return exit status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(list(map(str, arguments)))
        return status, *capsys.readouterr()

    return run


def run_engine(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a verb that makes a run, which needs a process of its own."""
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def dataset(tmp_path) -> Path:
    path = tmp_path / "train.jsonl"
    lines = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in ROWS * 4
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def spec(tmp_path, tiny, dataset) -> Path:
    path = tmp_path / "spec.yaml"
    body = {
        "model": str(tiny),
        "dataset": str(dataset),
        "num_epochs": 10,
        "max_steps": 4,
        "max_length": 256,
        "tokens_per_step": 256,
        "micro_batch_tokens": 256,
        "save_every_steps": 2,
        "eval_every_steps": 2,
        "sample_prompts": ["Who are you?"],
    }
    path.write_text(json.dumps(body))  # JSON is YAML
    return path


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("lora.rnk=3", "lora.rnk: is no field of this spec: remove it or mend its spelling."),
        ("lora.rank=0", "lora.rank: must be at least 1 (you gave 0)."),
        ("num_epochs=-1", "num_epochs: must be more than 0 (you gave -1)."),
        ("max_steps=many", "max_steps: must be a whole number (you gave many)."),
        ("precision=int3", "precision: must be one of 'bf16', 'fp32' or 'fp8' (you gave int3)."),
        ("model=smollm", "model: write namespace/name, namespace/name@revision, or a path"),
        ("max_length=999", "max_length is more than micro_batch_tokens: lower it or raise"),
        ("max_length", "--set max_length: write field=value, such as --set lora.rank=8."),
        ("model.name=x", "model.name: model is no group of fields; remove the dot."),
        ("seed=[", "seed: '[' is not a YAML value; quote it."),
    ],
)
def test_a_wrong_field_is_named_with_its_mend(call, spec, tmp_path, setting, sentence):
    status, _, errors = call("train", spec, "--set", setting, "--run-dir", tmp_path / "run")
    assert status == 2
    assert errors.startswith(sentence)
    assert not (tmp_path / "run").exists()


def test_every_problem_of_a_spec_is_told_at_once(call, spec):
    _, _, errors = call("train", spec, "--set", "seed=-1", "--set", "lora.rank=0")
    assert len(errors.splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"model: [", "is not YAML (line 1"),
        (b"just words", "holds no fields"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"kind: serve\nmodel: a/b", "kind: this is a serve spec; run `python -m engine serve`."),
    ],
)
def test_a_file_that_is_no_spec_is_refused_in_words(call, tmp_path, content, sentence):
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    status, _, errors = call("train", path)
    assert status == 2
    assert sentence in errors
    assert len(errors.splitlines()) == 1


def test_a_missing_spec_file_is_refused_in_words(call, tmp_path):
    status, _, errors = call("train", tmp_path / "none.yaml")
    assert status == 2
    assert "No such file or directory; give the path of a spec file." in errors


def test_a_used_run_directory_is_not_written_to(call, spec, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    status, _, errors = call("train", spec, "--run-dir", tmp_path / "run")
    assert status == 2
    assert "is not empty; name a new folder." in errors
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious"]


def test_a_folder_that_is_no_checkpoint_is_refused(call, spec, tmp_path):
    status, _, errors = call("train", spec, "--resume", tmp_path, "--run-dir", tmp_path / "run")
    assert (status, (tmp_path / "run").exists()) == (2, False)
    assert "is no checkpoint; name a step-N folder." in errors


@pytest.mark.parametrize("kind", [TrainSpec, ServeSpec])
def test_schema_prints_what_the_form_is_drawn_from(call, kind):
    _, printed, _ = call("schema", kind.model_fields["kind"].default)
    assert json.loads(printed) == kind.model_json_schema()


def test_schema_of_an_unknown_kind_is_refused(call):
    status, _, errors = call("schema", "bake")
    assert (status, errors.strip()) == (
        2,
        "kind: bake is not one of train, quantize, serve, script.",
    )


def test_a_finetune_from_a_spec_file_leaves_an_adapter_with_its_card(spec, tmp_path):
    run_dir = tmp_path / "run"
    done = run_engine("train", spec, "--run-dir", run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 4/4" in done.stdout
    assert "succeeded" in done.stdout
    events = read_events(run_dir)
    join_log(events)
    assert get_final(events).reason == Reason.COMPLETED
    kinds = {event.type for event in events}
    assert kinds == {"status", "log", "metric", "progress", "artifact", "sample"}
    out = {path.name for path in (run_dir / "out").iterdir()}
    assert out >= {"adapter_model.safetensors", "adapter_config.json", "README.md", "athanor.json"}
    assert (run_dir / "placement.json").stat().st_mode & 0o777 == 0o600


def test_a_bad_row_ends_the_run_with_its_line_and_no_traceback(spec, dataset, tmp_path):
    with dataset.open("a") as file:
        file.write('{"messages": []}\n')
    done = run_engine("train", spec, "--run-dir", tmp_path / "run")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    final = get_final(read_events(tmp_path / "run"))
    assert final.reason == Reason.BAD_DATA
    assert "line 13: `messages` is empty." in final.message


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_that_goes_on_to_the_same_adapter(spec, tmp_path):
    whole, broken, rest = tmp_path / "whole", tmp_path / "broken", tmp_path / "rest"
    settings = "max_steps=60 num_epochs=1000 save_every_steps=999 eval_every_steps=999"
    more = [part for one in settings.split() for part in ("--set", one)]
    more += ["--set", "sample_prompts=[]"]
    assert run_engine("train", spec, *more, "--run-dir", whole).returncode == 0
    command = [sys.executable, "-m", "engine", "train", spec, *more, "--run-dir", broken]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    wait_for_log(broken, b"step 5/60")
    process.send_signal(2)
    assert process.wait() == 0
    final = get_final(read_events(broken))
    assert (final.status, final.reason) == (Status.STOPPED, Reason.STOPPED_BY_OWNER)
    [checkpoint] = (broken / "checkpoints").iterdir()
    done = run_engine("train", spec, *more, "--resume", checkpoint, "--run-dir", rest)
    assert done.returncode == 0, done.stdout
    name = "out/adapter_model.safetensors"
    assert (rest / name).read_bytes() == (whole / name).read_bytes()


def test_a_stop_before_the_first_step_ends_at_once(spec, tmp_path):
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "engine", "train", str(spec), "--run-dir", str(run_dir)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    pids = read_pids(run_dir)
    wait_for(lambda: b"loading" in (run_dir / "events.jsonl").read_bytes())
    os.kill(pids["pid"], 15)
    assert process.wait() == 0
    assert get_final(read_events(run_dir)).status == Status.STOPPED


def test_inspect_shows_what_is_learnt(call, dataset, tiny):
    status, shown, _ = call("data", "inspect", dataset, "--model", tiny, "--rows", 1)
    assert status == 0
    assert "12 rows" in shown
    assert "[[I am Athanor Guide.<|im_end|>]]" in shown


def test_inspect_shows_bad_rows_with_their_mend(call, tmp_path, tiny):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"messages": []}\n')
    status, shown, _ = call("data", "inspect", path, "--model", tiny)
    assert status == 1
    assert "1 of 1 rows are bad" in shown


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b" \n", "is empty; write the token"), (b"\xff", "cannot be read")],
)
def test_a_token_file_that_is_none_is_told(call, tmp_path, content, words):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    status, _, said = call("serve", tmp_path / "serve.yaml", "--token-file", path)
    assert status == 2
    assert f"--token-file: {path} {words}" in said


@pytest.fixture
def opened(monkeypatch):
    """Where a model was opened that a scripted one stands in for, and what came from a hub."""
    backend, seen = Scripted("Hello"), {}

    def open_it(spec, placement, emitter):
        seen["model"], seen["placement"] = spec.model, placement
        return backend

    monkeypatch.setattr("engine.serve.backends.open_backend", open_it)
    return seen


PLACE = ("--hub", "http://hub.test", "--devices", "1,2", "--threads", "3")


def check_place(placement):
    assert (placement.hub_url, placement.devices) == ("http://hub.test", (1, 2))
    assert placement.num_threads == 3


def test_a_chat_is_had_where_and_with_what_it_is_told(call, opened, monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)
    status, shown, _ = call("chat", "alice/tiny@v1", "--prompt", "x", *PLACE)
    assert (status, shown) == (0, "Hello\n")
    assert opened["model"] == "alice/tiny@v1"
    check_place(opened["placement"])
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize("verb", ["chat", "gradio"])
def test_devices_are_numbers(call, verb):
    status, _, said = call(verb, "alice/tiny", "--devices", "all")
    assert (status, said) == (2, "--devices: write numbers, such as 0,1.\n")


def test_a_chat_s_model_comes_from_the_hub_that_is_named(call, tiny, monkeypatch):
    asked = []

    def download(repo, **options):
        asked.append((repo, options["revision"], options["endpoint"]))
        return str(tiny)

    monkeypatch.setattr("engine.hub.snapshot_download", download)
    url = "http://127.0.0.1:9"
    status, _, _ = call("chat", "alice/tiny@v1", "--prompt", "x", "--hub", url)
    assert (status, asked) == (0, [("alice/tiny", "v1", url)])


def test_every_verb_that_names_a_model_takes_a_hub(capsys):
    for verb in ("train", "quantize", "serve", "chat", "gradio", "triton-repo", "data inspect"):
        with pytest.raises(SystemExit):
            main([*verb.split(), "--help"])
        assert "--hub URL" in capsys.readouterr().out, verb


@pytest.mark.parametrize(
    "arguments", [("inspect", "a/talks", "--model", "a/tiny"), ("tokenizer", "a/talks", "out")]
)
def test_a_dataset_comes_from_the_hub_that_is_named(call, arguments, monkeypatch):
    asked = []

    def download(repo, **options):
        asked.append((repo, options["endpoint"]))
        raise EngineError(Reason.BAD_DATA, "Seen.")

    monkeypatch.setattr("engine.hub.snapshot_download", download)
    status, _, said = call("data", *arguments, "--hub", "http://hub.test")
    assert (status, said) == (2, "Seen.\n")
    assert asked == [("a/talks", "http://hub.test")]


def test_the_page_says_what_it_needs(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "engine.gradio_page", raising=False)
    status, _, said = call("gradio", "http://127.0.0.1:9/v1")
    assert (status, said.count("\n")) == (2, 1)
    assert "pip install 'gradio" in said


def test_an_address_that_does_not_answer_is_told(call):
    status, _, said = call("chat", "any", "--url", "http://127.0.0.1:9/v1", "--prompt", "x")
    assert status == 2
    assert said.startswith("url: http://127.0.0.1:9/v1: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: a/b\nbackend: remote", "url goes with backend: remote"),
        ("model: a/b\nurl: http://x/v1", "url goes with backend: remote"),
        ("model: a/b\nbackend: remote\nurl: file:///etc/passwd", "url"),
        ("model: a/b\nbackend: vllm", "backend"),
    ],
)
def test_a_backend_and_its_address_go_together(call, tmp_path, text, words):
    (tmp_path / "serve.yaml").write_text(text)
    status, _, said = call("serve", tmp_path / "serve.yaml", "--run-dir", tmp_path / "run")
    assert status == 2
    assert words in said
