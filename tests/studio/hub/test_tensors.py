"""Headers of weights: read from real files, and from files that mean harm."""

import json
import struct
from io import BytesIO

import gguf
import numpy as np
import pytest

from studio.hub.model_facts import find_weights, read_shape
from studio.hub.models import Commit
from studio.hub.tensors import read_gguf, read_header, read_safetensors
from tests.studio.hub.made import push
from tests.studio.hub.weights import CONFIG, MODEL_FILES, make_safetensors

SHARDS = {
    "model-00001-of-00002.safetensors": make_safetensors({"a": [4, 8]}),
    "model-00002-of-00002.safetensors": make_safetensors({"b": [8]}),
}
INDEX = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def make_gguf(path, words=("<s>", "hello")) -> bytes:
    """Return a GGUF file as llama.cpp's own writer makes it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_name("Tiny")
    writer.add_token_list(list(words))
    writer.add_token_scores([0.0] * len(words))
    writer.add_tensor("token_embd.weight", np.zeros((32, 8), dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.zeros(8, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def index(weight_map: object) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


def test_a_gguf_header_is_read_as_its_own_reader_reads_it(tmp_path):
    content = make_gguf(tmp_path / "tiny.gguf", [f"word {i}" for i in range(500)])
    header = read_header(BytesIO(content), "tiny.GGUF")
    theirs = gguf.GGUFReader(tmp_path / "tiny.gguf")
    assert [(t.name, t.shape[::-1]) for t in header.tensors] == [
        (t.name, t.shape.tolist()) for t in theirs.tensors
    ]
    assert header.count_by_dtype() == {"F32": 256, "F16": 8}
    assert header.metadata["general.name"] == "Tiny"
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_a_header_is_read_without_the_weights_behind_it(tmp_path):
    content = make_gguf(tmp_path / "tiny.gguf")
    weights_at = content.index(b"output_norm.weight") + 60
    assert read_gguf(BytesIO(content[:weights_at])).num_params == 264


def hostile_gguf(num_tensors=0, num_words=0, body=b"", version=3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_words) + body


ENDLESS = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**60)
NESTED = struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 1000
FAR = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 10, 2**61)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGML",
        b"GGUF",
        hostile_gguf(version=1),
        hostile_gguf(version=0x03000000),
        hostile_gguf(num_tensors=2**63),
        hostile_gguf(num_words=2**63),
        hostile_gguf(num_tensors=1),
        hostile_gguf(num_words=1, body=ENDLESS),
        hostile_gguf(num_words=1, body=NESTED),
        hostile_gguf(num_words=1, body=FAR),
        hostile_gguf(num_words=1, body=struct.pack("<Q", 2**62)),
        hostile_gguf(num_words=1, body=struct.pack("<Q", 1) + b"k" + struct.pack("<I", 99)),
        hostile_gguf(num_tensors=1, body=struct.pack("<QI", 0, 2**31)),
        hostile_gguf(num_tensors=1, body=struct.pack("<QIQQIQ", 0, 2, 2**63, 2**63, 0, 0)),
    ],
)
def test_a_gguf_header_that_lies_is_refused(content):
    with pytest.raises(ValueError):
        read_gguf(BytesIO(content))


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**62, 2**62]}},
        {"a": {"dtype": "F32", "shape": [True]}},
        {"a": {"dtype": "F32", "shape": [-1]}},
        {"a": {"dtype": "F32", "shape": [1] * 1000}},
        {"a": {"dtype": "F32"}},
        {"a": 7},
    ],
)
def test_a_safetensors_header_that_lies_is_refused(header):
    text = json.dumps(header).encode()
    with pytest.raises(ValueError):
        read_safetensors(BytesIO(len(text).to_bytes(8, "little") + text))


def test_names_are_such_as_can_be_sent():
    text = b'{"\\ud800' + b"x" * 1000 + b'": {"dtype": "\\ud800", "shape": [1]}}'
    (tensor,) = read_safetensors(BytesIO(len(text).to_bytes(8, "little") + text)).tensors
    assert len(tensor.name.encode()) <= 302 and tensor.dtype == "?"


@pytest.mark.django_db
class TestWeights:
    def test_shards_are_counted_once_by_their_index(self, alice):
        files = SHARDS | {"model.safetensors.index.json": index(INDEX)}
        files |= {"consolidated.safetensors": make_safetensors({"all": [40]})}
        commit = push(alice, "alice/m", files, kind="model")
        found = find_weights(commit)
        assert found and (found.num_params, found.num_files) == (40, 2)
        assert found.dtypes == {"F32": 40}

    def test_a_whole_file_goes_before_others(self, alice):
        files = MODEL_FILES | {"consolidated.safetensors": make_safetensors({"all": [999]})}
        assert read_shape(push(alice, "alice/m", files, kind="model")).num_params == 264

    def test_one_gguf_of_several_is_the_model(self, alice, tmp_path):
        whole = make_gguf(tmp_path / "tiny.gguf")
        files = {"tiny-Q4.gguf": whole, "tiny-Q8.gguf": whole}
        found = find_weights(push(alice, "alice/m", files, kind="model"))
        assert found and (found.format, found.num_files, found.num_params) == ("gguf", 1, 264)
        parts = {f"b-0000{i}-of-00002.gguf": whole for i in (1, 2)}
        found = find_weights(push(alice, "alice/n", parts, kind="model"))
        assert found and (found.num_files, found.num_params) == (2, 528)

    @pytest.mark.parametrize(
        "text", [b"{", b"[]", index([]), index({"a": 1}), index({"a": "../../etc/passwd"})]
    )
    def test_an_index_that_lies_makes_no_weights(self, alice, text):
        files = SHARDS | {"model.safetensors.index.json": text}
        files |= {"config.json": json.dumps(CONFIG).encode()}
        assert find_weights(push(alice, "alice/m", files, kind="model")) is None

    def test_headers_are_read_once(self, alice, django_assert_num_queries):
        commit = push(alice, "alice/m", MODEL_FILES, kind="model")
        expected = find_weights(commit)
        again = Commit.objects.get(pk=commit.pk)
        with django_assert_num_queries(0):
            assert find_weights(again) == expected

    def test_what_was_kept_at_first_is_still_read(self, alice):
        commit = push(alice, "alice/m", MODEL_FILES, kind="model")
        shape = read_shape(commit)
        Commit.objects.filter(pk=commit.pk).update(model_facts=shape.model_dump())
        again = Commit.objects.get(pk=commit.pk)
        assert read_shape(again) == shape and find_weights(again)
        assert read_shape(Commit.objects.get(pk=commit.pk)) == shape
