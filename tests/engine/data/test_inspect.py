"""What a person is shown: every format, mixtures, pairs and weights, as text and as JSON."""

import json

import pytest

from engine.__main__ import main
from engine.data.inspect import run_inspect
from engine.emitter import Emitter
from engine.events import Preview
from engine.models.tiny import save_tiny
from engine.specs import InspectSpec, Placement
from engine.stopping import StopGate

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def inspect(capsys, tiny):
    def run(*arguments):
        status = main(["data", "inspect", *map(str, arguments), "--model", str(tiny)])
        return status, *capsys.readouterr()

    return run


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_pair_is_shown_side_by_side(inspect, tmp_path):
    row = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}
    status, shown, _ = inspect(write(tmp_path / "a.jsonl", row))
    assert status == 0
    assert "row 1, chosen" in shown
    assert "[[Hello<|im_end|>]]" in shown
    assert "row 1, rejected" in shown
    assert "[[Go<|im_end|>]]" in shown


def test_a_weight_is_shown(inspect, tmp_path):
    row = {"messages": [CHAT["messages"][0], {**CHAT["messages"][1], "loss_weight": 0.5}]}
    assert "[[0.5: Hello<|im_end|>]]" in inspect(write(tmp_path / "a.jsonl", row))[1]


def test_a_text_is_learnt_whole(inspect, tmp_path):
    status, shown, _ = inspect(write(tmp_path / "a.jsonl", {"text": "Once."}))
    assert "[[Once.<|im_end|>]]" in shown


def test_json_tells_the_same(inspect, tmp_path):
    status, shown, _ = inspect(write(tmp_path / "a.jsonl", CHAT, {"messages": 3}), "--json")
    body = json.loads(shown)
    assert status == 1
    [source] = body["contract"]["sources"]
    assert source["files"][0]["num_bad"] == 1
    assert source["files"][0]["problems"][0]["code"] == "not_list"
    [sample] = body["samples"]
    learnt = [segment for segment in sample["segments"] if segment["weight"]]
    assert [(segment["text"], segment["weight"]) for segment in learnt] == [("Hello<|im_end|>", 1)]
    assert sum(segment["num_tokens"] for segment in sample["segments"]) == sample["num_tokens"]


def test_a_mixture_is_shown_file_by_file(inspect, tmp_path):
    write(tmp_path / "a.jsonl", CHAT)
    write(tmp_path / "b.jsonl", {"instruction": "Add 1 2", "output": "3"})
    sources = tmp_path / "mix.yaml"
    sources.write_text(
        f"sources:\n- repo: {tmp_path}/a.jsonl\n  weight: 2\n- repo: {tmp_path}/b.jsonl\n"
    )
    status, shown, _ = inspect("--sources", sources)
    assert status == 0
    assert "messages" in shown
    assert "alpaca" in shown
    assert "[[3<|im_end|>]]" in shown


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("sources: []", "names none"),
        ("- {repo: nothing}", "sources.0.repo"),
        ("- {repo: ./a, weight: 0}", "sources.0.weight: must be more than 0"),
        ("- {repo: ./a, format: odd}", "sources.0.format: must be one of"),
        ("{", "cannot be read"),
    ],
)
def test_bad_sources_are_refused_in_words(inspect, tmp_path, content, match):
    path = tmp_path / "mix.yaml"
    path.write_text(content)
    status, _, told = inspect("--sources", path)
    assert status == 2
    assert match in told


def test_an_unknown_format_is_refused_in_words(inspect, tmp_path):
    path = write(tmp_path / "a.jsonl", CHAT)
    status, _, told = inspect(path, "--format", "odd")
    assert status == 2
    assert told.startswith("format: must be one of")


class Heard:
    """Keeps what was emitted."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)


def look(tmp_path, tiny, **fields):
    spec = InspectSpec(model=str(tiny), dataset=str(tmp_path / "data"), **fields)
    heard = Heard()
    run_inspect(spec, Placement(run_dir=tmp_path / "run"), Emitter(heard), StopGate())
    (inspection,) = [event.inspection for event in heard.events if isinstance(event, Preview)]
    return inspection


def test_a_run_tells_the_same_of_the_first_rows_alone(tmp_path, tiny):
    (tmp_path / "data").mkdir()
    rows = [CHAT] * 30 + [{"messages": 3}] * 10
    write(tmp_path / "data" / "train.jsonl", *rows)
    seen = look(tmp_path, tiny, most_rows=32, num_samples=2)
    [[file]] = [source.files for source in seen.contract.sources]
    assert (file.num_rows, file.num_kept, file.dropped) == (32, 30, {"not_list": 2})
    assert not seen.is_whole
    learnt = [[s.text for s in sample.segments if s.weight] for sample in seen.samples]
    assert learnt == [["Hello<|im_end|>"]] * 2
    assert look(tmp_path, tiny, num_samples=1).is_whole


def test_a_run_shows_long_samples_by_their_beginning(tmp_path, tiny):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train.jsonl", {"text": "furnace " * 4000})
    seen = look(tmp_path, tiny, stage="pretrain", max_length=262_144)
    assert seen.samples[0].is_cut
    assert sum(len(segment.text) for segment in seen.samples[0].segments) == 6000
    assert seen.samples[0].num_tokens > 30_000
