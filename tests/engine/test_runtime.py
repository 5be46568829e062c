"""What a process is told before it loads model libraries."""

import os

import pytest

from engine.runtime import prepare_process


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ("PASSIVE", "10000")),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),  # a count would end its waiting awake
        ({"GOMP_SPINCOUNT": "7"}, ("PASSIVE", "7")),
    ],
    ids=["nothing set", "a policy", "a count"],
)
def test_how_threads_wait_is_left_to_whoever_set_it(monkeypatch, given, found):
    environment = dict(given)
    monkeypatch.setattr(os, "environ", environment)
    prepare_process(2)
    assert (environment["OMP_WAIT_POLICY"], environment.get("GOMP_SPINCOUNT")) == found
    assert environment["OMP_NUM_THREADS"] == "2"
