"""Keys and values on a report card are those that a server holds: the same grid, the same kept."""

import numpy as np
import pytest
import torch

from engine.models.load import load_base
from engine.models.tiny import save_tiny
from engine.quantize import kv
from engine.quantize.kv import RoundingCache, round_vectors
from engine.serve.decoder.families import read_model
from engine.serve.decoder.step import StepBatch
from engine.serve.decoder.torch_decoder import TorchDecoder
from tests.engine.serve.tiny_models import open_backend

NUM_TOKENS, BLOCK_SIZE = 96, 16
TOKENS = torch.randint(3, 250, (NUM_TOKENS,), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("kv") / "tiny")


@pytest.mark.parametrize("bits", [8, 4])
def test_vectors_lie_on_the_grid_of_the_server(bits):
    """Against one vector at a time in numpy; the scale is the least bfloat16 that spans it."""
    values = torch.randn(40, 32, generator=torch.Generator().manual_seed(1))
    values[3], values[4] = 0, values[4].abs() + 2
    for given, found in zip(values.numpy(), round_vectors(values, bits).numpy(), strict=True):
        span = 2 * np.abs(given).max() / 254 if bits == 8 else np.ptp(np.append(given, 0)) / 15
        mantissa, exponent = np.frexp(np.float32(span))  # bfloat16 has eight bits of it
        scale = np.ldexp(np.ceil(mantissa * 256) / 256, exponent)
        assert np.abs(found - given).max() <= (scale / 2) * 1.001 + scale * (bits == 4) / 2
        if scale:
            levels = found / scale
            assert np.abs(levels - levels.round()).max() < 1e-4
            assert np.ptp(levels) <= (254 if bits == 8 else 15) + 1e-3


@torch.inference_mode()
def test_a_report_card_rounds_what_the_server_rounds(folder):
    shape, weights = read_model(folder, dtype=torch.float32)
    with open_backend(folder, kv_precision="int4") as backend:
        assert "kv_bits=4, kv_kept_layers=0, kv_keeps_sinks=True" in backend._model.arithmetic
        served = run(backend._model.decoder)
    torch_decoder = TorchDecoder(shape, weights, num_blocks=8, kv_bits=4)
    model = load_base(folder, precision="fp32", device=torch.device("cpu"))
    exact = model(TOKENS[None]).logits[0]
    cache = RoundingCache(4)
    for layer in model.model.layers:
        layer.register_forward_pre_hook(
            lambda _, given, named: (given, named | {"past_key_values": cache}), with_kwargs=True
        )
    measured = model(TOKENS[None], use_cache=False).logits[0]
    assert cache.num_updates == shape.num_layers
    lost = (served - exact).norm()
    assert (served - measured).norm() < 0.4 * lost  # the rest is the server's bfloat16
    assert torch.equal(measured[: kv.KEPT_POSITIONS], exact[: kv.KEPT_POSITIONS])
    assert (run(torch_decoder) - exact).norm() > lost  # its first positions are rounded, too


def run(decoder) -> torch.Tensor:
    """Return the logits of all positions."""

    def wrap(values):
        return torch.as_tensor(values, dtype=torch.int32)

    blocks = range(NUM_TOKENS // BLOCK_SIZE)
    return decoder.forward(
        StepBatch(
            token_ids_N=wrap(TOKENS),
            positions_N=wrap(range(NUM_TOKENS)),
            query_starts_S1=wrap([0, NUM_TOKENS]),
            context_lengths_S=wrap([NUM_TOKENS]),
            block_tables_SB=wrap([list(blocks)]),
            logits_rows_R=wrap(range(NUM_TOKENS)),
            adapters_S=wrap([-1]),
        )
    )
