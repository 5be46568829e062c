"""API keys at the gateway and at the dashboard's API: what they may ask, and up to which budget."""

from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from studio.core.errors import BadInput, NotFound
from studio.serving.keys import KeyWish, create_key, revoke_key
from studio.serving.models import ApiKey
from tests.studio.serving.deployed import push_adapter

ASK = {"model": "athanor/tiny", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def ask_with(studio):
    """`ask_with(wish, user)` is an HTTP client with a fresh key of the user's."""

    def make(user, **wish) -> httpx.Client:
        _, raw = create_key(user=user, wish=KeyWish("app", **wish))
        headers = {"Authorization": f"Bearer {raw}"}
        return httpx.Client(base_url=studio, headers=headers, timeout=30)

    return make


def test_a_key_chats_and_opens_nothing_else(ask_with, alice, server):
    client = ask_with(alice)
    assert client.post("/v1/chat/completions", json=ASK).status_code == 200
    assert client.get("/v1/models").json()["data"][0]["id"] == "athanor/tiny"
    for path in ("/api/me/", "/api/jobs/", "/api/api-keys/", "/api/models/athanor/tiny"):
        assert client.get(path).status_code in (401, 404), path


def test_a_key_asks_its_models_alone(ask_with, alice, server):
    push_adapter(alice, "tuned", base="athanor/tiny")
    client = ask_with(alice, models=("alice/tuned",))
    refused = client.post("/v1/chat/completions", json=ASK)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "model_not_allowed"
    assert "alice/tuned" in refused.json()["error"]["message"]
    assert client.post("/v1/chat/completions", json=ASK | {"model": "alice/tuned"}).is_success
    mixed = client.post("/v1/chat/completions", json=ASK | {"model": "athanor/tiny+alice/tuned"})
    assert mixed.status_code == 403
    assert [shown["id"] for shown in client.get("/v1/models").json()["data"]] == ["alice/tuned"]
    assert client.get("/v1/models/alice/tuned").is_success
    assert client.get("/v1/models/athanor/tiny").status_code == 404


def test_a_spent_budget_is_told_before_a_server_is_asked(ask_with, alice, server):
    client = ask_with(alice, budget_mpoints=2)
    assert client.post("/v1/chat/completions", json=ASK).is_success
    ApiKey.objects.update(spent_upoints=2000)
    refused = client.post("/v1/chat/completions", json=ASK)
    assert refused.status_code == 402
    assert refused.json()["error"]["type"] == "insufficient_quota"
    assert "0.002 points" in refused.json()["error"]["message"]
    assert len(server.chats) == 1


@pytest.mark.parametrize("ending", ["revoked", "expired", "disabled"])
def test_a_dead_key_is_refused(studio, alice, server, ending):
    key, raw = create_key(user=alice, wish=KeyWish("app", expires_in_days=1))
    if ending == "revoked":
        revoke_key(by=alice, key=key)
    elif ending == "expired":
        ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    else:
        alice.is_active = False
        alice.save()
    headers = {"Authorization": f"Bearer {raw}"}
    refused = httpx.post(f"{studio}/v1/chat/completions", json=ASK, headers=headers)
    assert refused.status_code == 401
    assert "API key" in refused.json()["error"]["message"]


@pytest.mark.django_db
def test_a_bad_wish_names_its_field(alice):
    for wish, field in (
        ({"models": ("tiny",)}, "models"),
        ({"models": ("athanor/tiny@main",)}, "models"),
        ({"budget_mpoints": 0}, "budget_mpoints"),
        ({"expires_in_days": 0}, "expires_in_days"),
    ):
        with pytest.raises(BadInput) as caught:
            create_key(user=alice, wish=KeyWish("app", **wish))
        assert caught.value.field == field
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_keys_are_made_shown_once_listed_and_revoked(api, alice):
    wish = {"name": "app", "models": ["athanor/tiny"]}
    made = api(alice).post("/api/api-keys/", wish, format="json")
    assert made.status_code == 201
    raw = made.json()["key"]
    assert raw.startswith(made.json()["prefix"])
    listed = api(alice).get("/api/api-keys/").json()["results"]
    assert [key["models"] for key in listed] == [["athanor/tiny"]]
    assert "key" not in listed[0]
    assert not ApiKey.objects.filter(key_hash=raw).exists()
    gone = api(alice).delete(f"/api/api-keys/{listed[0]['id']}/")
    assert gone.status_code == 204, gone.content
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_a_strangers_key_is_not_there(api, alice, carol):
    key, _ = create_key(user=alice, wish=KeyWish("app"))
    assert api(carol).delete(f"/api/api-keys/{key.pk}/").status_code == 404
    assert api(carol).get("/api/model-uses/", {"key": key.pk}).status_code == 404
    assert api(carol).get("/api/api-keys/").json()["results"] == []
    with pytest.raises(NotFound):
        revoke_key(by=carol, key=key)
