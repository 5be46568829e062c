"""The same training in every guise gives the same losses, gradients and weights."""

import pytest

from engine.train.checkpoint import list_checkpoints
from tests.engine.train.cases import run_case, run_ranks

# All weights of a model with wide ones: at a high rate, rounding grows tenfold with each step.
RATES = {"lora": 1e-2, "full": 1e-3}
KINDS = [
    {"stage": stage, "method": method, "learning_rate": RATES[method]}
    for stage in ("sft", "pretrain", "dpo", "reward")
    for method in RATES
]
KINDS.append(KINDS[0] | {"lora": {"rank": 4, "alpha": 8, "train_embeddings": True}})
ALONE = {
    "accumulation": {"micro_batch_tokens": 64},
    "one-batch": {"micro_batch_tokens": 256},
    "offload": {"offload": "both", "activation_checkpointing": "full"},
    "recompute-some": {"activation_checkpointing": "selective"},
    "recompute-all": {"activation_checkpointing": "full"},
    "unpacked": {"is_unpacked": True},
}
ON_TWO = {
    "replicas": {"parallel": {"replicas": 2}},
    "shards": {"parallel": {"shards": 2}},
    "sequence": {"parallel": {"sequence": 2}},
    "tensor": {"parallel": {"tensor": 2}},
    "pipeline": {"parallel": {"pipeline": 2}},
}
RESUMED = ("shards", "tensor", "pipeline")
ON_FOUR = {
    "hybrid": {"parallel": {"replicas": 2, "shards": 2}},
    "shards-tensor": {"parallel": {"shards": 2, "tensor": 2}},
    "pipeline-shards": {"parallel": {"pipeline": 2, "shards": 2}, "offload": "both"},
    "pipeline-tensor": {"parallel": {"pipeline": 2, "tensor": 2}},
    "sequence-tensor": {"parallel": {"sequence": 2, "tensor": 2}},
    "shards-sequence-recompute": {
        "parallel": {"shards": 2, "sequence": 2},
        "activation_checkpointing": "full",
    },
}


def name(kind):
    return f"{kind['stage']}-{kind['method']}" + ("-embeddings" if "lora" in kind else "")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What one process finds that does nothing special, by kind; its checkpoints stay."""
    folder = tmp_path_factory.mktemp("plain")
    found = {name(kind): run_case(kind, folder / name(kind)) for kind in KINDS}
    return folder, found


MOVED = 1e-5
"""Before DPO's first step all rewards are 0 but for rounding, which then ranks the pairs."""


def drop(found, name):
    return {key: value for key, value in found.items() if key != name}


def assert_same(found, wanted, *, tolerance=5e-5, weights=None):
    for what in ("losses", "norms", "eval"):
        assert found[what] == pytest.approx(wanted[what], rel=tolerance), what
    assert found["weights"] == pytest.approx(wanted["weights"], rel=weights or tolerance)
    for what in ("measures", "eval_measures"):
        assert len(found[what]) == len(wanted[what])
        for got, want in zip(found[what], wanted[what], strict=True):
            if want.get("margin") is not None and abs(want["margin"]) < MOVED:
                got, want = (drop(found, "accuracy") for found in (got, want))
            assert got == pytest.approx(want, rel=20 * tolerance, abs=20 * tolerance), what
    # Rounding goes both ways; a term that is lost or counted twice goes one way.
    drifts = [got - want for got, want in zip(found["losses"], wanted["losses"], strict=True)]
    assert abs(sum(drifts)) <= ONE_SIDED * tolerance * sum(map(abs, wanted["losses"])), drifts


ONE_SIDED = 0.2
"""How much of the tolerance all losses together may be off to one side."""


@pytest.mark.parametrize("side", [-1, 1])
def test_a_drift_to_one_side_is_seen_where_each_loss_is_near_enough(side):
    wanted = {"losses": [5.0, 4.0, -3.0], "norms": [1.0], "eval": [4.5], "weights": {"w": 1.0}}
    wanted |= {"measures": [], "eval_measures": []}
    off = [loss + side * 0.9 * 5e-5 * abs(loss) for loss in wanted["losses"]]
    both_ways = [5.0 * (1 + 4e-5), 4.0 * (1 - 4e-5), -3.0]
    assert_same(wanted | {"losses": both_ways}, wanted)
    with pytest.raises(AssertionError):
        assert_same(wanted | {"losses": off}, wanted)


@pytest.mark.parametrize("guise", ALONE)
@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_one_process_in_another_guise(plain, tmp_path, kind, guise):
    assert_same(run_case(kind | ALONE[guise], tmp_path), plain[1][name(kind)])


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_a_resume_on_one_process_is_the_unbroken_run_bit_for_bit(plain, tmp_path, kind):
    begun = list_checkpoints(plain[0] / name(kind))[0]
    rest = run_case(kind | {"resume_from": str(begun)}, tmp_path)
    wanted = drop_steps(plain[1][name(kind)], 2)
    for what in ("losses", "norms", "measures", "eval", "eval_measures", "weights"):
        assert rest[what] == wanted[what], what


@pytest.mark.slow
@pytest.mark.parametrize("kind", [KINDS[3], KINDS[4]], ids=name)
def test_compiled_layers(plain, tmp_path, kind):
    """An adapter of SFT is compiled in a pipeline, below."""
    assert_same(run_case(kind | {"compile": True}, tmp_path), plain[1][name(kind)], tolerance=5e-4)


@pytest.fixture(scope="module")
def on_two(plain, tmp_path_factory):
    """What two processes find, each guise of each kind, and from another world's checkpoint."""
    cases = {f"{name(kind)}/{guise}": kind | ON_TWO[guise] for kind in KINDS for guise in ON_TWO}
    for kind in KINDS:
        begun = list_checkpoints(plain[0] / name(kind))[0]
        for guise in RESUMED:
            cases[f"{name(kind)}/{guise}-resumed"] = (
                kind | ON_TWO[guise] | {"resume_from": str(begun)}
            )
    folder = tmp_path_factory.mktemp("two")
    return folder, run_ranks(cases, 2, folder)


@pytest.mark.slow
@pytest.mark.parametrize("guise", ON_TWO)
@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_two_processes(plain, on_two, kind, guise):
    assert_same(on_two[1][f"{name(kind)}/{guise}"], plain[1][name(kind)])


@pytest.mark.slow
@pytest.mark.parametrize("guise", RESUMED)
@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_a_resume_onto_more_processes(plain, on_two, kind, guise):
    rest = on_two[1][f"{name(kind)}/{guise}-resumed"]
    assert_same(rest, drop_steps(plain[1][name(kind)], 2))


@pytest.mark.slow
@pytest.mark.parametrize("guise", RESUMED)
@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_a_resume_onto_fewer_processes(plain, on_two, tmp_path, kind, guise):
    begun = list_checkpoints(on_two[0] / name(kind) / guise)[0]
    rest = run_case(kind | {"resume_from": str(begun)}, tmp_path)
    assert_same(rest, drop_steps(plain[1][name(kind)], 2))


def drop_steps(found, number):
    """What a run finds that begins behind so many steps."""
    rest = {what: found[what][number:] for what in ("losses", "norms", "measures")}
    return found | rest


FUSED = [
    KINDS[method] | {"shape": shape, "learning_rate": 1e-3, "save_every_steps": 2}
    for method in (0, 1)
    for shape in (
        {"family": "internlm2", "bias": True},
        {"family": "baichuan-7b"},
        {"family": "baichuan-13b"},
        {"family": "chatglm"},
        {"family": "qwen3"},
    )
]


def family(kind):
    return f"{kind['shape']['family']}-{kind['method']}"


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """What two processes find that have some heads of each fused matrix."""
    folder = tmp_path_factory.mktemp("fused")
    cases = {family(kind): kind | {"parallel": {"tensor": 2}} for kind in FUSED}
    return folder, run_ranks(cases, 2, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUSED, ids=family)
def test_fused_matrices_are_cut_part_by_part(fused, tmp_path, kind):
    """Keys' biases have no gradient but rounding, which Adam makes large: weights differ more."""
    wanted = run_case(kind, tmp_path / "plain")
    assert_same(fused[1][family(kind)], wanted, weights=1e-3)
    begun = list_checkpoints(fused[0] / family(kind))[0]
    rest = run_case(kind | {"resume_from": str(begun)}, tmp_path / "rest")
    assert_same(rest, drop_steps(wanted, 2), weights=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_windows_and_caps_are_the_same_on_parts(tmp_path, stage):
    """Of the rows' samples the longest have 40 tokens, and windows 16."""
    kind = KINDS[1] | {"stage": stage, "shape": {"family": "gemma2"}, "learning_rate": 1e-3}
    guises = ("shards", "sequence", "tensor")
    found = run_ranks({guise: kind | ON_TWO[guise] for guise in guises}, 2, tmp_path)
    wanted = run_case(kind, tmp_path / "plain")
    assert_same(run_case(kind | {"is_unpacked": True}, tmp_path / "unpacked"), wanted)
    for guise in guises:
        assert_same(found[guise], wanted)


@pytest.mark.slow
def test_a_base_at_four_bits_is_spread_too(tmp_path):
    kind = KINDS[0] | {"method": "qlora", "max_steps": 3}
    guises = {"shards": {"shards": 2}, "pipeline": {"pipeline": 2}}
    cases = {guise: kind | {"parallel": sizes} for guise, sizes in guises.items()}
    found = run_ranks(cases, 2, tmp_path)
    wanted = run_case(kind, tmp_path / "plain")
    for guise in guises:
        assert_same(found[guise], wanted)
    # The layers' levels and rotary tables are whole on each.
    assert found["shards"]["held_bytes"] < 0.55 * wanted["held_bytes"]


@pytest.mark.slow
def test_eight_bit_moments_are_spread_too(tmp_path):
    """Blocks lie otherwise where weights are spread, so numbers are near and not the same."""
    kind = KINDS[1] | {"optimizer": "adamw8bit"}
    spread = {"parallel": {"shards": 2}}
    found = run_ranks({"spread": kind | spread}, 2, tmp_path)["spread"]
    wanted = run_case(kind, tmp_path / "plain")
    assert_same(found, wanted, tolerance=1e-2)
    begun = list_checkpoints(tmp_path / "spread")[0]
    rest = run_case(kind | {"resume_from": str(begun)}, tmp_path / "rest")
    assert_same(rest, drop_steps(wanted, 2), tolerance=1e-2)


@pytest.mark.slow
def test_a_pipeline_takes_muon_and_compiled_layers(tmp_path):
    """Muon sees whole matrices in every stage; each stage compiles its own layers."""
    kinds = {
        "muon": (KINDS[1] | {"optimizer": "muon"}, 5e-5),
        "compile": (KINDS[0] | {"compile": True}, 5e-4),
    }
    cases = {of: kind | ON_TWO["pipeline"] for of, (kind, _) in kinds.items()}
    found = run_ranks(cases, 2, tmp_path)
    for of, (kind, tolerance) in kinds.items():
        wanted = run_case(kind | {"compile": False}, tmp_path / of / "plain")
        assert_same(found[of], wanted, tolerance=tolerance)
    begun = list_checkpoints(tmp_path / "muon")[0]
    rest = run_case(kinds["muon"][0] | {"resume_from": str(begun)}, tmp_path / "rest")
    assert_same(rest, drop_steps(found["muon"], 2))


@pytest.mark.slow
def test_bfloat16_kernels_work_on_parts(tmp_path):
    """Shards, sequences and stages go through the kernels too: the same but for rounding."""
    kind = KINDS[1] | {"precision": "bf16"}
    guises = ("replicas", "shards", "sequence", "tensor", "pipeline")
    found = run_ranks({guise: kind | ON_TWO[guise] for guise in guises}, 2, tmp_path)
    wanted = run_case(kind, tmp_path / "plain")
    for guise in guises:
        for what, tolerance in (("losses", 5e-3), ("eval", 5e-3), ("norms", 5e-2)):
            got = found[guise][what]
            assert got == pytest.approx(wanted[what], rel=tolerance), f"{guise} {what}"


@pytest.mark.slow
def test_a_pipeline_of_four_whose_ends_share_no_matrix(tmp_path):
    shape = {"num_hidden_layers": 5, "tie_word_embeddings": False}
    kind = KINDS[1] | {"shape": shape, "micro_batch_tokens": 64, "max_steps": 3}
    found = run_ranks({"deep": kind | {"parallel": {"pipeline": 4}}}, 4, tmp_path)
    assert_same(found["deep"], run_case(kind, tmp_path / "plain"))


@pytest.mark.slow
def test_four_processes_of_two_dimensions(plain, tmp_path):
    kinds = [KINDS[0], KINDS[3]]
    chosen = [(kind, guise) for kind in kinds for guise in ON_FOUR]
    chosen += [(KINDS[5], "hybrid"), (KINDS[6], "hybrid")]  # pairs too
    cases = {f"{name(kind)}/{guise}": kind | ON_FOUR[guise] for kind, guise in chosen}
    found = run_ranks(cases, 4, tmp_path)
    for kind, guise in chosen:
        assert_same(found[f"{name(kind)}/{guise}"], plain[1][name(kind)])
