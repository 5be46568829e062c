"""Every family and kind of weight against a plain float64 model, and against transformers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Qwen2Config, Qwen2ForCausalLM

from engine.serve.cpu import open_cpu_decoder
from engine.serve.decoder.shape import DecoderShape, LayerShape, RopeShape
from engine.serve.decoder.weights import DecoderWeights, FeedForward, LayerWeights, LinearWeights
from tests.engine.serve.cpu.made import (
    KINDS,
    SHAPES,
    Request,
    draw_tokens,
    make_batch,
    make_linear,
    make_weights,
    run_alone,
)
from tests.engine.serve.cpu.reference import Reference

TOKENS = draw_tokens(90)
BLOCKS = range(7, 13)

# Root mean square of the difference, in standard deviations of the logits. Floats: rounding only.
# bf16: 8 bits of every input and key. Integers: inputs of 8 bits, of 64 or 32 together or by row.
TOLERANCES = {"float32": 2e-6, "bfloat16": 8e-3}


def measure_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).square().mean().sqrt() / expected.std())


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_every_family_gives_the_logits_of_a_plain_model(open_made, family, kind):
    expected = Reference(SHAPES[family], make_weights(SHAPES[family], kind)).logits(TOKENS)
    found = run_alone(open_made(family, kind), TOKENS, BLOCKS)
    assert measure_error(found, expected) < TOLERANCES[kind]


@pytest.mark.parametrize("kind", KINDS[2:])
def test_quantized_layers_give_the_logits_of_their_dequantized_selves(open_made, kind):
    expected = Reference(SHAPES["llama"], make_weights(SHAPES["llama"], kind)).logits(TOKENS)
    found = run_alone(open_made("llama", kind), TOKENS, BLOCKS)
    assert measure_error(found, expected) < 0.025


def test_inputs_rounded_in_groups_are_nearer_than_inputs_rounded_by_row():
    shape = replace(SHAPES["llama"], hidden_size=256)
    weights = make_weights(shape, "int8")
    loud = weights.embedding.clone()
    loud[:, 5] *= 30  # one loud channel takes the whole range of its row
    weights = replace(weights, embedding=loud)
    expected = Reference(shape, weights).logits(TOKENS)
    errors = []
    for has_int8_inputs in (False, True):
        layers = tuple(_mark(layer, has_int8_inputs) for layer in weights.layers)
        decoder = open_cpu_decoder(
            shape, replace(weights, layers=layers), num_blocks=48, num_threads=1, max_adapters=0
        )
        errors.append(measure_error(run_alone(decoder, TOKENS, BLOCKS), expected))
    assert errors[0] < 0.8 * errors[1]


def _mark(layer: LayerWeights, has_int8_inputs: bool) -> LayerWeights:
    names = ("query", "key", "value", "output")
    marked = {
        name: replace(getattr(layer, name), has_int8_inputs=has_int8_inputs) for name in names
    }
    assert layer.feed_forward is not None
    parts = {
        name: replace(getattr(layer.feed_forward, name), has_int8_inputs=has_int8_inputs)
        for name in ("gate", "up", "down")
    }
    return replace(layer, **marked, feed_forward=FeedForward(**parts))


def test_scales_far_apart_in_one_layer_all_count():
    shape = SHAPES["llama"]
    weights = make_weights(shape, "int4_g32")
    query = weights.layers[0].query
    assert query.scale is not None
    spread = query.scale * torch.logspace(-5, 0, query.num_outputs)[:, None]
    layer = replace(weights.layers[0], query=replace(query, scale=spread))
    weights = replace(weights, layers=(layer, *weights.layers[1:]))
    decoder = open_cpu_decoder(shape, weights, num_blocks=48, num_threads=1, max_adapters=0)
    expected = Reference(shape, weights).logits(TOKENS)
    assert measure_error(run_alone(decoder, TOKENS, BLOCKS), expected) < 0.025


@pytest.mark.parametrize("bits, bound", [(8, 0.012), (4, 0.2)])
def test_a_rounded_head_stays_near_the_dense_one(open_made, bits, bound):
    expected = run_alone(open_made("llama", "bfloat16"), TOKENS, BLOCKS)
    found = run_alone(open_made("llama", "bfloat16", head_bits=bits), TOKENS, BLOCKS)
    assert 0 < measure_error(found, expected) < bound


def test_only_the_wanted_rows_come_back_and_in_their_order(open_made):
    decoder = open_made()
    everything = run_alone(decoder, TOKENS, BLOCKS)
    batch = make_batch([(Request(TOKENS, list(BLOCKS)), len(TOKENS))])
    rows = [50, 3, 3, 89]
    found = decoder.forward(replace(batch, logits_rows_R=torch.tensor(rows, dtype=torch.int32)))
    assert torch.equal(found, everything[rows])
    none = decoder.forward(replace(batch, logits_rows_R=torch.empty(0, dtype=torch.int32)))
    assert none.shape == (0, SHAPES["llama"].vocab_size)


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_embeddings_are_the_normed_last_hidden_states(open_made, kind):
    expected = Reference(SHAPES["qwen3"], make_weights(SHAPES["qwen3"], kind)).hidden(TOKENS)
    batch = make_batch([(Request(TOKENS, list(BLOCKS)), len(TOKENS))])
    found = open_made("qwen3", kind).embed(batch)
    assert measure_error(found, expected) < TOLERANCES.get(kind, 0.025)


def test_odd_sizes_are_padded_inside():
    shape = replace(
        SHAPES["llama"], vocab_size=77, hidden_size=42, intermediate_size=50, num_heads=3,
        num_kv_heads=3, head_dim=14, ropes=(RopeShape((1.0, 0.3, 0.1)),),
    )  # fmt: skip
    for kind, bound in (("float32", 2e-6), ("bfloat16", 8e-3), ("int8", 0.025)):
        weights = make_weights(shape, kind)
        decoder = open_cpu_decoder(shape, weights, num_blocks=48, num_threads=2, max_adapters=0)
        tokens = [token % 77 for token in TOKENS]
        expected = Reference(shape, weights).logits(tokens)
        assert measure_error(run_alone(decoder, tokens, BLOCKS), expected) < bound


def test_qwen2_gives_the_logits_of_transformers():
    config = Qwen2Config(
        vocab_size=99, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).eval()
    for name, value in model.named_parameters():
        torch.nn.init.normal_(value, 1.0 if "norm" in name else 0.0, 0.2)
    shape = replace(
        SHAPES["qwen2"], num_heads=4, intermediate_size=96, norm_eps=config.rms_norm_eps
    )
    decoder = open_cpu_decoder(
        shape, read_weights(model, shape, 0.0), num_blocks=8, num_threads=1, max_adapters=0
    )
    with torch.no_grad():
        expected = model(torch.tensor([TOKENS])).logits[0]
    assert measure_error(run_alone(decoder, TOKENS, range(6)), expected) < 1e-5


def test_gemma3_gives_the_logits_of_transformers():
    config = Gemma3TextConfig(
        vocab_size=99, hidden_size=64, intermediate_size=96, num_hidden_layers=2, head_dim=16,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        sliding_window=20, layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=25, hidden_activation="gelu_pytorch_tanh",
    )  # fmt: skip
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(config).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, 0.0, 0.2)
    rotary = model.model.rotary_emb
    ropes = tuple(
        RopeShape(tuple(getattr(rotary, f"{kind}_inv_freq").tolist()))
        for kind in ("sliding_attention", "full_attention")
    )
    shape = replace(
        SHAPES["gemma3_text"], num_heads=4, intermediate_size=96, attention_scale=25**-0.5,
        norm_eps=config.rms_norm_eps, layers=(LayerShape(0, 20), LayerShape(1)), ropes=ropes,
    )  # fmt: skip
    decoder = open_cpu_decoder(
        shape, read_weights(model, shape, 1.0), num_blocks=8, num_threads=1, max_adapters=0
    )
    with torch.no_grad():
        expected = model(torch.tensor([TOKENS])).logits[0]
    assert measure_error(run_alone(decoder, TOKENS, range(6)), expected) < 1e-5


def read_weights(model: torch.nn.Module, shape: DecoderShape, norm_offset: float) -> DecoderWeights:
    """Take a transformers model's tensors by their names."""
    state = {name: value.detach() for name, value in model.state_dict().items()}

    def linear(name: str) -> LinearWeights:
        return LinearWeights("dense", state[f"{name}.weight"], bias=state.get(f"{name}.bias"))

    def norm(name: str) -> Tensor:
        return state[f"{name}.weight"] + norm_offset

    layers = []
    for i in range(shape.num_layers):
        at = f"model.layers.{i}"
        optional = {}
        if shape.has_query_key_norm:
            optional |= {
                "query_norm": norm(f"{at}.self_attn.q_norm"),
                "key_norm": norm(f"{at}.self_attn.k_norm"),
            }
        if shape.has_sandwich_norm:
            optional |= {
                "attention_post_norm": norm(f"{at}.post_attention_layernorm"),
                "ffn_post_norm": norm(f"{at}.post_feedforward_layernorm"),
            }
        before_ffn = "pre_feedforward" if shape.has_sandwich_norm else "post_attention"
        layers.append(
            LayerWeights(
                norm(f"{at}.input_layernorm"),
                *(linear(f"{at}.self_attn.{part}_proj") for part in "qkvo"),
                norm(f"{at}.{before_ffn}_layernorm"),
                FeedForward(*(linear(f"{at}.mlp.{part}_proj") for part in ("gate", "up", "down"))),
                **optional,
            )
        )
    return DecoderWeights(
        state["model.embed_tokens.weight"], tuple(layers), norm("model.norm"), linear("lm_head")
    )


@pytest.mark.parametrize("simd", ["avx2", "scalar"])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8", "int4_g32_zeros"])
def test_older_instructions_give_the_same_logits(open_made, simd, kind):
    """Integer sums are exact everywhere; floats differ by rounding, which an int8 input may tip."""
    here = run_alone(open_made("qwen2", kind), TOKENS, BLOCKS)
    older = open_made("qwen2", kind, simd=simd)
    assert older.simd == simd
    bound = {"float32": 1e-6, "bfloat16": 5e-3}.get(kind, 1e-2)
    assert measure_error(run_alone(older, TOKENS, BLOCKS), here) < bound


@pytest.mark.parametrize("simd", ["native", "avx2", "scalar"])
def test_older_instructions_run_every_part(open_made, simd):
    for family, kv_bits in (("gemma3_text", 8), ("mixtral", 4)):
        weights = make_weights(SHAPES[family], "bfloat16")
        expected = Reference(SHAPES[family], weights).logits(TOKENS)
        decoder = open_made(family, "bfloat16", simd=simd, kv_bits=kv_bits, kv_kept_layers=1)
        bound = 0.02 if kv_bits == 8 else 0.15
        assert measure_error(run_alone(decoder, TOKENS, BLOCKS), expected) < bound


def test_a_router_of_equal_scores_takes_the_first_experts():
    shape = replace(SHAPES["mixtral"], layers=SHAPES["mixtral"].layers[:1])
    weights = make_weights(shape)
    router = make_linear(4, shape.hidden_size, "float32")
    router = replace(router, weight=torch.zeros_like(router.weight))
    layer = replace(weights.layers[0], router=router)
    weights = replace(weights, layers=(layer,))
    decoder = open_cpu_decoder(shape, weights, num_blocks=8, num_threads=1, max_adapters=0)
    first_two = replace(layer, experts=layer.experts[:2], router=replace(
        router, weight=router.weight[:2]))  # fmt: skip
    two = replace(shape, num_experts=2)
    expected = Reference(two, replace(weights, layers=(first_two,))).logits(TOKENS)
    assert measure_error(run_alone(decoder, TOKENS, range(6)), expected) < 1e-5
