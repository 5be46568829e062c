"""Which fields of a serve spec are of which backend: none is passed over in silence."""

import pytest
from pydantic import ValidationError

from engine.refusals import REFUSALS
from engine.specs import ServeSpec
from studio.core.errors import spec_errors
from studio.serving.serving_settings import _QUEUE

URL = "http://127.0.0.1:9/v1"
# A value of each field that is not its default.
OTHER = {
    "precision": "fp32",
    "tensor_parallel": 2,
    "adapter_memory_bytes": 0,
    "least_agreement": 0.5,
    "on_low_agreement": "refuse",
    "kv_memory_bytes": 2**20,
    "kv_precision": "int4",
    "is_batch_invariant": True,
    "max_running": 32,
    "max_batch_tokens": 1024,
    "has_prefix_cache": False,
    "max_running_of_tenant": 3,
}
# Of those, what LMDeploy is told, or our own code looks to.
HEARD = {
    "tensor_parallel",
    "least_agreement",
    "on_low_agreement",
    "kv_precision",
    "max_running",
    "max_batch_tokens",
    "has_prefix_cache",
}
# What every backend of ours looks to.
COMMON = {"kind", "model", "adapters", "backend", "url", "max_context", "max_waiting"}
COMMON |= {"max_waiting_of_tenant"}


def make(backend, **options):
    url = {"url": URL} if backend == "remote" else {}
    return ServeSpec(model="a/b", backend=backend, **url, **options)


def test_every_field_is_here():
    assert set(ServeSpec.model_fields) == COMMON | set(OTHER)


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize("backend", ["native", "lmdeploy", "remote"])
def test_a_field_is_heard_or_refused(backend, field):
    if backend == "native" or (backend == "lmdeploy" and field in HEARD):
        assert getattr(make(backend, **{field: OTHER[field]}), field) == OTHER[field]
        return
    with pytest.raises(ValidationError) as caught:
        make(backend, **{field: OTHER[field]})
    [problem] = spec_errors(caught.value)
    told = problem["params"]["why"]["told"]
    wanted = "setting_unknown" if backend == "lmdeploy" else "setting_elsewhere"
    assert told["code"] == (
        "lmdeploy_precision" if (backend, field) == ("lmdeploy", "precision") else wanted
    )
    assert REFUSALS.list_params(told["code"]) == set(told["params"])


@pytest.mark.parametrize("backend", ["native", "lmdeploy", "remote"])
def test_the_queue_that_the_studio_orders_is_of_every_backend(backend):
    assert make(backend, **_QUEUE).max_waiting_of_tenant == _QUEUE["max_waiting_of_tenant"]


def test_a_form_asks_only_for_what_the_backend_hears():
    fields = ServeSpec.model_json_schema()["properties"]
    for backend in ("native", "lmdeploy", "remote"):
        asked = {
            name
            for name, field in fields.items()
            if backend in field.get("only", {"backend": [backend]})["backend"]
        }
        refused = set(OTHER) - HEARD if backend == "lmdeploy" else set(OTHER)
        wanted = set(OTHER) if backend == "native" else set(OTHER) - refused
        if backend == "lmdeploy":
            wanted.add("precision")  # of which it has one of the two
        assert asked & set(OTHER) == wanted
