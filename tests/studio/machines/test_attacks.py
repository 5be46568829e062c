"""At least eighty attempts of one tenant on another, none of which may come to anything."""

import os
import subprocess
import sys

import pytest

from studio.accounts.organizations import create_organization, set_member
from studio.drive.spaces import home_path
from studio.machines import services
from studio.machines.models import Audience
from studio.points.services import grant_points
from tests.studio.machines.attacks import (
    on_doors,
    on_drives,
    on_framing,
    on_origins,
    on_relay,
    on_ssh,
)
from tests.studio.machines.attacks.rows import count_ids, run_attacks
from tests.studio.machines.attacks.scene import play
from tests.studio.machines.conftest import make_running

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.timeout(180),
]


@pytest.fixture
def scene(rich, bob, node):
    grant_points(by=None, to=bob, mpoints=1_000_000, note="", key="bobs")
    machines = [make_running(rich, node), make_running(bob, node, "rogue")]
    machines.append(make_running(rich, node, "other"))
    with play(rich, bob, machines, node) as scene:
        yield scene


def test_the_right_way_in_is_open_so_that_a_refusal_says_something(scene):
    assert b"only its owner" in scene.ask("Host: {victim}", "Cookie: {cookie}={hers}")
    assert b"his own" in scene.ask("Host: {rogue}", "Cookie: {cookie}={his}")
    query = on_origins.query_of(scene, "alice", "victim")
    assert b"set-cookie" in on_origins.spend(scene, query)
    own = "http://" + scene.host(scene.victim)
    assert on_origins.opens("own", "hers", Origin=own).attempt(scene)


@pytest.mark.parametrize("table", on_origins.TABLES, ids=lambda table: table[0].id)
def test_nothing_gets_through_a_machines_origin(scene, table):
    run_attacks(scene, table, before=scene.calm)


@pytest.mark.parametrize("table", on_framing.TABLES, ids=lambda table: table[0].id)
def test_no_request_hides_in_another(scene, olga, table):
    services.publish_port(
        by=scene.alice, machine=scene.victim, port=scene.port, audience=Audience.CLASS, until=None
    )
    course = create_organization(by=olga, name="course")
    for person in (scene.alice, scene.bob):
        set_member(by=olga, organization=course, username=person.username, role="member")
    run_attacks(scene, table, before=scene.calm)
    good = ["Content-Length: 0"]
    scene.calm()
    assert not on_framing.frames("good", good, "").attempt(scene)
    assert [each["path"] for each in scene.hers.heard] == ["/outer", "/next"]


@pytest.mark.parametrize(
    "table",
    [list(on_doors.people()), on_doors.OPERATORS, on_doors.NAMES, on_doors.TOKENS,
     on_doors.NODES, on_doors.PORTAL, on_doors.SOCKETS, on_doors.PUBLISHED],
    ids=lambda table: table[0].id,
)  # fmt: skip
def test_no_door_opens_for_who_may_not(scene, olga, table):
    scene.olga = olga
    run_attacks(scene, table, before=scene.calm)


def test_a_nodes_relay_takes_its_own_studios_passes_once(scene):
    run_attacks(scene, on_relay.RELAY)


def test_what_a_machine_leaves_in_its_home_leads_nowhere(alice, bob, tmp_path, settings):
    settings.DRIVE_DIR = tmp_path / "drives"
    home = on_drives.Home(bob, home_path(bob), home_path(alice), tmp_path / "outside")
    (home.his / "own").write_text("his own")
    assert "his own" in home.call("GET", on_drives.FILE + "own")
    assert "his own" in home.call("GET", "/api/drive/archive/?path=")
    run_attacks(home, on_drives.DRIVES, before=home.calm)


def test_there_are_eighty_at_least():
    tables = [*on_origins.TABLES, *on_framing.TABLES, list(on_doors.people()), on_doors.OPERATORS]
    tables += [on_doors.NAMES, on_doors.TOKENS, on_doors.NODES, on_doors.PORTAL, on_doors.SOCKETS]
    tables += [on_doors.PUBLISHED, on_relay.RELAY, on_drives.DRIVES, on_ssh.SSH]
    assert count_ids(tables) >= 80


def test_a_session_of_a_studio_with_tls_is_one_that_no_machine_can_set():
    ask = "from studio import settings; print(settings.SESSION_COOKIE_NAME)"
    env = os.environ | {"STUDIO_PUBLIC_URL": "https://studio.test"}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=env, text=True, capture_output=True, check=True
    )
    assert done.stdout.strip().startswith("__Host-")
