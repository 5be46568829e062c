"""Many people at once: IDEs that are open while parts of the studio restart, a class that begins.

On PostgreSQL and a Redis of their own, so that both can be taken away. The node's Docker engine is
simulated: what a real one goes through is in `test_machine_faults` and `test_machine_studio`.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.deploy import crowds
from tests.deploy.crowds import Crowded
from tests.deploy.ide_program import Ide

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
NUM_SOCKETS = crowds.read_number("ATHANOR_IDES", 16)
NUM_CREATES = crowds.read_number("ATHANOR_CREATES", 24)
PACE_S = 60 / 300  # 300 machines a minute
NUM_WAITING = NUM_CREATES // 6
"""So many find no room at first."""
OF_A_PERSON = 5
STILL_ANSWERS = 7
"""Of each IDE while something is away: half a second each, so that access is asked for again."""
SOCKETS_OF_AN_IDE = 2
NUM_IDES = NUM_SOCKETS // SOCKETS_OF_AN_IDE
VISITORS = [f"visitor{each}" for each in range(-(-NUM_IDES // OF_A_PERSON))]
PUPILS = [f"pupil{each}" for each in range(-(-NUM_CREATES // OF_A_PERSON))]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> Iterator[Crowded]:
    room = NUM_CREATES - NUM_WAITING
    assert room >= NUM_IDES, "there must be room for all IDEs"
    folder, start_s = tmp_path_factory.mktemp("crowd"), float(os.environ.get("ATHANOR_START_S", 0))
    with crowds.run_crowded(folder, VISITORS + PUPILS, cores=room, start_s=start_s) as made:
        yield made


@asynccontextmanager
async def open_ides(crowded: Crowded) -> AsyncIterator[list[Ide]]:
    """Let people make machines and open an IDE in each; all are deleted at the end."""
    browsers = [crowded.browser(each) for each in VISITORS]

    async def make(number: int) -> tuple[httpx.AsyncClient, str, list[Ide]]:
        browser = browsers[number // OF_A_PERSON]
        made = (await crowds.create(browser, f"m{number}")).json()
        await crowds.await_running(browser, made["key"])
        host, cookie = await crowds.enter(browser, made["key"])
        sessions = [f"{made['key']}-{each}" for each in range(SOCKETS_OF_AN_IDE)]
        return browser, made["key"], [Ide(host, cookie, s, crowded.port) for s in sessions]

    made = await crowds.gather(*(make(number) for number in range(NUM_IDES)))
    ides = [ide for _, _, sockets in made for ide in sockets]
    living = [asyncio.create_task(ide.live()) for ide in ides]
    try:
        yield ides
    finally:
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)
        await crowds.gather(*(browser.delete(f"/api/machines/{key}/") for browser, key, _ in made))
        await crowds.gather(*(browser.aclose() for browser in browsers))


async def await_answers(ides: list[Ide], number: int = STILL_ANSWERS) -> None:
    """Wait until each has been answered so often again."""
    wanted = [ide.num_answered + number for ide in ides]

    async def look() -> bool:
        return all(ide.num_answered >= each for ide, each in zip(ides, wanted, strict=True))

    await crowds.until("every IDE to be answered", look)


def tell_all(ides: list[Ide]) -> dict[str, Any]:
    return {
        "opened": sorted({ide.num_opened for ide in ides}),
        "refused": sum(ide.num_refused for ide in ides),
        "faults": [fault for ide in ides for fault in ide.faults],
    }


async def test_ides_stay_open_or_come_back_while_the_studios_parts_restart(crowded):
    figures: dict[str, Any] = {"sockets": NUM_SOCKETS}
    async with open_ides(crowded) as ides:
        await await_answers(ides, 2)
        deeds = crowded.list_deeds()
        quiet = {"opened": [1], "refused": 0, "faults": []}
        await asyncio.to_thread(crowded.redis.kill)
        await await_answers(ides)
        crowded.redis.start()
        await asyncio.to_thread(crowded.postgres.end)
        await await_answers(ides)
        assert tell_all(ides) == quiet  # nobody has noticed that either was away
        await asyncio.to_thread(crowded.postgres.start)
        await await_answers(ides)
        assert tell_all(ides) == quiet

        def restart_web() -> None:
            crowded.web.kill(signal.SIGTERM)
            crowded.web.start()

        await restart(ides, restart_web, figures, "web")
        # Those who came while it began have waited for it: none was turned away.
        assert tell_all(ides) == {"opened": [2], "refused": 0, "faults": []}

        def restart_node() -> None:
            crowded.node.kill()
            crowded.node.start()

        await restart(ides, restart_node, figures, "node")
        told = tell_all(ides)
        assert (told["opened"], told["faults"]) == ([3], [])
        assert crowded.list_deeds() == deeds  # no machine was stopped, started or made anew
    await await_nothing(crowded)
    print(json.dumps({"scenario": 3, **figures}))


async def restart(
    ides: list[Ide], how: Callable[[], None], figures: dict[str, Any], what: str
) -> None:
    """Restart a part that carries the sockets, and wait until all are back; keep what it took."""
    before = [len(ide.away_s) for ide in ides]
    await asyncio.to_thread(how)

    async def look() -> bool:
        return all(len(ide.away_s) > each for ide, each in zip(ides, before, strict=True))

    await crowds.until(f"every IDE to be back after {what}", look)
    await await_answers(ides)
    away = [ide.away_s[-1] for ide in ides]
    for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
        figures[f"{what}_back_{name}_s"] = round(crowds.percentile(away, share), 2)


async def await_nothing(crowded: Crowded) -> None:
    async def look() -> bool:
        return not crowded.list_containers()

    await crowds.until("its node to have ended them all", look)


def has_place(machine: dict[str, Any]) -> bool:
    """Say whether it is told a place in the queue, or has left that."""
    return machine["status"] != "queued" or machine["queue_position"] is not None


class Class:
    """People who each make a few machines, all of the same names; some press the button twice."""

    def __init__(self, crowded: Crowded) -> None:
        self.browsers = [crowded.browser(each) for each in PUPILS]
        self.owners: dict[str, httpx.AsyncClient] = {}
        """Of each machine, by its key."""
        self.statuses: Counter[tuple[int, ...]] = Counter()
        """What was answered to each wish: to one that came twice, two."""
        self.num_places_told = 0
        """At once, with the answer to the wish or to the next question."""
        self.seconds: dict[str, list[float]] = {"answered": [], "running": [], "usable": []}
        self.used: list[str] = []
        """The machines whose IDE has shown its page, in that order."""

    async def begin(self, wave: asyncio.TaskGroup) -> None:
        """Make all of them, at their pace; each is used in `wave` as soon as it runs."""
        begun = time.monotonic()

        async def make(number: int) -> None:
            await asyncio.sleep(max(0.0, begun + number * PACE_S - time.monotonic()))
            clicked = time.monotonic()
            key = await self._make(number)
            wave.create_task(self._use(key, clicked))

        await crowds.gather(*(make(number) for number in range(NUM_CREATES)))

    async def _make(self, number: int) -> str:
        browser = self.browsers[number // OF_A_PERSON]
        name = f"box-{number % OF_A_PERSON}"
        clicked = time.monotonic()
        clicks = [crowds.create(browser, name) for _ in range(2 if number % 3 == 0 else 1)]
        answers = await crowds.gather(*clicks)
        self.seconds["answered"].append(time.monotonic() - clicked)
        self.statuses[tuple(sorted(answer.status_code for answer in answers))] += 1
        made = next(answer.json() for answer in answers if answer.status_code == 201)
        if not has_place(made):  # it was given a node while it was being answered
            made = (await browser.get(f"/api/machines/{made['key']}/")).json()
        self.num_places_told += has_place(made)
        self.owners[made["key"]] = browser
        return str(made["key"])

    async def _use(self, key: str, clicked: float) -> None:
        browser = self.owners[key]
        await crowds.await_running(browser, key)
        running_s = time.monotonic() - clicked
        host, cookie = await crowds.enter(browser, key)
        page = await browser.get("/", headers={"Host": host, "Cookie": cookie})
        assert page.text == "the IDE\n", page.text
        self.used.append(key)
        if len(self.used) <= NUM_CREATES - NUM_WAITING:  # the others have waited for room
            self.seconds["running"].append(running_s)
            self.seconds["usable"].append(time.monotonic() - clicked)

    async def await_used(self, number: int) -> None:
        """Wait until so many are in use."""

        async def look() -> bool:
            return len(self.used) >= number

        await crowds.until(f"{number} to be in use", look)

    async def delete(self, keys: Iterable[str]) -> None:
        asked = [self.owners[key].delete(f"/api/machines/{key}/") for key in keys]
        assert {answer.status_code for answer in await crowds.gather(*asked)} <= {204}

    async def list_machines(self) -> list[dict[str, Any]]:
        """Return everybody's, as each sees their own."""
        told = await crowds.gather(*(each.get("/api/machines/") for each in self.browsers))
        return [machine for answer in told for machine in answer.json()]

    async def count_held(self) -> int:
        """Return what is held of everybody's points."""
        told = await crowds.gather(*(each.get("/api/points/") for each in self.browsers))
        return sum(answer.json()["held_mpoints"] for answer in told)


async def test_a_class_that_begins_at_once_gets_one_machine_for_each_name(crowded):
    before, pupils = len(crowded.list_deeds()), Class(crowded)
    num_fit = NUM_CREATES - NUM_WAITING
    async with asyncio.TaskGroup() as wave:
        await pupils.begin(wave)
        doubles = len(range(0, NUM_CREATES, 3))
        assert pupils.statuses == {(201,): NUM_CREATES - doubles, (201, 409): doubles}
        assert pupils.num_places_told == NUM_CREATES
        await pupils.await_used(num_fit)
        held_before = await pupils.count_held()
        found = await pupils.list_machines()
        assert {machine["key"] for machine in found} == set(pupils.owners)
        by_status = Counter(machine["status"] for machine in found)
        assert by_status == {"running": num_fit, "queued": NUM_WAITING}
        places = sorted(each["queue_position"] for each in found if each["status"] == "queued")
        assert places == list(range(1, NUM_WAITING + 1))
        held = sum(machine["lease"]["held_mpoints"] for machine in found)
        # It gets less from moment to moment, by what was used.
        assert held_before >= held >= await pupils.count_held() > 0
        gone = pupils.used[:NUM_WAITING]
        await pupils.delete(gone)
        await pupils.await_used(NUM_CREATES)  # there was room for those who waited
    await pupils.delete(set(pupils.owners) - set(gone))
    await await_nothing(crowded)
    assert await pupils.count_held() == 0
    done = Counter(crowded.list_deeds()[before:])
    assert set(done.values()) == {1}  # no container was made, started or ended twice
    assert sum(deed.startswith("create ") for deed in done) == NUM_CREATES
    await crowds.gather(*(each.aclose() for each in pupils.browsers))
    figures: dict[str, Any] = {"scenario": 11, "creates": NUM_CREATES, "waiting": NUM_WAITING}
    for phase, seconds in pupils.seconds.items():
        figures[f"{phase}_p50_s"] = round(crowds.percentile(seconds, 0.5), 2)
        figures[f"{phase}_p95_s"] = round(crowds.percentile(seconds, 0.95), 2)
    print(json.dumps(figures))
