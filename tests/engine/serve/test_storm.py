"""A server that many ask at once, that many leave, and that some ask for what cannot be had."""

import asyncio
import random
import signal
import subprocess
import sys

import httpx
import psutil
import pytest

from engine.specs import Placement, ServeSpec
from engine.status import Reason, Status
from tests.engine.recorded import get_final, read_events
from tests.engine.serve.test_run import find_endpoint

NUM_REQUESTS = 500
NUM_CLIENTS = 60  # more than may run and wait
TEXTS = ("Hello", "a", "b c", "Who are you?", "\u4f60\u597d", "ab " * 40)
POISON = (
    {"temperature": -1},
    {"logit_bias": {"999999": 5}},
    {"response_format": {"type": "regex", "regex": "(unclosed"}},
    {"stop": [""]},
    {"max_tokens": 10**9},
    {"messages": [{"role": "user", "content": "long " * 2000}]},
)


@pytest.fixture
def server(tmp_path, base, red):
    spec = ServeSpec(
        model=str(base),
        adapters=(str(red),),
        precision="fp32",
        max_running=16,
        max_waiting=32,
        max_batch_tokens=32,
        kv_memory_bytes=2**20,  # less than 16 of these requests: some are computed again
    )
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    placement = Placement(run_dir=run_dir, num_threads=1, grace_s=20)
    (run_dir / "spec.json").write_text(spec.model_dump_json())
    (run_dir / "placement.json").write_text(placement.model_dump_json())
    process = subprocess.Popen([sys.executable, "-m", "engine", "run", str(run_dir)])
    try:
        yield process, run_dir, find_endpoint(run_dir).url
    finally:
        process.kill()
        process.wait()


async def read_answer(client, body, *, leaves_after: int | None = None) -> str | int:
    """Return what was said, or the status of a refusal; may leave after some pieces."""
    pieces = []
    async with client.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as got:
        if got.status_code != 200:
            return got.status_code
        async for line in got.aiter_lines():
            pieces.append(line)
            if leaves_after is not None and len(pieces) > leaves_after:
                return "left"
    assert pieces[-2:] == ["data: [DONE]", ""] or "data: [DONE]" in pieces[-3:]
    return "\n".join(line for line in pieces if '"content"' in line)


def make_body(model: str, text: str) -> dict:
    # 16 of these at once do not fit the pool.
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 160,
        "ignore_eos": True,
        "temperature": 0,
    }


def strip(said: str) -> str:
    """Only what was written: ids and times differ."""
    import json

    return "".join(
        json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""
        for line in said.splitlines()
    )


async def storm(url: str, names: list[str], alone: dict, count: int, seed: int) -> dict[str, int]:
    """Ask `count` times; every whole answer must be the one that came alone."""
    draw = random.Random(seed)
    turns = [
        (index, draw.choice(names), draw.choice(TEXTS), draw.random(), draw.randrange(12))
        for index in range(count)
    ]
    waiting, counts = iter(turns), {"whole": 0, "left": 0, "later": 0, "refused": 0}
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def work() -> None:
            for index, name, text, luck, pieces in waiting:
                body = make_body(name, text)
                if luck < 0.1:
                    said = await read_answer(client, body | POISON[index % len(POISON)])
                    assert said in (400, 429), (POISON[index % len(POISON)], said[:200])
                    counts["refused"] += 1
                    continue
                said = await read_answer(client, body, leaves_after=pieces if luck < 0.4 else None)
                if said == 429:
                    counts["later"] += 1
                elif said == "left":
                    counts["left"] += 1
                elif luck >= 0.4:
                    assert strip(said) == alone[name, text]
                    counts["whole"] += 1

        await asyncio.gather(*(work() for _ in range(NUM_CLIENTS)))
    return counts


def measure_rss(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def read_metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.slow
def test_survivors_answer_as_if_alone_memory_is_flat_and_a_signal_lets_them_end(server, base, red):
    process, run_dir, url = server
    names = [str(base), str(red)]

    async def ask_alone() -> dict:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            return {
                (name, text): strip(await read_answer(client, make_body(name, text)))
                for name in names
                for text in TEXTS
            }

    alone = asyncio.run(ask_alone())
    warmed = asyncio.run(storm(url, names, alone, NUM_REQUESTS // 2, seed=1))
    before = measure_rss(process.pid)
    counts = asyncio.run(storm(url, names, alone, NUM_REQUESTS, seed=2))
    assert measure_rss(process.pid) < before * 1.05
    for found in (warmed, counts):
        assert min(found.values()) > 0, found
    assert read_metric(url, "athanor_preemptions_total") > 0
    assert read_metric(url, "athanor_requests_running") == 0

    async def ask_and_end() -> list[str | int]:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            asked = [
                asyncio.create_task(read_answer(client, make_body(names[0], text)))
                for text in TEXTS
            ]
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked)

    said = asyncio.run(ask_and_end())
    assert [strip(each) for each in said] == [alone[names[0], text] for text in TEXTS]
    assert process.wait(30) == 0
    final = get_final(read_events(run_dir))
    assert (final.status, final.reason) == (Status.STOPPED, Reason.STOPPED_BY_OWNER)
