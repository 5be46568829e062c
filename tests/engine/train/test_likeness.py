"""Models of other makes: taken as they are, one sample at a time, or refused in a sentence."""

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    FalconConfig,
    Gemma2Config,
    GPTJConfig,
    GPTNeoConfig,
    GptOssConfig,
    GraniteConfig,
    GraniteMoeHybridConfig,
    Lfm2Config,
    Llama4TextConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    NemotronConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3NextConfig,
    StableLmConfig,
    XGLMConfig,
    XLNetConfig,
)

from engine.data.batch import collate
from engine.data.samples import IGNORED
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.tiny import make_tokenizer
from engine.specs import TrainSpec
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.likeness import check_likeness
from engine.train.loop import Training, train_loop
from engine.train.mesh import open_mesh
from engine.train.prepare import prepare_trainee
from tests.engine.train.cases import PLAIN as SPEC
from tests.engine.train.test_packing import CPU, make_samples


@pytest.mark.parametrize(
    ("make", "changes", "match"),
    [
        (GptOssConfig, {"head_dim": 16, "num_local_experts": 2}, "attention has sinks"),
        (PhiConfig, {}, "output head"),
    ],
)
def test_a_model_that_does_more_than_the_trainer_is_refused(make, changes, match):
    with pytest.raises(EngineError, match=match) as caught:
        check_likeness(make_other(make, **changes), make_samples(), CPU)
    assert caught.value.reason is Reason.BAD_MODEL


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (Gemma2Config, {"attn_logit_softcapping": 5.0, "sliding_window": 16}),
        (Gemma2Config, {"final_logit_softcapping": 2.0}),
        (GraniteConfig, {"logits_scaling": 8.0}),
        (CohereConfig, {"logit_scale": 0.25}),
        (Qwen2Config, {}),
        (MistralConfig, {"sliding_window": 16}),
    ],
)
def test_a_model_that_does_no_more_is_taken(make, changes):
    assert check_likeness(make_other(make, **changes), make_samples(), CPU)


def test_a_head_that_does_another_thing_than_its_config_says_is_refused():
    model = make_other(Gemma2Config, final_logit_softcapping=2.0)
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, out: out * 1.5)
    with pytest.raises(EngineError, match="output head"):
        check_likeness(model, make_samples(), CPU)


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def make_plain(make, sizes):
    torch.manual_seed(1)
    config = make(
        vocab_size=len(make_tokenizer()),
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        **sizes,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if name == "lm_head.bias":
            parameter.data.fill_(1.0)
    return model


def make_other(make, **changes):
    model = make_plain(make, SIZES | ({"head_dim": 16} if make is Gemma2Config else {}) | changes)
    model.set_attn_implementation(PACKED)
    return model


BLOCKS = {"hidden_size": 64, "n_layer": 2, "n_head": 4}
STATES = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "head_dim": 16}
LINEAR |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16}
EXPERTS = {"num_experts_per_tok": 1, "num_local_experts": 2}
FEW = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
# Their attention gets no layout, or the state of a layer goes on from sample to sample.
LEAKY = {
    StableLmConfig: SIZES,
    NemotronConfig: SIZES,
    Lfm2Config: SIZES | {"layer_types": ["conv", "full_attention"]},
    Qwen3NextConfig: SIZES | LINEAR | FEW | {"layer_types": ["linear_attention", "full_attention"]},
    GraniteMoeHybridConfig: SIZES
    | STATES
    | EXPERTS
    | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 64},
    MambaConfig: {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
}
# Their attention is their own, whatever they are told.
OWN = {
    BloomConfig: BLOCKS,
    XGLMConfig: {"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4},
    FalconConfig: {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    MptConfig: {"d_model": 64, "n_layers": 2, "n_heads": 4},
    GPTNeoConfig: {
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 16,
    },
}


def make_spec(**changes):
    return TrainSpec.model_validate(SPEC | {"method": "full"} | changes)


def open_saved(folder, spec):
    return prepare_trainee(folder, spec, open_mesh(make_spec().parallel, CPU), make_samples())


def measure_by_hand(folder):
    """The loss of each sample alone, and its gradients, by transformers and nothing of ours."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    losses = []
    for sample in make_samples():
        logits = model(input_ids=torch.tensor([sample.ids]), use_cache=False).logits[0, :-1]
        labels = torch.tensor(sample.labels[1:])
        losses.append(F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
    sum(losses).backward()
    return [float(loss.detach()) for loss in losses], dict(model.named_parameters())


@pytest.mark.parametrize("make", [*LEAKY, *OWN], ids=lambda make: make.model_type)
def test_a_model_that_lets_samples_see_one_another_takes_them_one_at_a_time(tmp_path, capsys, make):
    make_plain(make, (LEAKY | OWN)[make]).save_pretrained(tmp_path / "model")
    trainee = open_saved(tmp_path / "model", make_spec())
    assert "each goes through it alone" in capsys.readouterr().out
    wanted, parameters = measure_by_hand(tmp_path / "model")
    losses = [trainee(collate([sample], CPU)).loss for sample in make_samples()]
    assert [float(loss.detach()) for loss in losses] == pytest.approx(wanted, rel=1e-4)
    sum(losses).backward()
    largest = max(float(p.grad.norm()) for p in parameters.values() if p.grad is not None)
    for name, parameter in trainee.model.named_parameters():
        want = parameters[name].grad
        if want is not None:  # a key's bias has none but rounding
            torch.testing.assert_close(parameter.grad, want, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("make", LEAKY, ids=lambda make: make.model_type)
def test_packed_samples_of_such_a_model_would_see_one_another(make):
    """What the check is for: side by side, a sample is another than it is alone."""
    model = make_plain(make, LEAKY[make])
    model.set_attn_implementation(PACKED)
    first, second = make_samples()[:2]
    found = []
    for samples in ([second], [first, second]):
        row = collate(samples, CPU)
        places = {"position_ids": row.positions_1T, "layout": row.layout}
        with torch.no_grad():
            hidden = model.get_decoder()(input_ids=row.ids_1T, use_cache=False, **places)
        found.append(hidden.last_hidden_state[0, -len(second.ids) :])
    assert (found[1] - found[0]).norm() > 0.1 * found[0].norm()


def test_the_loop_gives_such_a_model_one_sample_at_a_time(tmp_path):
    make_plain(StableLmConfig, LEAKY[StableLmConfig]).save_pretrained(tmp_path / "model")
    room = {"max_length": 512, "micro_batch_tokens": 512, "tokens_per_step": 4096}
    spec = make_spec(**room, max_steps=2, learning_rate=1e-9)
    seen = []
    training = Training(
        spec=spec,
        trainee=open_saved(tmp_path / "model", spec),
        samples=make_samples(),
        mesh=open_mesh(spec.parallel, CPU),
        run_dir=tmp_path,
        emitter=Emitter(seen.append),
        gate=StopGate(),
    )
    assert training.shared == ()
    assert all(len(micro) == 1 for step in training.plan(0) for micro in step)
    train_loop(training)
    wanted, _ = measure_by_hand(tmp_path / "model")
    samples = make_samples()
    for event in (event for event in seen if event.type == "metric"):
        is_held = "eval_loss" in event.values
        rows = [sample.row for sample in (training.held if is_held else training.trained)]
        mean = sum(wanted[row] for row in rows) / sum(samples[row].num_supervised for row in rows)
        assert event.values["eval_loss" if is_held else "loss"] == pytest.approx(mean, rel=1e-4)
    assert len(seen) > 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"stage": "dpo"}, "stage dpo"),
        ({"stage": "reward"}, "stage reward"),
        ({"parallel": {"sequence": 2}}, "parallel.sequence"),
        ({"parallel": {"tensor": 2}}, "parallel.tensor"),
        ({"parallel": {"pipeline": 2}}, "parallel.pipeline"),
    ],
    ids=str,
)
def test_what_needs_packed_rows_is_refused_for_such_a_model(tmp_path, changes, what):
    make_plain(StableLmConfig, LEAKY[StableLmConfig]).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match=f"^model: .* {what} lays several in a row") as caught:
        open_saved(tmp_path, make_spec(**changes))
    assert caught.value.reason is Reason.BAD_MODEL


@pytest.mark.parametrize(
    ("make", "sizes", "match"),
    [
        (XLNetConfig, {"d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128}, "sees those"),
        (
            GPTJConfig,
            {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8},
            "its output head does more",
        ),
        (Llama4TextConfig, SIZES | EXPERTS | {"head_dim": 16}, "not made of a decoder"),
    ],
    ids=["xlnet", "gptj", "llama4"],
)
def test_a_model_of_another_make_is_refused_in_a_sentence(tmp_path, make, sizes, match):
    make_plain(make, sizes).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match=f"^model: .*{match}") as caught:
        open_saved(tmp_path, make_spec())
    assert caught.value.reason is Reason.BAD_MODEL
