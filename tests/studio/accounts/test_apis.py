"""Oneself, tokens and people over HTTP, and who may see them."""

import json
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.urls import URLResolver, get_resolver, resolve
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from studio.accounts.models import PersonalToken, User
from studio.accounts.selectors import get_platform_user
from studio.accounts.services import create_personal_token, make_signin_link
from tests.factories import make_job

pytestmark = pytest.mark.django_db


def by_token(user, *scopes: str) -> APIClient:
    _, raw = create_personal_token(
        user=user, name="script", scopes=list(scopes), expires_in_days=None
    )
    return with_token(raw)


def with_token(raw: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    return client


def send(client, method: str, path: str, body: object = None):
    return getattr(client, method)(path, body, format="json")


def test_me_says_who_i_am_and_what_i_may(api, alice, olga):
    me = api(alice).get("/api/me/").json()
    assert (me["username"], me["role"], me["has_password"]) == ("alice", "member", True)
    assert me["can"] == {"grant_points": False, "administer": False}
    assert api(olga).get("/api/me/").json()["can"] == {"grant_points": True, "administer": False}


def test_me_says_which_first_steps_are_done(api, alice):
    assert not any(api(alice).get("/api/me/").json()["onboarding"].values())
    make_job(owner=alice)
    assert api(alice).get("/api/me/").json()["onboarding"]["has_job"] is True


def test_i_change_how_i_am_shown(api, alice):
    wish = {"display_name": "Alice L.", "language": "zh", "theme": "dark", "email": "a@b.org"}
    assert send(api(alice), "patch", "/api/me/", wish).status_code == 200
    me = api(alice).get("/api/me/").json()
    assert {name: me[name] for name in wish} == wish


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"language": "fr"}, "language"),
        ({"email": "nonsense"}, "email"),
        ({"role": "administrator"}, "role"),
        ({"is_active": False}, "is_active"),
        ({"display_name": "x" * 81}, "display_name"),
    ],
)
def test_what_i_may_not_change_is_refused_by_name(api, alice, wish, field):
    answer = send(api(alice), "patch", "/api/me/", wish)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_an_address_belongs_to_one_person_whatever_its_capitals(api, alice, bob):
    send(api(alice), "patch", "/api/me/", {"email": "a@b.org"})
    answer = send(api(bob), "patch", "/api/me/", {"email": "A@B.org"})
    assert answer.status_code == 400
    assert answer.json()["field"] == "email"


def test_a_new_password_keeps_this_session_and_ends_the_others(api, alice):
    here, elsewhere = api(alice), api(alice)
    wish = {"current_password": "alice-password", "new_password": "furnace-light-9"}
    assert send(here, "post", "/api/me/password/", wish).status_code == 204
    assert here.get("/api/me/").status_code == 200
    assert elsewhere.get("/api/me/").status_code == 401
    assert User.objects.get(pk=alice.pk).check_password("furnace-light-9")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"new_password": "furnace-light-9"}, "current_password"),
        (
            {"current_password": "wrong", "new_password": "furnace-light-9"},
            "current_password",
        ),
        ({"current_password": "alice-password", "new_password": "short"}, "new_password"),
        ({"current_password": "alice-password", "new_password": "password123"}, "new_password"),
        ({"current_password": "alice-password"}, "new_password"),
    ],
)
def test_a_bad_password_is_refused(api, alice, wish, field):
    answer = send(api(alice), "post", "/api/me/password/", wish)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_who_came_by_link_sets_a_password_without_an_old_one(api, alice):
    alice.set_unusable_password()
    alice.save()
    client = api(alice)
    assert client.get("/api/me/").json()["has_password"] is False
    wish = {"new_password": "furnace-light-9"}
    assert send(client, "post", "/api/me/password/", wish).status_code == 204


def test_a_token_is_shown_once_and_works(api, alice):
    wish = {"name": "laptop", "scopes": ["read"], "expires_in_days": 30}
    made = send(api(alice), "post", "/api/tokens/", wish)
    assert made.status_code == 201
    raw = made.json()["token"]
    listed = api(alice).get("/api/tokens/").json()["results"]
    assert [token["prefix"] for token in listed] == [raw[:12]]
    assert raw not in str(listed)
    assert not PersonalToken.objects.filter(token_hash__contains=raw).exists()
    assert with_token(raw).get("/api/me/").json()["username"] == "alice"
    assert PersonalToken.objects.get().last_used_at is not None


def test_a_deleted_token_opens_nothing(api, alice):
    made = send(api(alice), "post", "/api/tokens/", {"name": "a", "scopes": ["read"]}).json()
    assert api(alice).delete(f"/api/tokens/{made['id']}/").status_code == 204
    assert with_token(made["token"]).get("/api/me/").status_code == 401


def test_an_expired_token_opens_nothing(alice):
    client = by_token(alice, "read")
    PersonalToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = client.get("/api/me/")
    assert answer.status_code == 401
    assert "expired" in answer.json()["message"]


@pytest.mark.parametrize("raw", ["ath_nonsense", "ath_", "nonsense", "run_x", "ath_\xff"])
def test_a_made_up_token_opens_nothing(db, raw):
    assert with_token(raw).get("/api/me/").status_code == 401


def test_a_token_does_only_what_its_scopes_say(alice):
    wish = {"display_name": "A"}
    assert send(by_token(alice, "read"), "patch", "/api/me/", wish).status_code == 403
    assert by_token(alice, "chat").get("/api/me/").status_code == 403
    assert send(by_token(alice, "write"), "patch", "/api/me/", wish).status_code == 200


def test_an_operators_token_operates_only_with_admin(olga):
    assert by_token(olga, "read", "write").get("/api/users/").status_code == 404
    assert by_token(olga, "read", "admin").get("/api/users/").status_code == 200


def test_without_admin_an_operators_token_sees_and_stops_only_its_own(olga, alice):
    job = make_job(owner=alice)
    for scopes, status in ((["read", "write"], 404), (["read", "write", "admin"], 200)):
        client = by_token(olga, *scopes)
        assert client.get(f"/api/jobs/{job.pk}/").status_code == status
        assert client.get("/api/points/statement/?user=alice").status_code == status
        assert send(client, "post", f"/api/jobs/{job.pk}/stop/", {}).status_code == status
    assert by_token(olga, "read").get("/api/me/").json()["role"] == "operator"


def test_no_token_makes_tokens_or_passwords(alice):
    client = by_token(alice, "read", "write")
    wish = {"name": "wider", "scopes": ["write"]}
    assert send(client, "post", "/api/tokens/", wish).status_code == 403
    wish = {"current_password": "alice-password", "new_password": "furnace-light-9"}
    assert send(client, "post", "/api/me/password/", wish).status_code == 403
    assert client.get("/api/tokens/").status_code == 200


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["all"]}, "scopes.0"),
        ({"scopes": ["read"], "expires_in_days": 0}, "expires_in_days"),
        ({"scopes": ["read"], "expires_in_days": 10**30}, "expires_in_days"),
        ({"scopes": ["read"], "name": ""}, "name"),
    ],
)
def test_a_bad_token_wish_is_refused(api, alice, wish, field):
    answer = send(api(alice), "post", "/api/tokens/", {"name": "a", **wish})
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_a_stranger_cannot_see_or_end_my_token(api, alice, carol):
    made = send(api(alice), "post", "/api/tokens/", {"name": "a", "scopes": ["read"]}).json()
    assert api(carol).get("/api/tokens/").json()["count"] == 0
    assert api(carol).delete(f"/api/tokens/{made['id']}/").status_code == 404
    assert with_token(made["token"]).get("/api/me/").status_code == 200


def test_operators_find_people(api, alice, bob, olga):
    get_platform_user()
    answer = api(olga).get("/api/users/").json()
    assert [user["username"] for user in answer["results"]] == ["alice", "bob", "olga"]
    found = api(olga).get("/api/users/?search=LIC").json()["results"]
    assert [user["username"] for user in found] == ["alice"]
    assert found[0]["available_mpoints"] == 0


def test_an_administrator_makes_a_person_and_lets_them_in(api, adam):
    wish = {"username": "dora", "display_name": "Dora", "role": "operator"}
    made = send(api(adam), "post", "/api/users/", wish)
    assert made.status_code == 201
    link = api(adam).post(f"/api/users/{made.json()['id']}/signin-link/").json()
    assert "/signin/" in link["url"]
    assert User.objects.get(username="dora").has_usable_password() is False


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "datasets", "Athanor", "alice", "ALICE", "a..b", "-a", "x" * 41]
)
def test_a_bad_or_taken_name_is_refused(api, alice, adam, name):
    answer = send(api(adam), "post", "/api/users/", {"username": name})
    assert answer.status_code == 400
    assert answer.json()["field"] == "username"
    assert User.objects.count() == 2


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"username": "ALICE"}, "name_taken"),
        ({"username": "Athanor"}, "reserved"),
        ({"username": "dora", "email": "alice@example.org"}, "email_taken"),
    ],
)
def test_what_is_taken_is_refused_by_a_code_with_words(api, alice, adam, wish, code):
    alice.email = "Alice@example.org"
    alice.save()
    assert send(api(adam), "post", "/api/users/", wish).json()["code"] == code


def list_first_words(routes: Any) -> set[str]:
    """The first folder of every address there is."""
    words = set()
    for route in routes:
        pattern = str(route.pattern)
        if not pattern.strip("^") and isinstance(route, URLResolver):
            words |= list_first_words(route.url_patterns)
        words |= set(re.findall(r"^\^?(\w+)(?:/|$)", pattern))
    return words


def test_a_free_name_is_an_address_of_repos_and_of_nothing_else():
    words = {*list_first_words(get_resolver().url_patterns), "admin", "static", "ws"}
    assert {"api", "v1", "signin", "healthz", "datasets", "_admin"} <= words
    free = set()
    for word in words:
        with suppress(ValidationError):
            User(username=word, password="x").full_clean()
            free.add(word)
    assert "admin" in free
    for word in free:
        found = resolve(f"/{word}/tiny/resolve/main/config.json")
        assert found.kwargs["namespace"] == word


def test_the_disabled_lose_session_token_and_link_at_once(api, alice, adam):
    session, script = api(alice), by_token(alice, "read")
    make_signin_link(user=alice, by=adam)
    answer = send(api(adam), "patch", f"/api/users/{alice.pk}/", {"is_active": False})
    assert answer.json()["is_active"] is False
    assert session.get("/api/me/").status_code == 401
    assert script.get("/api/me/").status_code == 401
    assert not alice.signin_links.exists()
    again = api(adam).post(f"/api/users/{alice.pk}/signin-link/")
    assert (again.status_code, again.json()["code"]) == (409, "disabled")


@pytest.mark.parametrize(
    ("change", "code"),
    [({"role": "member"}, "last_administrator"), ({"is_active": False}, "is_you")],
)
def test_the_last_administrator_stays(api, adam, change, code):
    get_platform_user()
    answer = send(api(adam), "patch", f"/api/users/{adam.pk}/", change)
    assert (answer.status_code, answer.json()["code"]) == (409, code)


def test_operators_do_not_administer(api, alice, olga):
    assert send(api(olga), "post", "/api/users/", {"username": "dora"}).status_code == 404
    path = f"/api/users/{alice.pk}/"
    assert send(api(olga), "patch", path, {"role": "operator"}).status_code == 404
    assert api(olga).post(f"{path}signin-link/").status_code == 404


def test_to_a_stranger_the_doors_of_people_are_not_there(api, alice, carol):
    for method, path in [
        ("get", "/api/users/"),
        ("post", "/api/users/"),
        ("patch", f"/api/users/{alice.pk}/"),
        ("post", f"/api/users/{alice.pk}/signin-link/"),
    ]:
        assert send(api(carol), method, path, {}).status_code == 404


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("patch", "/api/me/", "display_name email language theme"),
        ("post", "/api/me/password/", "current_password new_password"),
        ("post", "/api/tokens/", "name scopes expires_in_days"),
        ("post", "/api/users/", "username display_name email role"),
        ("patch", "/api/users/1/", "display_name role is_active"),
    ],
)
def test_no_body_breaks_a_door(api, adam, method, path, fields):
    method = method.upper()
    shaped = st.fixed_dictionaries({}, optional=dict.fromkeys(fields.split(), JSON))

    client = api(adam)

    @settings(max_examples=25, deadline=None)
    @given(body=shaped | JSON)
    def try_body(body: object) -> None:
        answer = client.generic(method, path, json.dumps(body), "application/json")
        assert answer.status_code < 500
        if answer.status_code >= 400:
            assert answer.json()["message"]

    try_body()
