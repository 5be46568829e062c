"""GGUF files: what their header says, checked against the format's own writer, and bad ones."""

import io
import struct

import gguf
import numpy as np
import pytest
import yaml

from studio.core.errors import BadInput
from studio.hub.content import open_blob
from studio.hub.models import Repo
from studio.importing.cards import write_card
from studio.importing.gguf import _FILE_TYPES, GgufFacts, NoGguf, read_gguf
from tests.studio.importing.conftest import MIB


@pytest.fixture
def model(tmp_path):
    """A small GGUF file by the `gguf` package: a vocabulary before what we look for."""

    def make(*, license: str = "apache-2.0", size: int = 8) -> bytes:
        path = tmp_path / "m.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_token_list([f"token{n}" for n in range(500)])
        writer.add_token_scores([0.5] * 500)
        writer.add_name("Tiny <b>Furnace</b>")
        writer.add_license(license)
        writer.add_context_length(4096)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
        writer.add_tensor("t", np.random.default_rng(1).random(size).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()

    return make


def test_the_header_is_read_past_its_vocabulary(model):
    facts = read_gguf(io.BytesIO(model()))
    assert facts == GgufFacts("llama", "Tiny <b>Furnace</b>", "apache-2.0", "Q4_K_M", 4096)


def test_the_names_of_quantizations_are_the_formats_own():
    for number, name in _FILE_TYPES.items():
        theirs = gguf.LlamaFileType(number).name
        assert theirs.removeprefix("ALL_").removeprefix("MOSTLY_") == name


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


def header(num_pairs: int, *pairs: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, num_pairs) + b"".join(pairs)


BAD = {
    "empty": b"",
    "another format": b"PK\x03\x04" + bytes(100),
    "magic alone": b"GGUF",
    "version 1": header(0, version=1),
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 1),
    "no architecture": header(0),
    "pairs without end": header(2**63),
    "text without end": header(1, pair(b"k", 8, struct.pack("<Q", 2**62))),
    "array without end": header(1, pair(b"k", 9, struct.pack("<IQ", 8, 2**62))),
    "numbers without end": header(1, pair(b"k", 9, struct.pack("<IQ", 10, 2**62))),
    "unknown kind": header(1, pair(b"k", 99, b"")),
    "array of arrays": header(1, pair(b"k", 9, struct.pack("<IQ", 9, 1))),
    "architecture a number": header(1, pair(b"general.architecture", 4, struct.pack("<I", 7))),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_gguf_is_refused_in_one_sentence(name):
    with pytest.raises(NoGguf) as refused:
        read_gguf(io.BytesIO(BAD[name]))
    assert refused.value.field == "source" and refused.value.message.endswith(".")
    assert isinstance(refused.value, BadInput)


def test_every_cut_of_a_header_is_refused(model):
    whole = model()
    for end in range(0, 4000, 37):
        with pytest.raises(NoGguf):
            read_gguf(io.BytesIO(whole[:end]))


def test_a_card_holds_no_more_than_words():
    facts = GgufFacts("llama", "[x](javascript:1) `<img>`", "evil: yes\n- x", "", None)
    card = write_card("m.gguf", facts)
    front = yaml.safe_load(card.split("---")[1])
    assert front == {
        "library_name": "gguf",
        "tags": ["gguf"],
        "gguf": {"architecture": "llama"},
    }
    assert "<" not in card and "](" not in card


def read_all(repo: Repo) -> dict[str, bytes]:
    return {file.path: open_blob(file.blob).read() for file in repo.head.files.all()}


@pytest.mark.django_db
def test_a_gguf_of_the_drive_gets_a_card(ask, made, model):
    made("models/tiny.Q4_K_M.gguf", model())
    item = ask("drive:///models/tiny.Q4_K_M.gguf")
    assert item["state"] == "done", item
    repo = Repo.objects.get()
    files = read_all(repo)
    assert files["tiny.Q4_K_M.gguf"] == model() and repo.license == "apache-2.0"
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert front["gguf"] == {
        "architecture": "llama",
        "context_length": 4096,
        "quantization": "Q4_K_M",
    }
    assert repo.entry.library == "gguf"
    made("models/tiny.F16.gguf", model(license="mit"))
    assert ask("drive:///models/tiny.F16.gguf")["state"] == "done"
    repo.refresh_from_db()
    assert set(read_all(repo)) == {"tiny.Q4_K_M.gguf", "tiny.F16.gguf", "README.md"}
    assert repo.license == "apache-2.0"  # the card that was there stays


@pytest.mark.django_db
def test_a_gguf_of_the_web_breaks_off_and_goes_on(ask, elsewhere, model):
    elsewhere.files = {"tiny.gguf": model(size=2 * MIB)}
    elsewhere.breaks = [MIB, MIB]  # the first is the look at its beginning
    item = ask(f"http://localhost:{elsewhere.port}/tiny.gguf?download=true", token="t")
    assert item["state"] == "done", item
    assert read_all(Repo.objects.get())["tiny.gguf"] == elsewhere.files["tiny.gguf"]
    assert any("Range" in headers for _, headers in elsewhere.asked)


@pytest.mark.django_db
def test_what_is_no_gguf_is_refused_before_it_is_fetched(ask, elsewhere, made):
    made("x.gguf", b"PK\x03\x04" * 10)
    assert ask("drive:///x.gguf")["code"] == "no_gguf"
    elsewhere.files = {"x.gguf": b"<html>" + bytes(5 * MIB)}
    item = ask(f"http://localhost:{elsewhere.port}/x.gguf")
    assert item["problem"]["code"] == "no_gguf" and item["bytes_total"] == 0
    made("y.gguf", b"GGUF" + bytes(10))
    assert ask("drive:///y.gguf", name="y")["problem"]["code"] == "no_gguf"
    assert not Repo.objects.exists()


@pytest.mark.django_db
def test_a_gguf_is_a_model(ask, made, model):
    made("x.gguf", model())
    assert ask("drive:///x.gguf", kind="dataset")["field"] == "kind"
