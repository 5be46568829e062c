"""A use whose answer ends while the database is away is on record once, when that is back."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from studio.serving import kept_uses
from studio.serving.kept_uses import note_use, write_kept_uses
from studio.serving.keys import KeyWish, create_key
from studio.serving.metering import Asked, Measured, record_use
from studio.serving.models import ApiKey, Deployment, Use, UsePeriod
from studio.serving.tasks import settle_uses
from tests.studio.serving.deployed import priced
from tests.studio.serving.test_metering import ASK, HOUR, give

TOOK = {"queue_s": 0.5, "prefill_s": 0.01, "decode_s": 0.02}


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path / "uses"


def refuse(*_, **__):
    raise OperationalError("connection refused")


class Outage(list):
    """A server's words, in the midst of which the database goes away until `end`."""

    def __init__(self, *words):
        super().__init__(words)
        self._patch = pytest.MonkeyPatch()

    def __iter__(self):
        self._patch.setattr(type(connections["default"]), "get_new_connection", refuse)
        return super().__iter__()

    def end(self):
        self._patch.undo()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_ends_while_the_database_is_away_is_whole_and_paid_later(
    client_of, alice, server, folder, stream
):
    priced(Deployment.objects.get(), HOUR)
    give(alice, 100)
    server.timing, server.words = TOOK, Outage("Be", " well", ".")
    begun_at = timezone.now()
    try:
        answer = client_of(alice).post("/v1/chat/completions", json=ASK | {"stream": stream})
    finally:
        server.words.end()
    assert answer.status_code == 200
    assert "[DONE]" in answer.text if stream else answer.json()["choices"]
    assert not Use.objects.exists()
    assert len(list(folder.iterdir())) == 1
    settle_uses()
    settle_uses()
    use = Use.objects.get()
    assert (use.num_prompt_tokens, use.num_tokens, use.prefill_ms, use.decode_ms) == (7, 3, 10, 20)
    assert begun_at < use.created_at < timezone.now()
    assert UsePeriod.objects.get().total_upoints == use.cost_upoints > 0
    assert not list(folder.iterdir())


def keep(asked: Asked) -> None:
    kept_uses._keep(asked, Measured(num_tokens=3, prefill_ms=4, decode_ms=6))


@pytest.fixture
def asked(db, alice) -> Asked:
    deployment = Deployment.objects.create(model="athanor/tiny", revision="a" * 40)
    priced(deployment, HOUR)
    give(alice, 100)
    key, _ = create_key(user=alice, wish=KeyWish(name="k"))
    return Asked(alice, "athanor/tiny", deployment.pk, key)


def test_a_use_that_was_written_after_all_is_not_written_again(asked):
    use = record_use(asked=asked, measured=Measured(num_tokens=3, prefill_ms=4, decode_ms=6))
    keep(asked)  # the database took it, and went away before it said so
    write_kept_uses()
    assert Use.objects.get() == use
    assert ApiKey.objects.get().spent_upoints == UsePeriod.objects.get().total_upoints
    assert UsePeriod.objects.get().total_upoints == use.cost_upoints == 10_000


def test_what_is_kept_stays_as_long_as_the_database_is_away(asked, folder, monkeypatch):
    with monkeypatch.context() as away:
        away.setattr(kept_uses, "record_use", refuse)
        note_use(asked=asked, measured=Measured(num_tokens=3, prefill_ms=4, decode_ms=6))
        note_use(asked=replace(asked, request_key=uuid4()), measured=Measured(prefill_ms=1))
        with pytest.raises(OperationalError):
            write_kept_uses()
    assert len(list(folder.iterdir())) == 2
    assert (write_kept_uses(), write_kept_uses()) == (2, 0)
    assert Use.objects.count() == 2


def test_what_makes_no_sense_is_set_aside_and_holds_up_nothing(asked, folder):
    folder.mkdir()
    (folder / "0.json").write_text("{")
    (folder / "1.json").write_text(json.dumps({"user": asked.user.pk}))
    keep(asked)
    asked.api_key.delete()
    assert write_kept_uses() == 1
    assert Use.objects.get().api_key is None
    assert sorted(path.name for path in folder.iterdir()) == ["0.odd", "1.odd"]


def test_a_use_of_somebody_who_is_gone_is_let_go(asked, folder, carol):
    keep(replace(asked, user=carol, api_key=None))
    carol.delete()
    assert write_kept_uses() == 0
    assert not list(folder.iterdir())


def test_a_disk_that_is_full_too_leaves_the_use_in_the_log(asked, folder, monkeypatch, caplog):
    folder.write_text("no folder")
    monkeypatch.setattr(kept_uses, "record_use", refuse)
    note_use(asked=asked, measured=Measured(num_tokens=3))
    assert str(asked.request_key) in caplog.text
