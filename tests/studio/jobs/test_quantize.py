"""A quantization is weighed, launched and named like a finetune, and its repo says what it is."""

import json
import struct

import pytest

from engine.specs import JOB_SPEC, QuantizeSpec
from engine.specs.quality import (
    Calibration,
    GreedyMatch,
    LayerError,
    Measured,
    QualityReport,
    Scheme,
)
from studio.jobs.models import Job
from studio.jobs.scheduler import make_order, place_runs
from tests.studio.jobs.repos import CONFIG, push_files

pytestmark = pytest.mark.django_db

REPORT = QualityReport(
    scheme=Scheme(method="awq", format="awq", weight_bits=4, group_size=64, is_symmetric=False),
    base="athanor/tiny",
    base_revision="0" * 40,
    calibration=Calibration(
        dataset="",
        num_windows=64,
        length_tokens=512,
        num_held_out_windows=16,
        num_held_out_tokens=8192,
    ),
    base_perplexity=12.5,
    quantized=Measured(perplexity=12.9, agreement=0.93),
    kv={"int8": Measured(perplexity=12.91, agreement=0.929)},
    recommended_kv="int8",
    greedy=GreedyMatch(mean_tokens=18.5, of_tokens=32, num_prompts=16),
    size_bytes=10**8,
    base_size_bytes=27 * 10**7,
    bytes_per_weight=0.539,
    layers=[LayerError(index=0, linear=1e-3, stream=2e-3)],
)


@pytest.fixture
def wish(spec) -> dict:
    return {"kind": "quantize", "model": spec["model"]}


@pytest.fixture
def ask(api, rich_alice):
    def estimate(wanted: dict, flavor: str = "cpu-1") -> dict:
        body = {"spec": wanted, "flavor": flavor}
        return api(rich_alice).post("/api/jobs/estimate/", body, format="json").json()

    return estimate


def push_quantized(owner, repo_id: str = "alice/tiny-awq", **more: bytes):
    header = {
        "model.layers.0.mlp.up_proj.qweight": {
            "dtype": "I32",
            "shape": [4, 1],
            "data_offsets": [0, 16],
        }
    }
    head = json.dumps(header).encode()
    config = CONFIG | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    card = "---\nbase_model: athanor/tiny\nbase_model_relation: quantized\n---\n\nA model."
    files = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": struct.pack("<Q", len(head)) + head + bytes(16),
        "README.md": card.encode(),
        "quantization.json": REPORT.model_dump_json().encode(),
    }
    return push_files(owner, "model", repo_id, files | more)


def test_the_form_is_drawn_from_its_schema(api, alice):
    schema = api(alice).get("/api/specs/quantize/").json()["schema"]
    assert schema["properties"]["method"]["enum"] == ["awq", "gptq", "smoothquant", "int8", "rtn"]
    assert schema["properties"]["model"]["widget"] == "model"


def test_memory_time_and_points_are_told_before(ask, wish):
    answer = ask(wish)
    assert answer["ok"], answer["refusals"]
    assert answer["peak_memory_bytes"] == sum(answer["memory_parts"].values())
    assert answer["num_steps"] == 30 and answer["num_tokens"] == 80 * 512
    assert answer["cost_mpoints"] > 0 and answer["smallest_flavor"]


def test_a_launch_pins_the_model_names_the_output_and_reaches_a_node(api, rich_alice, wish):
    body = {"spec": wish, "flavor": "cpu-1"}
    made = api(rich_alice).post("/api/jobs/", body, format="json")
    assert made.status_code == 201, made.content
    job = Job.objects.get(pk=made.json()["id"])
    assert job.kind == "quantize"
    assert job.output_repo.endswith("-awq") and job.output_repo.startswith("alice/")
    assert job.name.endswith("in 4 bits")
    assert "@" in job.resolved["model"] and "dataset" not in job.resolved
    place_runs()
    order = make_order(Job.objects.get().current_run)
    assert isinstance(order.spec, QuantizeSpec)
    assert order.spec.model == job.resolved["model"]


def test_a_wrong_field_is_named(ask, wish):
    answer = ask(wish | {"method": "int8", "group_size": 64})
    assert not answer["ok"]
    assert "leave group_size out" in answer["refusals"][0]["message"]


def test_a_group_size_that_no_layer_divides_by_is_refused_before_it_runs(ask, wish):
    (refusal,) = ask(wish | {"group_size": 128})["refusals"]
    assert (refusal["code"], refusal["field"]) == ("group_size_unfit", "spec.group_size")
    assert "576 inputs" in refusal["message"]


def test_a_quantized_model_is_neither_quantized_nor_trained(ask, spec, wish, rich_alice):
    push_quantized(rich_alice)
    for wanted in (wish, spec):
        answer = ask(wanted | {"model": "alice/tiny-awq"})
        assert [refusal["code"] for refusal in answer["refusals"]][0] == "model_is_quantized"


def test_a_strangers_private_model_is_not_there(api, carol, alice, wish):
    repo = push_quantized(alice).repo
    repo.visibility = "private"
    repo.save(update_fields=["visibility"])
    body = {"spec": wish | {"model": "alice/tiny-awq"}, "flavor": "cpu-1"}
    answer = api(carol).post("/api/jobs/estimate/", body, format="json").json()
    assert "model_not_found" in [refusal["code"] for refusal in answer["refusals"]]


def test_the_models_page_gets_the_report_and_true_sizes(api, alice):
    push_quantized(alice)
    repo = api(alice).get("/api/hub/repos/model/alice/tiny-awq/").json()
    assert repo["is_quantized"] and repo["base_relation"] == "quantized"
    assert repo["base_model"] == "athanor/tiny"
    assert repo["quality"] == json.loads(REPORT.model_dump_json())
    # 135 million by its shape; its files hold four packed words.
    assert repo["facts"]["num_params"] > 10**8
    assert repo["weights"]["num_params"] == repo["facts"]["num_params"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"version": 1}', b"\xff"])
def test_a_report_that_is_none_is_left_out(api, alice, body):
    push_quantized(alice, **{"quantization.json": body})
    repo = api(alice).get("/api/hub/repos/model/alice/tiny-awq/").json()
    assert repo["quality"] is None and repo["is_quantized"]


def test_the_spec_that_is_stored_is_the_one_that_runs(wish):
    spec = JOB_SPEC.validate_python(wish)
    assert JOB_SPEC.validate_json(spec.model_dump_json()) == spec
