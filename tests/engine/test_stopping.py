"""A stop comes at once, or when what is shielded is done, and only once."""

import os
import signal

import pytest

from engine.errors import StopRequested
from engine.stopping import StopGate


def test_an_open_gate_stops_at_once():
    with pytest.raises(StopRequested):
        StopGate().ask()


def test_what_is_shielded_is_finished_first():
    gate = StopGate()
    done = []
    with pytest.raises(StopRequested), gate.shield():
        gate.ask()
        done.append("step")
    assert done == ["step"]


def test_shields_nest():
    gate = StopGate()
    done = []
    with pytest.raises(StopRequested), gate.shield():
        with gate.shield():
            gate.ask()
        done.append("outer")
    assert done == ["outer"]


def test_a_second_wish_changes_nothing():
    gate = StopGate()
    with pytest.raises(StopRequested):
        gate.ask()
    gate.ask()


def test_an_error_under_a_shield_is_the_one_that_is_seen():
    gate = StopGate()
    with pytest.raises(OSError, match="full"), gate.shield():
        gate.ask()
        raise OSError("full")


def test_sigterm_is_a_wish():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    gate = StopGate()
    gate.listen()
    try:
        with pytest.raises(StopRequested):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
