"""What is another user's answers as if it were not there, over HTTP and WebSocket alike."""

import asyncio
import io
import json
import uuid

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.faults.owner import Launched, Owner
from tests.live import LiveStudio

pytestmark = [pytest.mark.fault, pytest.mark.slow]

ROW = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}


@pytest.fixture(scope="module")
def launched(alice: Owner) -> Launched:
    launched = alice.launch(max_steps=5, output="private")
    launched.wait_final()
    return launched


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/api/jobs/{job}/"),
        ("PATCH", "/api/jobs/{job}/"),
        ("POST", "/api/jobs/{job}/stop/"),
        ("POST", "/api/jobs/{job}/retry/"),
        ("GET", "/api/runs/{run}/events/"),
        ("GET", "/api/runs/{run}/metrics/"),
        ("GET", "/api/runs/{run}/samples/"),
        ("GET", "/api/runs/{run}/log/"),
        ("GET", "/api/runs/{run}/log/search/?q=a"),
        ("GET", "/api/runs/{run}/log/download/"),
    ],
)
def test_a_run_of_another_is_not_there(
    launched: Launched, carol: Owner, verb: str, path: str
) -> None:
    there = path.format(job=launched.job_id, run=launched.run_id)
    nowhere = path.format(job=uuid.uuid4(), run=uuid.uuid4())
    body = None if verb == "GET" else {"name": "mine", "resume": False}
    answers = [carol.http.request(verb, url, json=body) for url in (there, nowhere)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()


def test_nobody_sees_a_run_without_signing_in(launched: Launched, furnace: LiveStudio) -> None:
    answer = httpx.get(f"{furnace.url}/api/jobs/{launched.job_id}/")
    assert answer.status_code == 401


def test_the_list_of_jobs_holds_no_other_persons(launched: Launched, carol: Owner) -> None:
    jobs = carol.http.get("/api/jobs/").json()["results"]
    assert launched.job_id not in [job["id"] for job in jobs]


def test_a_private_dataset_of_another_is_not_there(
    furnace: LiveStudio, alice: Owner, carol: Owner
) -> None:
    file = ("talks.jsonl", io.BytesIO(json.dumps(ROW).encode() + b"\n"))
    fields = {"name": "secret-talks", "visibility": "private"}
    made = alice.http.post("/api/hub/datasets/", files={"file": file}, data=fields)
    assert made.status_code == 201, made.text
    paths = [
        "/api/hub/repos/dataset/alice/secret-talks/",
        "/api/hub/repos/dataset/alice/secret-talks/rows/",
        "/api/hub/repos/dataset/alice/secret-talks/report/",
        "/api/datasets/alice/secret-talks",
        "/datasets/alice/secret-talks/resolve/main/README.md",
    ]
    assert alice.http.get(paths[0]).status_code == 200
    assert [carol.http.get(path).status_code for path in paths] == [404] * len(paths)
    listed = carol.http.get("/api/hub/repos/?kind=dataset&page_size=100").json()["results"]
    assert "alice/secret-talks" not in [repo["id"] for repo in listed]


def test_a_conversation_of_another_is_not_there(alice: Owner, carol: Owner) -> None:
    made = alice.http.post("/api/playground/conversations/", json={"title": "mine"})
    assert made.status_code == 201, made.text
    path = f"/api/playground/conversations/{made.json()['id']}/"
    assert alice.http.get(path).status_code == 200
    turn = {"prompt": "hi", "models": ["athanor/tiny"], "temperature": 0, "max_tokens": 1}
    assert carol.http.get(path).status_code == 404
    assert carol.http.patch(path, json={"title": "taken"}).status_code == 404
    assert carol.http.post(path + "turns/", json=turn).status_code == 404
    assert carol.http.delete(path).status_code == 404
    assert alice.http.get(path).json()["title"] == "mine"


def close_code(furnace: LiveStudio, owner: Owner | None, run_id: str) -> int:
    """Return the code a log socket is closed with, or 0 when it says something first."""
    headers = {"Authorization": owner.http.headers["Authorization"]} if owner else {}
    url = f"{furnace.url.replace('http', 'ws', 1)}/ws/runs/{run_id}/"

    async def listen() -> int:
        try:
            async with connect(url, additional_headers=headers, origin=furnace.url) as socket:
                await asyncio.wait_for(socket.recv(), 30)
                return 0
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else -1
        except InvalidStatus as refused:
            return refused.response.status_code

    return asyncio.run(listen())


def test_the_log_socket_of_another_closes_as_if_the_run_were_not_there(
    furnace: LiveStudio, launched: Launched, alice: Owner, carol: Owner
) -> None:
    assert close_code(furnace, alice, launched.run_id) == 0
    assert close_code(furnace, carol, launched.run_id) == 4404
    assert close_code(furnace, carol, str(uuid.uuid4())) == 4404
    assert close_code(furnace, None, launched.run_id) == 4401
