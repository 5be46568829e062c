"""What surrounds a request: its id, its line, the pages, and a part that is away."""

import pytest
from django.db import OperationalError
from django.test import Client

from studio.accounts import apis
from studio.core import pages

pytestmark = pytest.mark.django_db


def test_a_request_id_is_taken_over_or_made(client):
    assert client.get("/api/me/", headers={"X-Request-ID": "abc"}).headers["X-Request-ID"] == "abc"
    assert len(client.get("/api/me/").headers["X-Request-ID"]) == 32


def test_a_database_that_is_away_answers_503(api, alice, monkeypatch):
    def fail(user):
        raise OperationalError("connection refused")

    monkeypatch.setattr(apis, "get_onboarding", fail)
    answer = api(alice).get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert "connection refused" not in answer.content.decode()


def test_a_cache_that_is_away_answers_503(alice, settings):
    """Signing in counts attempts in Redis."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    body = {"username": "alice", "password": "wrong"}
    path = "/_allauth/browser/v1/auth/login"
    answer = Client().post(path, body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_every_other_address_is_the_dashboard(client, monkeypatch, tmp_path):
    index = tmp_path / "index.html"
    index.write_text("<title>Athanor</title>")
    monkeypatch.setattr(pages, "_INDEX", index)
    answer = client.get("/jobs/42")
    assert answer.status_code == 200
    assert "csrftoken" in answer.cookies
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_dashboard_that_is_not_built_says_so(client, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "_INDEX", tmp_path / "missing.html")
    assert client.get("/").status_code == 503


def test_health_names_the_part_that_is_away(client):
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["database"]["ok"] is True
    assert answer.json()["worker"]["problem"]
