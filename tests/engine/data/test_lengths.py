"""What samples add to a row, by a store's arrays: the same as sample by sample."""

import tracemalloc
from tempfile import TemporaryDirectory
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import lengths
from engine.data.batch import count_own, find_shared
from engine.data.lengths import count_all_own
from engine.data.prepare import Samples
from engine.data.samples import IGNORED, Rendered, RenderedPair
from engine.data.store import Store, StoreWriter, pack_samples
from engine.specs.contract import DataContract, FileContract, SourceContract

FILE = FileContract(name="a", format="sft", num_rows=0)
CONTRACT = DataContract(
    sources=[SourceContract(name="a", weight=1.0, files=[FILE])],
    max_length=64,
    max_bad_fraction=0,
)
HEAD = (3, 1, 2)


@st.composite
def sides(draw, head=()):
    """Tokens behind a beginning that often is the shared one; any of them may be learnt."""
    begin = draw(st.sampled_from([(), HEAD, HEAD, HEAD[:2]]))
    ids = (*begin, *head, *draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))
    first = draw(st.integers(0, len(ids)))
    labels = tuple(IGNORED if place < first else token for place, token in enumerate(ids))
    return Rendered(ids=ids, labels=labels, row=0)


@st.composite
def pairs(draw):
    head = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    return RenderedPair(draw(sides(head)), draw(sides(head)))


def keep(folder, samples, sizes=(1,)):
    """Write samples to stores, so many to each in turn, and open them."""
    stores, rest = [], list(samples)
    while rest:
        size = sizes[len(stores) % len(sizes)]
        writer = StoreWriter(folder / str(len(stores)))
        writer.append(pack_samples(rest[:size]))
        writer.close(FILE)
        stores.append((0, Store.open(folder / str(len(stores)))))
        rest = rest[size:]
    return Samples(stores, CONTRACT)


@given(
    st.one_of(st.lists(sides(), max_size=12), st.lists(pairs(), max_size=8)),
    st.sampled_from([(), HEAD, HEAD[:1], (9,), "found"]),
    st.sampled_from([2, 7, 2**20]),
)
@settings(deadline=None, max_examples=300)
def test_a_store_counts_what_its_samples_do(samples, shared, block):
    if shared == "found":
        shared = find_shared(samples) if samples else ()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lengths, "_BLOCK_TOKENS", block)
        kept = keep(Path(folder), samples, sizes=(5, 2))
        wanted = [count_own(sample, shared) for sample in samples]
        assert count_all_own(kept, shared).tolist() == wanted
        assert count_all_own(list(kept), shared).tolist() == wanted


def test_counting_holds_some_bytes_of_a_sample(tmp_path):
    samples = [Rendered((*HEAD, n % 7, n % 5), (IGNORED,) * 4 + (n % 5,), row=n) for n in range(9)]
    kept = keep(tmp_path, samples * 6000, sizes=(100_000,))
    tracemalloc.start()
    counts = count_all_own(kept, HEAD)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(counts.tolist()) == {2}
    assert held < 6 * len(kept)
