"""Fifty launches at once with points for one: exactly one starts."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.owner import check_statement, make_owner
from tests.live import LiveStudio

pytestmark = [pytest.mark.fault, pytest.mark.slow]


def test_of_fifty_launches_with_points_for_one_exactly_one_starts(furnace: LiveStudio) -> None:
    dora = make_owner(furnace, "dora", mpoints=0)
    spec = dora.make_spec(max_steps=20)
    body = {"spec": spec, "flavor": "cpu-1"}
    estimate = dora.http.post("/api/jobs/estimate/", json=body).json()
    furnace.grant("dora", int(estimate["hold_mpoints"] * 1.5))
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: dora.submit(spec), range(50)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 49
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {refusal["code"] for refusal in refused} == {"points_exhausted"}
    assert all(refusal["params"]["missing_mpoints"] > 0 for refusal in refused)
    assert dora.http.get("/api/jobs/").json()["count"] == 1
    balance = dora.http.get("/api/points/").json()
    assert balance["available_mpoints"] >= 0
    check_statement(dora)
