"""Every stage and method is launched with what goes with it, and refused in words that mend it."""

import io
import json

import pyarrow
import pyarrow.parquet
import pytest

from engine.specs import JOB_SPEC
from engine.specs.stages import get_usual_rate
from studio.compute.models import Flavor
from studio.hub.selectors import get_commit
from studio.jobs.models import Job
from studio.jobs.scheduler import make_order, place_runs
from studio.serving.selectors import ModelNotServed, find_model
from tests.factories import make_node
from tests.studio.jobs.repos import CONFIG, make_model, push_files
from workers.orders import RunOrder

pytestmark = pytest.mark.django_db
TEXTS = [{"text": f"The furnace {n} feeds itself and keeps its fire. " * 8} for n in range(60)]
PAIRS = [{"prompt": f"Is {n} even?", "chosen": "Yes.", "rejected": "No."} for n in range(60)]
TALK = [{"instruction": f"Say {n}", "input": "", "output": str(n)} for n in range(60)]


def to_lines(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def to_parquet(rows) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


@pytest.fixture
def data(spec, alice) -> dict:
    """A launch, with texts, pairs and Alpaca rows in the hub, in files of three kinds."""
    push_files(alice, "dataset", "alice/texts", {"train.jsonl": to_lines(TEXTS)})
    push_files(alice, "dataset", "alice/pairs", {"data/train-0.parquet": to_parquet(PAIRS)})
    push_files(alice, "dataset", "alice/alpaca", {"alpaca.json": json.dumps(TALK).encode()})
    return spec


@pytest.fixture
def estimate(api, rich_alice):
    def ask(wish: dict, flavor: str = "cpu-1") -> dict:
        body = {"spec": wish, "flavor": flavor}
        return api(rich_alice).post("/api/jobs/estimate/", body, format="json").json()

    return ask


def codes(answer: dict) -> list[str]:
    return [refusal["code"] for refusal in answer["refusals"]]


@pytest.mark.parametrize(
    ("stage", "dataset", "output"),
    [
        ("sft", "alice/alpaca", "alice/tiny-alpaca"),
        ("pretrain", "alice/texts", "alice/tiny-texts-pretrain"),
        ("dpo", "alice/pairs", "alice/tiny-pairs-dpo"),
        ("reward", "alice/pairs", "alice/tiny-pairs-reward"),
    ],
)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_each_stage_is_launched_with_its_rate_and_its_output(
    api, rich_alice, data, stage, dataset, output, method
):
    wish = {**data, "stage": stage, "method": method, "dataset": dataset}
    answer = api(rich_alice).post("/api/jobs/", {"spec": wish, "flavor": "cpu-2"}, format="json")
    assert answer.status_code == 201, answer.json()
    assert Job.objects.get().output_repo == output + ("-full" if method == "full" else "")
    make_node("large")
    place_runs()
    order = make_order(Job.objects.get().current_run)
    assert order.spec.stage == stage
    assert order.spec.learning_rate == get_usual_rate(stage, method)


@pytest.mark.parametrize(
    ("stage", "dataset", "code"),
    [
        ("dpo", "alice/texts", "dataset_needs_pairs"),
        ("reward", "alice/alpaca", "dataset_needs_pairs"),
        ("sft", "alice/pairs", "dataset_is_pairs"),
        ("pretrain", "alice/pairs", "dataset_is_pairs"),
    ],
)
def test_rows_that_a_stage_cannot_learn_from_are_refused(estimate, data, stage, dataset, code):
    answer = estimate({**data, "stage": stage, "dataset": dataset})
    assert codes(answer) == [code]
    assert answer["refusals"][0]["field"] == "spec.dataset"


def test_what_is_learnt_of_unusual_rows_is_told(estimate, data):
    warned = estimate({**data, "stage": "sft", "dataset": "alice/texts"})
    assert (warned["ok"], warned["warnings"][0]["code"]) == (True, "dataset_learns_all")
    warned = estimate({**data, "stage": "pretrain", "dataset": "alice/alpaca"})
    assert (warned["ok"], warned["warnings"][0]["code"]) == (True, "dataset_learns_answers")


def test_a_mixture_is_pinned_and_its_weights_count(api, rich_alice, data, estimate):
    alone = estimate({**data, "dataset": "alice/alpaca"})["num_tokens"]
    mixed = {**data, "dataset": "alice/alpaca", "mixture": [{"repo": "alice/guide", "weight": 2}]}
    twice = estimate(mixed)["num_tokens"]
    once = estimate({**mixed, "mixture": [{"repo": "alice/guide"}]})["num_tokens"]
    assert alone < once < twice
    answer = api(rich_alice).post("/api/jobs/", {"spec": mixed, "flavor": "cpu-1"}, format="json")
    (source,) = answer.json()["resolved"]["mixture"]
    head = get_commit(Job.objects.get().owner.repos.get(name="guide"))
    assert source["repo"] == f"alice/guide@{head.sha}"
    assert source["weight"] == 2
    order = JOB_SPEC.validate_python({**answer.json()["spec"], **answer.json()["resolved"]})
    assert order.mixture[0].repo == source["repo"]


def test_a_dataset_of_a_mixture_is_refused_by_its_place(estimate, data):
    wish = {**data, "mixture": [{"repo": "alice/guide"}, {"repo": "alice/pairs"}]}
    (refusal,) = estimate(wish)["refusals"]
    assert (refusal["code"], refusal["field"]) == ("dataset_is_pairs", "spec.mixture.1.repo")
    (refusal,) = estimate({**data, "mixture": [{"repo": "bob/none"}]})["refusals"]
    assert (refusal["code"], refusal["field"]) == ("dataset_not_found", "spec.mixture.0.repo")


def test_bad_rows_up_to_the_threshold_are_no_obstacle(estimate, data, alice):
    rows = to_lines(TEXTS) + b'{"text": ""}\n'
    push_files(alice, "dataset", "alice/torn", {"a.csv": b'text\n""\nx\n', "train.jsonl": rows})
    wish = {**data, "stage": "pretrain", "dataset": "alice/torn"}
    (refusal,) = estimate(wish)["refusals"]
    assert (refusal["code"], refusal["mend"]["code"]) == ("dataset_bad_rows", "keep_good_rows")
    assert codes(estimate({**wish, "max_bad_fraction": 0.01})) == ["dataset_bad_rows"]
    assert codes(estimate({**wish, "max_bad_fraction": 0.02})) == []


def test_bad_rows_of_a_table_are_left_out_by_the_mend(estimate, data, alice):
    rows = b"text,source\n" + b"a furnace,me\n" * 60 + b"alone\n"
    push_files(alice, "dataset", "alice/table", {"texts.csv": rows})
    wish = {**data, "stage": "pretrain", "dataset": "alice/table"}
    (refusal,) = estimate(wish)["refusals"]
    assert refusal["mend"]["code"] == "allow_bad_rows"
    assert codes(estimate({**wish, **refusal["mend"]["set"]["spec"]})) == []


def test_fp8_is_refused_where_the_flavor_has_no_gpu(estimate, data):
    (refusal,) = estimate({**data, "precision": "fp8"})["refusals"]
    assert (refusal["code"], refusal["field"]) == ("fp8_without_gpu", "spec.precision")
    assert codes(estimate({**data, **refusal["mend"]["set"]["spec"]})) == []


def test_processes_match_the_flavors_gpus_or_its_cores(estimate, data):
    assert codes(estimate({**data, "parallel": {"shards": 2}}, "cpu-2")) == []
    assert codes(estimate({**data, "parallel": {"shards": 2}}, "cpu-1")) == ["processes_not_cores"]
    make_node("gpus", num_devices=4)
    Flavor.objects.create(
        name="gpu-4",
        title="4 GPUs",
        cores=4,
        memory_bytes=2**33,
        num_devices=4,
        price_mpoints_per_hour=1,
    )
    (refusal,) = estimate({**data, "parallel": {"tensor": 2}}, "gpu-4")["refusals"]
    assert refusal["code"] == "processes_not_devices"
    assert refusal["mend"]["set"] == {"spec": {"parallel": {"shards": 2}}}
    assert codes(estimate({**data, "parallel": {"tensor": 2, "shards": 2}}, "gpu-4")) == []


def test_a_model_made_here_may_be_made_again_and_nothing_else_written_over(estimate, data, alice):
    config = {"config.json": json.dumps(CONFIG).encode()}
    adapter = {"adapter_config.json": b"{}"}
    push_files(alice, "model", "alice/made", {**config, "athanor.json": b'{"kind": "model"}'})
    push_files(alice, "model", "alice/tuned", {**adapter, "athanor.json": b"{}"})
    full = {**data, "method": "full"}
    assert codes(estimate({**full, "output": "made"}, "cpu-2")) == []
    assert codes(estimate({**data, "output": "made"})) == ["output_taken"]
    assert codes(estimate({**full, "output": "tuned"}, "cpu-2")) == ["output_taken"]
    assert codes(estimate({**data, "output": "tuned"})) == []
    make_model("alice/theirs")
    assert codes(estimate({**full, "output": "theirs"}, "cpu-2")) == ["output_taken"]


def test_a_reward_model_is_no_base_and_is_not_chatted_with(api, estimate, data, alice):
    card = b"---\npipeline_tag: text-classification\n---\n# Judge\n"
    files = {"config.json": json.dumps(CONFIG).encode(), "README.md": card}
    push_files(alice, "model", "alice/judge", files)
    assert "model_is_reward" in codes(estimate({**data, "model": "alice/judge"}))
    listed = api(alice).get("/api/playground/models/").json()
    names = [model["id"] for model in listed]
    assert "alice/judge" not in names
    with pytest.raises(ModelNotServed, match="reward model"):
        find_model(alice, "alice/judge")


def test_a_reward_model_has_no_sample_prompts(estimate, data):
    wish = {**data, "stage": "reward", "dataset": "alice/pairs", "sample_prompts": ["Hi"]}
    (refusal,) = estimate(wish)["refusals"]
    assert "take them out" in refusal["message"]


def test_the_finder_says_which_datasets_suit(api, data, alice, carol):
    found = api(alice).get("/api/jobs/datasets/", {"stage": "dpo"}).json()
    verdicts = {dataset["id"]: dataset["verdict"] for dataset in found}
    assert found[0]["id"] == "alice/pairs"
    assert verdicts["alice/pairs"] == "suits"
    assert verdicts["alice/texts"] == verdicts["alice/guide"] == "needs_pairs"
    formats = {dataset["id"]: dataset["formats"] for dataset in found}
    assert formats["alice/alpaca"] == ["alpaca"]
    names = [one["id"] for one in api(carol).get("/api/jobs/datasets/").json()]
    assert not any(name.startswith("alice/") for name in names)


def test_a_model_from_nothing_is_weighed_by_its_shape_and_named_after_its_kind(
    api, rich_alice, data, estimate
):
    new = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "max_positions": 512}
    wish = {**data, "stage": "pretrain", "method": "full", "dataset": "alice/texts"}
    del wish["model"]
    wish["from_scratch"] = new
    small, large = estimate(wish), estimate({**wish, "from_scratch": new | {"num_layers": 40}})
    assert small["ok"], small["refusals"]
    assert small["peak_memory_bytes"] < large["peak_memory_bytes"]
    wish["from_scratch"] = new | {"tokenizer_from": "athanor/tiny"}
    answer = api(rich_alice).post("/api/jobs/", {"spec": wish, "flavor": "cpu-1"}, format="json")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["resolved"]["from_scratch"]["tokenizer_from"].startswith("athanor/tiny@")
    job = Job.objects.get()
    assert (job.name, job.output_repo) == (
        "new-llama on texts",
        "alice/new-llama-texts-pretrain-full",
    )
    make_node("large")
    place_runs()
    order = make_order(job.current_run)
    assert RunOrder.model_validate_json(order.model_dump_json()) == order  # as a node reads it
    wish["from_scratch"] = new | {"tokenizer_from": "bob/none"}
    (refusal,) = estimate(wish)["refusals"]
    assert refusal["field"] == "spec.from_scratch.tokenizer_from"
