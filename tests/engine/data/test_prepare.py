"""From files to samples: counted, cached, the same from the cache, and refused in words."""

import json
import multiprocessing
import os
import threading
import time
import tracemalloc

import pytest

from engine.data.batch import collate
from engine.data.cache import make_key
from engine.data.contract import FILE_NAME
from engine.data.prepare import Located, Preparation, prepare_samples, read_samples
from engine.data.render import Renderer
from engine.data.samples import RenderedPair
from engine.data.store import Store
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.tiny import make_tokenizer
from engine.specs.contract import DataContract
from engine.specs.sources import Source

TALKS = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]}
    for n in range(5)
]
ZERO = {
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "loss_weight": 0},
    ]
}
HALF = {
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "loss_weight": 0.5},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
}
PAIRS = [{"prompt": f"{n}?", "chosen": "Yes.", "rejected": "No!"} for n in range(3)]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def make_renderer(max_length=256):
    return Renderer(make_tokenizer(), max_length=max_length)


def prepare(tmp_path, *paths, weights=(), events=None, read=prepare_samples, **options):
    sources = [
        Located(Source(repo=str(path), weight=weights[index] if weights else 1.0), path)
        for index, path in enumerate(paths)
    ]
    max_length = options.pop("max_length", 256)
    how = Preparation(cache_dir=tmp_path / "cache", **options)
    emitter = Emitter(events.append if events is not None else None)
    return read(sources, make_renderer(max_length), how, emitter)


def test_samples_are_what_the_renderer_makes(tmp_path):
    rows = [*TALKS, HALF]
    samples = prepare(tmp_path, write(tmp_path / "a.jsonl", rows))
    renderer = make_renderer()
    wanted = [renderer.render(row["messages"], row=n) for n, row in enumerate(rows)]
    assert list(samples) == wanted
    assert [samples[index] for index in range(-6, 6)] == wanted * 2
    assert samples[1:5:2] == wanted[1:5:2]
    assert samples.lengths().tolist() == [len(sample.ids) for sample in wanted]
    with pytest.raises(IndexError):
        samples[6]


def test_every_row_is_kept_or_dropped_for_a_reason(tmp_path):
    long = {"messages": [{"role": "user", "content": "x" * 300}, TALKS[0]["messages"][1]]}
    cut = {"messages": [TALKS[0]["messages"][0], {"role": "assistant", "content": "y" * 300}]}
    rows = [*TALKS, ZERO, "{", {"messages": []}, long, "", cut]
    path = write(tmp_path / "a.jsonl", rows)
    samples = prepare(tmp_path, path, max_bad_fraction=0.5, run_dir=tmp_path / "run")
    [file] = samples.contract.sources[0].files
    assert (file.num_rows, file.num_kept, file.num_bad, file.num_zero_loss) == (10, 6, 2, 2)
    assert file.num_kept + file.num_dropped == file.num_rows
    assert file.dropped == {"not_json": 1, "empty_list": 1}
    assert [(problem.line, problem.code) for problem in file.problems] == [
        (7, "not_json"),
        (8, "empty_list"),
    ]
    assert file.num_cut == 2
    assert file.num_tokens == sum(len(sample.ids) for sample in samples)
    assert file.num_supervised_tokens == sum(sample.num_supervised for sample in samples)
    written = (tmp_path / "run" / FILE_NAME).read_text()
    assert DataContract.model_validate_json(written) == samples.contract


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([*TALKS, "{", {"messages": 3}], r"2 bad rows in a.jsonl: line 6: .* line 7: `messages`"),
        ([], "a.jsonl holds no rows"),
        (TALKS[:1], "1 rows have an answer within max_length and two are the least"),
        ([ZERO, ZERO], "0 rows have an answer"),
        ([{"question": "a", "reply": "b"}], r"no format we know \(fields: question, reply\)"),
    ],
)
def test_bad_data_is_refused_in_words(tmp_path, rows, match):
    with pytest.raises(EngineError, match=match):
        prepare(tmp_path, write(tmp_path / "a.jsonl", rows))


def test_a_share_of_bad_rows_may_be_allowed(tmp_path):
    path = write(tmp_path / "a.jsonl", [*TALKS[:4], "{"])
    with pytest.raises(EngineError, match=r"1 bad rows in a.jsonl of 5, .* allows 19.00%"):
        prepare(tmp_path, path, max_bad_fraction=0.19)
    assert len(prepare(tmp_path, path, max_bad_fraction=0.2)) == 4


def test_a_second_run_renders_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", [*TALKS, HALF])
    first = prepare(tmp_path, path)
    monkeypatch.setattr(Renderer, "render_row", None)
    again = prepare(tmp_path, write(tmp_path / "moved" / "b.jsonl", [*TALKS, HALF]))
    assert list(again) == list(first)
    assert again.digest() == first.digest()


def test_the_key_knows_content_format_template_and_window(tmp_path):
    path = write(tmp_path / "a.jsonl", TALKS)
    renderer = make_renderer()
    keys = [make_key(path, "messages", renderer), make_key(path, "text", renderer)]
    keys.append(make_key(path, "messages", make_renderer(99)))
    tokenizer = make_tokenizer()
    tokenizer.chat_template += " "
    keys.append(make_key(path, "messages", Renderer(tokenizer, max_length=256)))
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["new"])
    keys.append(make_key(path, "messages", Renderer(tokenizer, max_length=256)))
    keys.append(make_key(write(path, TALKS[:3]), "messages", renderer))
    assert len(set(keys)) == len(keys)
    assert make_key(write(path, TALKS), "messages", make_renderer()) == keys[0]


def spoil_bytes(folder):
    path = folder / "ids.bin"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)


def spoil_size(folder):
    (folder / "runs.bin").write_bytes((folder / "runs.bin").read_bytes()[:-4])


def spoil_meta(folder):
    (folder / "meta.json").write_text("{")


def take_away(folder):
    (folder / "rows.bin").unlink()


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_size, spoil_meta, take_away])
def test_a_broken_cache_is_made_anew(tmp_path, spoil):
    path = write(tmp_path / "a.jsonl", TALKS)
    first = list(prepare(tmp_path, path))
    [folder] = [one for one in (tmp_path / "cache").iterdir() if one.is_dir()]
    spoil(folder)
    assert list(prepare(tmp_path, path)) == first
    assert len(Store.open(folder)) == len(TALKS)


def test_a_build_that_is_killed_leaves_nothing_that_is_taken_for_whole(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", TALKS)
    with monkeypatch.context() as patch:
        patch.setattr("engine.data.build.pack_samples", None)
        with pytest.raises(TypeError):
            prepare(tmp_path, path)
    assert [one for one in (tmp_path / "cache").iterdir() if one.is_dir()] == []
    assert len(prepare(tmp_path, path)) == len(TALKS)


def test_who_wants_the_same_waits_for_whoever_makes_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", TALKS)
    made = []
    plain = Renderer.render_row

    def render_row(self, row, *, index, source=0):
        made.append(index)
        return plain(self, row, index=index, source=source)

    monkeypatch.setattr(Renderer, "render_row", render_row)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(list(prepare(tmp_path, path))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2]
    assert sorted(made) == list(range(len(TALKS)))


def test_what_a_killed_build_left_is_removed_a_day_later(tmp_path):
    old, new = (tmp_path / "cache" / f".{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "ids.bin").write_bytes(b"x")
    for path in (old / "ids.bin", old, new):
        os.utime(path, (time.time() - 90_000,) * 2)
    prepare(tmp_path, write(tmp_path / "a.jsonl", TALKS))
    assert not old.exists()
    assert new.exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for num_rows in (600, 3_000):
        rows = ({"text": f"{n} " * 60} for n in range(num_rows))
        path = write(tmp_path / f"{num_rows}.jsonl", rows)
        tracemalloc.start()
        samples = prepare(tmp_path, path, max_length=64)
        assert sum(1 for _ in samples) > num_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def prepare_in_process(tmp_path, path):
    prepare(tmp_path, path)


@pytest.mark.slow
def test_several_processes_make_what_one_makes(tmp_path, monkeypatch):
    rows = [*TALKS, "{", HALF, ZERO] * 200
    path = write(tmp_path / "a.jsonl", rows)
    alone = prepare(tmp_path, path, max_bad_fraction=1, num_workers=1)
    monkeypatch.setattr("engine.data.build._WORTH_PROCESSES_BYTES", 0)
    several = prepare(tmp_path / "b", path, max_bad_fraction=1, num_workers=2)
    assert list(several) == list(alone)
    assert several.contract == alone.contract


@pytest.mark.slow
def test_two_processes_may_prepare_the_same_at_once(tmp_path):
    path = write(tmp_path / "a.jsonl", TALKS * 100)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=prepare_in_process, args=(tmp_path, path)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    [folder] = [one for one in (tmp_path / "cache").iterdir() if one.is_dir()]
    assert len(Store.open(folder)) == 500


def test_pairs_come_as_pairs_with_their_prompt_once(tmp_path):
    samples = prepare(tmp_path, write(tmp_path / "a.jsonl", PAIRS))
    assert samples.is_pairs
    assert len(samples) == 3
    pair = samples[1]
    assert isinstance(pair, RenderedPair)
    assert samples.lengths().tolist() == [
        len(one.chosen.ids) + len(one.rejected.ids) for one in samples
    ]
    with pytest.raises(EngineError, match="preference pairs"):
        samples.to_singles()


def test_pairs_and_conversations_do_not_mix(tmp_path):
    paths = [write(tmp_path / "a.jsonl", PAIRS), write(tmp_path / "b.jsonl", TALKS)]
    with pytest.raises(EngineError, match="two runs"):
        prepare(tmp_path, *paths)


def test_a_mixture_knows_the_source_of_each_sample(tmp_path):
    text = [{"text": f"Once {n}."} for n in range(4)]
    paths = [write(tmp_path / "a" / f"{name}.jsonl", TALKS[:2]) for name in ("x", "y")]
    other = write(tmp_path / "b.jsonl", text)
    samples = prepare(tmp_path, paths[0].parent, other, weights=(2.0, 0.5))
    assert samples.source_of().tolist() == [0] * 4 + [1] * 4
    assert [sample.source for sample in samples] == [0] * 4 + [1] * 4
    assert [[file.name for file in one.files] for one in samples.contract.sources] == [
        ["x.jsonl", "y.jsonl"],
        ["b.jsonl"],
    ]
    drawn = samples.draw(range(1, 8), seed=1, epoch=0)
    assert sorted(index for index in drawn if index < 3) == [0, 0, 1, 1, 2, 2]
    assert len([index for index in drawn if index >= 3]) == 2
    assert collate(list(samples), "cpu").sources == (0,) * 4 + (1,) * 4


def test_progress_is_told_to_the_end(tmp_path):
    events = []
    path = write(tmp_path / "a.jsonl", TALKS)
    prepare(tmp_path, path, events=events, run_dir=tmp_path / "run")
    last = [event for event in events if event.type == "progress"][-1]
    assert (last.stage, last.done, last.total) == ("prepare", last.total, path.stat().st_size)
    [artifact] = [event for event in events if event.type == "artifact"]
    assert (artifact.role, artifact.path) == ("report", FILE_NAME)


def test_long_texts_are_cut_into_windows_and_nothing_is_lost(tmp_path):
    words = " ".join(map(str, range(200)))
    path = write(tmp_path / "a.jsonl", [{"text": words}, {"text": "Short."}])
    samples = prepare(tmp_path, path, max_length=100, read=read_samples)
    tokenizer = make_tokenizer()
    whole = [index for sample in samples if sample.row == 0 for index in sample.ids]
    assert whole == [*tokenizer.encode(words), tokenizer.eos_token_id]
    assert max(samples.lengths()) <= 100
    assert all(sample.ids == sample.labels for sample in samples)


@pytest.mark.parametrize("num_more", range(4))
def test_no_window_has_a_single_token(num_more):
    samples = make_renderer(10).render_text("x" * (19 + num_more), row=0)
    assert sum(len(sample.ids) for sample in samples) == 20 + num_more
    assert all(2 <= len(sample.ids) <= 10 for sample in samples)
