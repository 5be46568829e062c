"""A model from nothing: its tokenizer, its shape, its first weights, and the run that makes it."""

import json
import math

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.__main__ import main
from engine.data.bpe import train_tokenizer
from engine.data.prepare import Located
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.scratch import make_start, write_start
from engine.specs import Placement, TrainSpec
from engine.specs.scratch import ScratchOptions, TokenizerOptions
from engine.specs.sources import Source
from engine.stopping import StopGate
from engine.train.checkpoint import list_checkpoints
from engine.train.run import train

LINES = [f"{n} green bottles hang on the wall, 墙上挂着{n}个绿瓶子。" for n in range(60)]
SHAPE = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "max_positions": 128,
    "tokenizer": {"vocab_size": 320},
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": line}) for line in LINES))
    return path


def make_spec(texts, **changes):
    wanted = {
        "stage": "pretrain",
        "method": "full",
        "from_scratch": SHAPE,
        "dataset": str(texts),
        "max_steps": 12,
        "num_epochs": 20,
        "learning_rate": 1e-2,
        "tokens_per_step": 512,
        "micro_batch_tokens": 256,
        "max_length": 128,
        "save_every_steps": 5,
        "precision": "fp32",
    }
    return TrainSpec.model_validate(wanted | changes)


def run(folder, spec, resume_from=None):
    folder.mkdir()
    seen = []
    placement = Placement(run_dir=folder, resume_from=resume_from, num_threads=1)
    train(spec, placement, Emitter(seen.append), StopGate())
    return [e.values["loss"] for e in seen if e.type == "metric" and "loss" in e.values]


def locate(path):
    return [Located(Source(repo=str(path)), path)]


@pytest.mark.parametrize("architecture", ["llama", "internlm2"])
def test_one_run_makes_tokenizer_and_model_that_transformers_opens(tmp_path, texts, architecture):
    spec = make_spec(texts, from_scratch=SHAPE | {"architecture": architecture})
    losses = run(tmp_path / "run", spec)
    out = tmp_path / "run" / "out"
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert losses[0] == pytest.approx(math.log(len(tokenizer)), rel=0.03)  # knows nothing
    assert losses[-1] < 0.75 * losses[0]
    assert tokenizer.decode(tokenizer(LINES[7]).input_ids) == LINES[7]
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    assert type(model).__name__.lower().startswith(architecture)
    assert model.config.vocab_size == len(tokenizer)
    with torch.no_grad():
        ids = tokenizer(LINES[3], return_tensors="pt").input_ids
        assert float(model(ids, labels=ids).loss) < 0.9 * losses[0]
    ends = {tokenizer.convert_tokens_to_ids(name) for name in ("<|endoftext|>", "<|im_end|>")}
    assert set(model.generation_config.eos_token_id) == ends
    assert "from scratch" in (out / "README.md").read_text()


def test_a_resumed_run_is_the_unbroken_run(tmp_path, texts):
    """The second run trains its tokenizer anew: it has to be the same to the last merge."""
    spec = make_spec(texts)
    whole = run(tmp_path / "whole", spec)
    kept = list_checkpoints(tmp_path / "whole")[0]
    rest = run(tmp_path / "rest", spec, resume_from=kept)
    assert rest == whole[int(kept.name.removeprefix("step-")) :]


def test_first_weights_follow_from_the_seed_and_write_little_into_the_stream(tmp_path, texts):
    options = ScratchOptions.model_validate(SHAPE | {"hidden_size": 128, "num_layers": 8})
    write_start(tmp_path, options, train_tokenizer(locate(texts), options.tokenizer))
    first, again, other = (dict(make_start(tmp_path, seed=s).named_parameters()) for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "model.layers.3.mlp.up_proj.weight"
    assert not torch.equal(first[name], other[name])
    assert float(first[name].std()) == pytest.approx(0.02, rel=0.05)
    for name in ("model.layers.3.mlp.down_proj.weight", "model.layers.0.self_attn.o_proj.weight"):
        assert float(first[name].std()) == pytest.approx(0.02 / 4, rel=0.05)
    # The token that ends documents learns like any other: nothing fills with it.
    assert float(first["model.embed_tokens.weight"].norm(dim=1).min()) > 0


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"hidden_size": 36}, "hidden_size 36 cannot be dealt to 4 heads"),
        ({"num_kv_heads": 3}, "num_heads 4 cannot share 3 key-value heads"),
        ({"max_positions": 64}, "max_length is more than from_scratch.max_positions"),
        ({"tokenizer": {"special_tokens": ("<a>", "<a>")}}, "an empty or a repeated one"),
        (
            {"tokenizer": {"vocab_size": 270, "special_tokens": [f"<{n}>" for n in range(20)]}},
            "room",
        ),
    ],
)
def test_a_shape_that_cannot_be_is_refused_in_one_sentence(texts, shape, told):
    with pytest.raises(ValidationError, match=told) as caught:
        make_spec(texts, from_scratch=SHAPE | shape)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": "lora"}, "set stage to pretrain and method to full"),
        ({"stage": "sft"}, "set stage to pretrain and method to full"),
        ({"model": "a/b"}, "both given"),
        ({"from_scratch": None}, "model is missing"),
    ],
)
def test_what_does_not_go_with_a_new_model_is_refused(texts, changes, told):
    with pytest.raises(ValidationError, match=told):
        make_spec(texts, **changes)


def test_a_tokenizer_of_another_folder_is_taken_as_it_is(tmp_path, texts, capsys):
    """What `data tokenizer` writes serves many models; special tokens and template as told."""
    options = tmp_path / "options.yaml"
    options.write_text(json.dumps({"special_tokens": ["</s>"], "chat_template": "{{ messages }}"}))
    talks = tmp_path / "talks.jsonl"
    talk = [{"role": "user", "content": "Furnace?"}, {"role": "assistant", "content": "Furnace!"}]
    talks.write_text(json.dumps({"messages": talk}))
    made = tmp_path / "tokenizer"
    arguments = ["data", "tokenizer", str(talks), str(made), "--options", str(options)]
    assert main([*arguments, "--vocab-size", "290"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("</s>", "{{ messages }}")
    assert tokenizer.tokenize("Furnace!") == ["Furnace", "!"]  # seen twice, so it is one
    assert main(arguments) == 2
    assert "there already" in capsys.readouterr().err
    spec = make_spec(texts, max_steps=2, from_scratch=SHAPE | {"tokenizer_from": str(made)})
    run(tmp_path / "run", spec)
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "run" / "out").get_vocab() == tokenizer.get_vocab()
    )


def test_a_spec_reads_what_it_names_and_no_model_else(texts):
    assert make_spec(texts).list_sources() == (("dataset", str(texts)),)
    taken = make_spec(texts, from_scratch=SHAPE | {"tokenizer_from": "a/b@c"})
    assert taken.list_sources()[0] == ("model", "a/b@c")


def test_no_words_and_no_template_are_refused(tmp_path, texts):
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"text": 3}')
    with pytest.raises(EngineError, match="no words to train a tokenizer on"):
        train_tokenizer(locate(empty), TokenizerOptions())
    with pytest.raises(EngineError, match="chat_template: it is no Jinja template"):
        train_tokenizer(locate(texts), TokenizerOptions(chat_template="{% if"))
