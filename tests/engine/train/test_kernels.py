"""The kernels that are compiled here: near to float64, used where they fit, missed where not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from engine.data.batch import Span, make_layout
from engine.models.tiny import make_family, make_model
from engine.train import native
from engine.train.banded import Scoring
from engine.train.fuse import fuse_rows
from engine.train.losses import learn_logits
from engine.train.rows import gate_rows, norm_rows, rotate_rows
from engine.train.spans import attend_spans, suits_spans
from tests.engine.train.cases import run_case

CPU = torch.device("cpu")
ROUNDING = 3e-3
"""What bfloat16 leaves of a norm: half of its last place is 0.002."""


@pytest.fixture(autouse=True)
def _has_compiler():
    assert native.load_kernels() is not None  # else this file tells nothing


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    native.load_kernels.cache_clear()
    yield
    native.load_kernels.cache_clear()


def draw(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape).bfloat16().to(dtype).requires_grad_()


def assert_near(ours, naive, given):
    """Compare a function with one in float64: what it returns, and the gradients of its leaves."""
    leaves = [x.detach().double().requires_grad_(x.requires_grad) for x in given]
    out, wanted = ours(*given), naive(*leaves)
    grad = torch.randn(wanted.shape).bfloat16()
    found = [out, *torch.autograd.grad(out, [x for x in given if x.requires_grad], grad)]
    truth = torch.autograd.grad(wanted, [x for x in leaves if x.requires_grad], grad.double())
    for one, other in zip(found, [wanted, *truth], strict=True):
        assert (one.double() - other).norm() <= ROUNDING * other.norm()


def attend_naively(query, key, value, spans, num_shared, scoring):
    """Each sample by itself, out of its own, borrowed and shared positions."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    outs, start = [], 0
    for span in (Span(num_shared), *spans) if num_shared else spans:
        first, lent = span.borrowed
        seen = [*range(span.num_shared), *range(first, first + lent)]
        own = range(start, start + span.num_own)
        scores = torch.einsum("ihd,jhd->hij", query[list(own)], key[[*seen, *own]])
        scores = scores * scoring.scale
        if scoring.cap:
            scores = scoring.cap * (scores / scoring.cap).tanh()
        is_all = torch.ones(len(own), len(seen) + len(own), dtype=torch.bool)
        hidden = is_all.triu(len(seen) + 1)
        if scoring.window:
            hidden = hidden | is_all.tril(len(seen) - scoring.window)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        outs.append(torch.einsum("hij,jhd->ihd", weights, value[[*seen, *own]]))
        start += span.num_own
    return torch.cat(outs)


@pytest.mark.parametrize(
    "scoring",
    [Scoring(0.25), Scoring(0.25, cap=2.0), Scoring(0.25, window=18), Scoring(0.5, 1.5, 1)],
    ids=["plain", "capped", "window", "capped-window"],
)
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(
    ("spans", "heads"),
    [
        ([Span(1), Span(33), Span(7)], (6, 2)),
        ([Span(40, 19), Span(3, 19), Span(5, 19, (19, 8)), Span(70)], (3, 3)),
    ],
    ids=["apart", "behind-a-shared-beginning"],
)
def test_attention_is_that_of_each_sample_by_itself(spans, heads, num_threads, scoring):
    torch.manual_seed(0)
    layout, (num_heads, num_keys) = make_layout(spans, CPU), heads
    num_shared = max(span.num_shared for span in spans)
    length = num_shared + sum(span.num_own for span in spans)
    given = [draw(length, n, 16) for n in (num_heads, num_keys, num_keys)]
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        assert_near(
            lambda q, k, v: attend_spans(q, k, v, layout.units_U5, scoring),
            lambda q, k, v: attend_naively(q, k, v, spans, num_shared, scoring),
            given,
        )
    finally:
        torch.set_num_threads(before)


def test_heads_of_another_layout_are_read_as_they_lie():
    torch.manual_seed(0)
    units = make_layout([Span(9)], CPU).units_U5
    packed = torch.randn(9, 4, 3 * 16).bfloat16()
    parts = packed.split(16, dim=-1)
    out = attend_spans(*parts, units, Scoring(0.25))
    assert torch.equal(out, attend_spans(*(x.contiguous() for x in parts), units, Scoring(0.25)))


@pytest.mark.parametrize("rows", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("weight", [torch.bfloat16, torch.float32])
def test_the_norm(rows, weight):
    torch.manual_seed(0)
    given = [draw(5, 48, dtype=rows), draw(48, dtype=weight)]
    naive = lambda x, w: x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * w  # noqa: E731
    assert_near(lambda x, w: norm_rows(x, w, 1e-5), naive, given)


def test_the_gate():
    torch.manual_seed(0)
    given = [draw(3, 50), draw(3, 50)]
    assert_near(gate_rows, lambda gate, up: F.silu(gate) * up, given)
    large = torch.tensor([-200.0, 200.0, -torch.inf, torch.nan]).bfloat16()
    out = gate_rows(large, torch.ones(4).bfloat16())
    assert out[:2].tolist() == pytest.approx([0, 200], abs=1e-30)
    assert out[3].isnan()


def test_the_rotation():
    torch.manual_seed(0)
    angles = torch.randn(7, 8).repeat(1, 2)
    cos, sin = angles.cos(), angles.sin()

    def turn(x):
        first, second = x.chunk(2, -1)
        return x * cos[:, None] + torch.cat([-second, first], -1) * sin[:, None]

    assert_near(lambda x: rotate_rows(x, cos, sin), turn, [draw(7, 3, 16)])


@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_loss_of_logits_and_its_gradient(is_weighted):
    torch.manual_seed(0)
    logits, target = (torch.randn(9, 333) * 5).bfloat16(), torch.randint(0, 333, (9,))
    weight = torch.rand(9) * 2 if is_weighted else None
    logits[:4].scatter_(1, target[:4, None], 90.0)  # the first are right
    wide = logits.double().requires_grad_()
    each = F.cross_entropy(wide, target, reduction="none")
    wanted = each if weight is None else each * weight
    (grad,) = torch.autograd.grad(wanted.sum(), wide)
    loss, right, wrong = learn_logits(logits, target, weight)
    assert torch.equal(right, (torch.arange(9) < 4) * (1 if weight is None else weight))
    torch.testing.assert_close(loss.double(), wanted.detach(), rtol=1e-5, atol=1e-5)
    assert (wrong.double() - grad).norm() <= ROUNDING * grad.norm()


def test_what_is_no_number_stays_none():
    for spoilt in (torch.nan, torch.inf):
        logits = torch.zeros(1, 40).bfloat16()
        logits[0, 3] = spoilt
        assert not learn_logits(logits, torch.tensor([5]), None)[0].isfinite().any()
        rows = torch.ones(1, 32).bfloat16()
        rows[0, 3] = spoilt
        assert norm_rows(rows, torch.ones(32), 1e-5).isnan().any()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_training_learns_the_same_without_a_compiler(tmp_path, method, request):
    kind = {"method": method, "precision": "bf16", "learning_rate": 1e-3}
    ours = run_case(kind, tmp_path / "ours")
    request.getfixturevalue("no_compiler")
    plain = run_case(kind, tmp_path / "plain")
    assert ours["losses"] != plain["losses"]  # they went another way
    assert ours["losses"] == pytest.approx(plain["losses"], rel=5e-3)
    assert ours["eval"] == pytest.approx(plain["eval"], rel=5e-3)
    drifts = [a - b for a, b in zip(ours["losses"], plain["losses"], strict=True)]
    assert abs(sum(drifts)) <= 2e-3 * sum(plain["losses"])


@pytest.mark.parametrize("family", ["llama", "internlm2"])
def test_norms_and_gates_of_a_model_are_found(family):
    model = make_model() if family == "llama" else make_family(family)
    ids = torch.arange(12)[None]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = model(ids).logits.float()
        fuse_rows(model)
        found = model(ids).logits.float()
    changed = [type(m).__name__ for m in model.modules() if "forward" in vars(m)]
    assert sum(name.endswith("RMSNorm") for name in changed) == 5  # two layers and the end
    assert sum(name.endswith("MLP") for name in changed) == 2
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)


def test_what_only_looks_like_it_is_left_alone():
    """Gemma's norms add one to their weights, and its gates are GELU."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 50}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    model = Gemma2ForCausalLM(Gemma2Config(**sizes, **heads))
    fuse_rows(model)
    assert not any("forward" in vars(module) for module in model.modules())


def test_where_kernels_do_not_fit_others_work(no_compiler):
    heads = [torch.zeros(5, 2, 16).bfloat16() for _ in range(3)]
    assert not suits_spans(*heads, 0.0)
    gate, up = torch.randn(2, 3, 8).bfloat16()
    assert torch.equal(gate_rows(gate, up), F.silu(gate) * up)


def test_only_heads_that_fit_and_no_dropout_go_this_way():
    heads = [torch.zeros(5, 2, 16).bfloat16() for _ in range(3)]
    assert suits_spans(*heads, 0.0)
    assert not suits_spans(*heads, 0.1)
    assert not suits_spans(*(x.float() for x in heads), 0.0)
    assert not suits_spans(*(x[..., :8] for x in heads), 0.0)
    assert not native.suits(nn.Parameter(torch.zeros(3, device="meta")))


def test_a_home_that_cannot_be_written_compiles_for_itself(tmp_path, monkeypatch, capsys):
    (tmp_path / "athanor").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.load_kernels.cache_clear()
    assert native.load_kernels() is not None
    native.load_kernels.cache_clear()
    assert not capsys.readouterr().out
