"""Each model against its plain float64 reference, and against transformers' models of one function.

Tolerances are absolute, on logits of a few units: float32 keeps about 1e-6 of them a layer.
"""

import pytest
import torch
import torch.nn.functional as F
from transformers import GlmConfig, GlmForCausalLM, LlamaConfig, LlamaForCausalLM

from engine.models.tiny import make_family
from engine.train.attention import PACKED
from tests.engine.models.reference import baichuan, chatglm, internlm2

IDS = torch.tensor([5, 77, 200, 13, 13, 250, 8, 99, 31, 4, 180, 66])
CASES = {
    "internlm2": ("internlm2", internlm2, {}),
    "internlm2 with biases": ("internlm2", internlm2, {"bias": True}),
    "internlm2, one group": ("internlm2", internlm2, {"num_key_value_heads": 1}),
    "internlm2 beyond its window": (
        "internlm2",
        internlm2,
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 7},
    ),
    "internlm2 within its window": (
        "internlm2",
        internlm2,
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_theta": 1e6},
    ),
    "internlm2, linear": (
        "internlm2",
        internlm2,
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
    ),
    "baichuan 7b": ("baichuan-7b", baichuan, {}),
    "baichuan2 7b": ("baichuan-7b", baichuan, {"norm_head": True}),
    "baichuan 13b": ("baichuan-13b", baichuan, {"norm_head": False}),
    "baichuan2 13b": ("baichuan-13b", baichuan, {}),
    "chatglm3": ("chatglm", chatglm, {}),
    "glm-4": ("chatglm", chatglm, {"rope_ratio": 500, "layernorm_epsilon": 1.5625e-07}),
    "chatglm with biases": ("chatglm", chatglm, {"add_bias_linear": True}),
}


def take_apart(model):
    state = {
        name: value.detach().double().requires_grad_() for name, value in model.state_dict().items()
    }
    return state, model.config.to_dict()


@pytest.mark.parametrize("attention", ["eager", "sdpa", PACKED])
@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_are_the_reference_s(case, attention):
    family, reference, changes = CASES[case]
    model = make_family(family, seed=4, **changes)
    model.set_attn_implementation(attention)
    state, config = take_apart(model)
    want = reference.logits(state, config, IDS.tolist())
    assert want.detach().std() > 0.3  # flat logits would prove nothing
    got = model(input_ids=IDS[None]).logits[0]
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-4)
    F.cross_entropy(got[:-1], IDS[1:]).backward()
    F.cross_entropy(want[:-1], IDS[1:]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), state[name].grad, rtol=1e-3, atol=1e-5)


def make_llama(config, theta, **changes):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=getattr(config, "num_key_value_heads", None),
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": theta, **changes},
        )
    ).eval()


def split_internlm2(model):
    """Give a state dict Llama's names, its fused weight cut into three."""
    config, state = model.config, {}
    groups, per_group = (
        config.num_key_value_heads,
        model.model.layers[0].attention.num_key_value_groups,
    )
    names = {
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attention.wo": "self_attn.o_proj",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w2": "mlp.down_proj",
        "feed_forward.w3": "mlp.up_proj",
        "tok_embeddings": "embed_tokens",
    }
    for name, value in model.state_dict().items():
        if "wqkv" in name:
            heads = value.view(groups, per_group + 2, -1, config.hidden_size)
            parts = {
                "q": heads[:, :per_group],
                "k": heads[:, per_group : per_group + 1],
                "v": heads[:, per_group + 1 :],
            }
            at = name.replace("attention.wqkv.weight", "self_attn")
            for part, piece in parts.items():
                state[f"{at}.{part}_proj.weight"] = piece.reshape(-1, config.hidden_size)
            continue
        for old, new in names.items():
            name = name.replace(old, new)
        state[name.replace("output.", "lm_head.")] = value
    return state


@pytest.mark.parametrize("scaling", [None, "dynamic", "linear"])
def test_internlm2_is_llama_with_its_projection_cut_in_three(scaling):
    changes = {"type": scaling, "factor": 3.0} if scaling else None
    model = make_family("internlm2", max_position_embeddings=8, rope_scaling=changes)
    scaled = {"rope_type": scaling, "factor": 3.0} if scaling else {}
    llama = make_llama(model.config, 10_000.0, **scaled)
    llama.load_state_dict(split_internlm2(model))
    with torch.no_grad():
        got, want = model(IDS[None]).logits, llama(IDS[None]).logits
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5)


def test_baichuan_7b_is_llama_with_its_projection_cut_in_three():
    model = make_family("baichuan-7b")
    llama = make_llama(model.config, 10_000.0)
    state = {}
    for name, value in model.state_dict().items():
        if "W_pack" in name:
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                state[name.replace("W_pack", f"{part}_proj")] = piece
        else:
            state[name] = value
    llama.load_state_dict(state)
    with torch.no_grad():
        got, want = model(IDS[None]).logits, llama(IDS[None]).logits
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5)


def test_chatglm_is_transformers_glm_with_its_projection_cut_in_three():
    model = make_family("chatglm", rope_ratio=500)
    config = model.config
    glm = GlmForCausalLM(
        GlmConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.ffn_hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.multi_query_group_num,
            head_dim=config.kv_channels,
            rms_norm_eps=config.layernorm_epsilon,
            attention_bias=True,
            pad_token_id=0,
            eos_token_id=2,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10_000.0 * 500,
                "partial_rotary_factor": 0.5,
            },
        )
    ).eval()
    names = {
        "transformer.encoder.": "model.",
        "self_attention.dense": "self_attn.o_proj",
        "dense_h_to_4h": "gate_up_proj",
        "dense_4h_to_h": "down_proj",
        "final_layernorm": "norm",
        "transformer.embedding.word_embeddings": "model.embed_tokens",
        "transformer.output_layer": "lm_head",
    }
    sizes = [64, 32, 32]
    state = {}
    for name, value in model.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        if "query_key_value" in name:
            for part, piece in zip("qkv", value.split(sizes), strict=True):
                at = name.replace("self_attention.query_key_value", f"self_attn.{part}_proj")
                state[at] = piece
        else:
            state[name] = value
    glm.load_state_dict(state)
    with torch.no_grad():
        got, want = model(IDS[None]).logits, glm(IDS[None]).logits
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5)
