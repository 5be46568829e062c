"""The idle rule's verdict: every combination of signs, and that none is ever a wrongful stop."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.machines.idle import ACTIVE_S, LOOKED_FOR, Sign, Signals, State, decide

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR_S = 3600
QUIET = dict.fromkeys(LOOKED_FOR, False)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def make(seen=None, **facts) -> Signals:
    return Signals(
        **{"idle_s": HOUR_S, "begun_at": ago(10 * HOUR_S), "active_at": ago(2 * HOUR_S)}
        | {"active_sign": Sign.SSH, "seen": QUIET | (seen or {})}
        | facts
    )


def test_only_a_machine_of_which_every_sign_says_no_is_stopped():
    for states in product([True, False, None], repeat=len(LOOKED_FOR)):
        verdict = decide(make(dict(zip(LOOKED_FOR, states, strict=True))), NOW)
        if all(state is False for state in states):
            assert verdict.state is State.IDLE and verdict.is_due(NOW)
            assert (verdict.sign, verdict.active_at) == (Sign.SSH, ago(2 * HOUR_S))
        else:
            assert verdict.state is State.ACTIVE and verdict.stops_at is None, states
            told = [sign for sign, state in zip(LOOKED_FOR, states, strict=True) if state]
            assert verdict.sign is (told[0] if told else Sign.UNKNOWN), states


@pytest.mark.parametrize("sign", LOOKED_FOR)
def test_a_sign_that_is_missing_counts_as_use(sign):
    seen = {each: False for each in LOOKED_FOR if each is not sign}
    verdict = decide(Signals(HOUR_S, ago(10 * HOUR_S), seen, ago(2 * HOUR_S), Sign.SSH), NOW)
    assert (verdict.state, verdict.sign) == (State.ACTIVE, Sign.UNKNOWN)


@pytest.mark.parametrize(
    ("facts", "state", "since_s", "sign"),
    [
        # When it was last used counts, whatever told so.
        ({"seen": {Sign.BROWSER: ago(10)}}, State.ACTIVE, 10, Sign.BROWSER),
        ({"seen": {Sign.BROWSER: ago(ACTIVE_S + 1)}}, State.IDLE, ACTIVE_S + 1, Sign.BROWSER),
        ({"seen": {Sign.TERMINAL: ago(600), Sign.SSH: ago(500)}}, State.IDLE, 500, Sign.SSH),
        ({"active_at": ago(100), "seen": {Sign.SSH: ago(500)}}, State.IDLE, 100, Sign.SSH),
        # A machine that has just started is not idle since before that.
        ({"begun_at": ago(5)}, State.ACTIVE, 5, Sign.STARTED),
        ({"begun_at": ago(600), "seen": {Sign.SSH: ago(900)}}, State.IDLE, 600, Sign.STARTED),
        ({"active_at": None}, State.IDLE, 10 * HOUR_S, Sign.STARTED),
        # Its owner's word.
        ({"kept_until": NOW + timedelta(seconds=1)}, State.ACTIVE, 0, Sign.KEPT),
        ({"kept_until": NOW}, State.IDLE, 2 * HOUR_S, Sign.SSH),
        # A clock that goes ahead does not keep it for ever.
        ({"seen": {Sign.TERMINAL: NOW + timedelta(days=9)}}, State.ACTIVE, 0, Sign.TERMINAL),
        # No rule, no stop.
        ({"idle_s": 0}, State.OFF, 2 * HOUR_S, Sign.SSH),
    ],
)
def test_a_verdict_is_by_the_last_use(facts, state, since_s, sign):
    seen = facts.pop("seen", {})
    verdict = decide(make(seen, **facts), NOW)
    assert (verdict.state, verdict.active_at, verdict.sign) == (state, ago(since_s), sign)


def test_an_idle_machine_stops_after_its_time_and_not_a_second_before():
    stops_at = ago(2 * HOUR_S) + timedelta(seconds=HOUR_S)
    verdict = decide(make(active_at=ago(HOUR_S - 1)), NOW)
    assert verdict.stops_at == NOW + timedelta(seconds=1) and not verdict.is_due(NOW)
    assert verdict.is_due(NOW + timedelta(seconds=1))
    assert decide(make(), NOW).stops_at == stops_at
    assert decide(make(idle_s=0), NOW).stops_at is None


seconds = st.floats(0, 4 * HOUR_S)
times = seconds.map(ago)
seen_values = st.one_of(st.booleans(), st.none(), times)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw reads our sources
@given(
    seen=st.dictionaries(st.sampled_from(LOOKED_FOR), seen_values),
    idle_s=st.integers(0, 2 * HOUR_S),
    begun_at=times,
    active_at=st.none() | times,
    kept_until=st.none() | seconds.map(lambda s: NOW + timedelta(seconds=s)),
)
def test_no_machine_is_due_that_was_used_within_its_time(
    seen, idle_s, begun_at, active_at, kept_until
):
    signals = Signals(idle_s, begun_at, seen, active_at, Sign.CPU, kept_until)
    verdict = decide(signals, NOW)
    assert verdict.active_at <= NOW
    if not verdict.is_due(NOW):
        return
    assert idle_s > 0 and kept_until in {None, NOW}
    limit = NOW - timedelta(seconds=idle_s)
    assert begun_at <= limit and (active_at is None or active_at <= limit)
    for sign in LOOKED_FOR:
        value = seen.get(sign)
        assert value is False or (isinstance(value, datetime) and value <= limit), sign
