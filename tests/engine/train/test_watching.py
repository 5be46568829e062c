"""What a run tells while it goes: operations, shares of the roofline, TensorBoard's files."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.data.batch import collate, count_attended
from engine.data.render import Renderer
from engine.emitter import Emitter
from engine.models.tiny import make_model, make_tokenizer, save_tiny
from engine.specs import Placement, TrainSpec
from engine.specs.estimate import ModelShape
from engine.specs.flops import StepWork, count_flops
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.mesh import open_mesh
from engine.train.prepare import make_trainee, ready
from engine.train.roofline import measure_roofline
from engine.train.run import train
from tests.engine.train.cases import run_case, run_ranks

TEXT = "The furnace feeds itself and burns for days on one load. " * 12


def make_spec(**changes):
    return TrainSpec.model_validate(
        {"model": "./m", "dataset": "./d", "precision": "fp32", **changes}
    )


def count_added(added, left, right, out_shape=None, **options):
    """A product that is added where it stands, which torch has left out of its table."""
    return 2 * left[0] * left[1] * right[1]


IN_PLACE = {torch.ops.aten.addmm_: count_added}


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_operations_are_those_that_torch_counts(method, recompute):
    """Independently: of every product of matrices that is really taken.

    Attention in plain products is the whole square, whose half is hidden; torch counts no other.
    """
    spec = make_spec(stage="pretrain", method=method, activation_checkpointing=recompute)
    base = make_model(num_hidden_layers=12, tie_word_embeddings=False, max_position_embeddings=1024)
    base.set_attn_implementation(PACKED)
    base.requires_grad_(False)
    shape = ModelShape.from_config(base.config.to_dict())
    mesh = open_mesh(spec.parallel, torch.device("cpu"))
    trainee = ready(make_trainee(base, spec), spec, mesh).train()
    (sample,) = Renderer(make_tokenizer(), max_length=1024).render_text(TEXT, row=0)
    with (
        FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        trainee(collate([sample], torch.device("cpu"))).loss.backward()
    length = len(sample.ids)
    work = StepWork(length, length * length, length - 1)
    counted = count_flops(spec, shape, work, num_adapter_params=trainee.num_adapter_params)
    assert counted.hardware == pytest.approx(counter.get_total_flops(), rel=0.03)
    assert (counted.hardware > counted.model) == (recompute == "full")


def test_pairs_that_attend_are_counted_behind_what_is_shared():
    renderer = Renderer(make_tokenizer(), max_length=64)
    (sample,) = renderer.render_text("abcdefghij", row=0)
    length = len(sample.ids)
    assert count_attended(sample, ()) == length * (length + 1) // 2


def test_the_roofline_is_what_large_matrices_reach():
    mesh = open_mesh(make_spec().parallel, torch.device("cpu"))
    flops = measure_roofline(mesh, torch.float32)
    assert 1e8 < flops < 1e14
    assert measure_roofline(mesh, torch.float32) == flops  # once in a process's life


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The run directory and the metrics of a short run."""
    work = tmp_path_factory.mktemp("watched")
    save_tiny(work / "model", initializer_range=0.3)
    rows = [json.dumps({"text": f"{n} bottles stand on the wall. " * 3}) for n in range(24)]
    (work / "rows.jsonl").write_text("\n".join(rows))
    spec = make_spec(
        stage="pretrain",
        model=str(work / "model"),
        dataset=str(work / "rows.jsonl"),
        max_steps=6,
        num_epochs=9,
        tokens_per_step=256,
        micro_batch_tokens=256,
        max_length=128,
        eval_every_steps=3,
        activation_checkpointing="full",
        sample_prompts=("1 bottles",),
    )
    seen = []
    (work / "run").mkdir()
    train(spec, Placement(run_dir=work / "run"), Emitter(seen.append), StopGate())
    return work / "run", seen


def test_every_step_tells_all_that_a_watcher_wants(watched):
    told = [e.values for e in watched[1] if e.type == "metric" and "loss" in e.values]
    assert len(told) == 6
    for values in told:
        assert values.keys() >= {
            *("loss", "learning_rate", "grad_norm", "epoch", "memory_bytes", "eta_s"),
            *("tokens_per_s", "supervised_tokens_per_s", "mfu", "hfu"),
            *("perplexity", "accuracy"),
        }
        assert 0 < values["mfu"] < values["hfu"] < 1
    assert told[-1]["eta_s"] == 0 < told[0]["eta_s"]


def test_tensorboard_reads_the_same(watched):
    run_dir, seen = watched
    board = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    for name in ("loss", "mfu", "eval_loss", "perplexity", "eval_accuracy"):
        told = {e.step: e.values[name] for e in seen if e.type == "metric" and name in e.values}
        read = {scalar.step: scalar.value for scalar in board.Scalars(name)}
        assert read == pytest.approx(told, rel=1e-5)
    samples = [event for event in seen if event.type == "sample"]
    (tag,) = board.Tags()["tensors"]
    texts = [event.tensor_proto.string_val[0].decode() for event in board.Tensors(tag)]
    assert [sample.completion for sample in samples] == texts and len(texts) == 2


def test_a_pretraining_goes_on_from_its_prompt_and_takes_no_turns(watched):
    """The model has no chat template to answer by: what it writes follows the words themselves."""
    samples = [event for event in watched[1] if event.type == "sample"]
    assert [event.step for event in samples] == [3, 6]


SPREAD = {
    "replicas": {"parallel": {"replicas": 2}},
    "shards": {"parallel": {"shards": 2}},
    "sequence": {"parallel": {"sequence": 2}},
    "tensor": {"parallel": {"tensor": 2}},
}
ASKED = {
    "lora": {"asks": True},
    "full": {"asks": True, "method": "full", "learning_rate": 1e-3},
    "pretrain": {"asks": True, "stage": "pretrain"},
    "dpo": {"asks": True, "stage": "dpo"},
}


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """What two processes write as they are evaluated, and what they say of a loss without end."""
    cases = {
        f"{kind}/{how}": ASKED[kind] | SPREAD[how]
        for kind, how in (*(("lora", how) for how in SPREAD), *((k, "shards") for k in ASKED))
    }
    cases |= {f"spoilt/{how}": {"spoilt": 3} | SPREAD[how] for how in SPREAD}
    return run_ranks(cases, 2, tmp_path_factory.mktemp("spread"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ASKED)
def test_several_processes_write_what_one_does(tmp_path, spread, kind):
    alone = run_case(ASKED[kind], tmp_path)["written"]
    assert len(alone) == 1 and alone[0]
    for how in SPREAD:
        if f"{kind}/{how}" in spread:
            assert spread[f"{kind}/{how}"]["written"] == alone, how


@pytest.mark.slow
@pytest.mark.parametrize("how", SPREAD)
def test_a_loss_without_end_in_one_process_stops_all_before_the_step(tmp_path, spread, how):
    """Only one reader has the row; the others have to stop with it, and name it too."""
    alone = run_case({"spoilt": 3}, tmp_path)
    assert spread[f"spoilt/{how}"] == alone
    assert "dataset rows" in alone["error"] and "4" in alone["error"].partition("rows")[2]


def test_a_reward_model_is_asked_for_no_words():
    with pytest.raises(ValueError, match="sample_prompts: a reward model writes nothing"):
        make_spec(stage="reward", sample_prompts=("Hi",))
