"""Coming in: by password through allauth, by one-time link, and by command."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from studio.accounts.models import SigninLink, User
from studio.accounts.services import create_signin_link
from studio.points.models import Transfer
from studio.points.selectors import get_balance

pytestmark = pytest.mark.django_db
LOGIN = "/_allauth/browser/v1/auth/login"
SESSION = "/_allauth/browser/v1/auth/session"


@pytest.fixture(autouse=True)
def own_cache(settings):
    """allauth counts attempts in the cache."""
    local = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": local, "LOCATION": "signin"}}
    cache.clear()


@pytest.fixture
def browser(client) -> Client:
    """A browser that checks CSRF, as real ones have to."""
    return Client(enforce_csrf_checks=True)


def get_csrf(browser: Client) -> str:
    browser.get("/_allauth/browser/v1/config")
    return browser.cookies["csrftoken"].value


def log_in(browser: Client, password: str, **name: str):
    headers = {"X-CSRFToken": get_csrf(browser)}
    body = {**(name or {"username": "alice"}), "password": password}
    return browser.post(LOGIN, body, content_type="application/json", headers=headers)


def test_a_password_signs_in_and_out(browser, alice):
    assert log_in(browser, "alice-password").status_code == 200
    assert browser.get("/api/me/").json()["username"] == "alice"
    headers = {"X-CSRFToken": browser.cookies["csrftoken"].value}
    assert browser.delete(SESSION, headers=headers).status_code == 401  # allauth's: signed out
    assert browser.get("/api/me/").status_code == 401


def test_an_address_signs_in_too_until_it_is_changed(browser, api, alice):
    wish = {"email": "a@b.org"}
    api(alice).patch("/api/me/", wish, format="json")
    assert log_in(browser, "alice-password", email="a@b.org").status_code == 200
    api(alice).patch("/api/me/", {"email": "c@d.org"}, format="json")
    assert (
        log_in(Client(enforce_csrf_checks=True), "alice-password", email="a@b.org").status_code
        == 400
    )


def test_a_wrong_password_is_told_in_allauths_shape(browser, alice):
    answer = log_in(browser, "wrong")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "username_password_mismatch"


def test_without_the_csrf_token_nobody_signs_in(browser, alice):
    body = {"username": "alice", "password": "alice-password"}
    answer = browser.post(LOGIN, body, content_type="application/json")
    assert answer.status_code == 403


def test_a_change_without_the_csrf_token_is_refused_in_words(browser, alice):
    log_in(browser, "alice-password")
    answer = browser.patch("/api/me/", {"theme": "dark"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


def test_guessing_is_slowed_down(browser, alice):
    answers = [log_in(browser, f"guess-{attempt}").status_code for attempt in range(12)]
    assert 429 in answers or "too_many_login_attempts" in str(log_in(browser, "guess").json())
    assert log_in(browser, "alice-password").status_code != 200


def test_the_disabled_do_not_sign_in(browser, alice):
    User.objects.update(is_active=False)
    assert log_in(browser, "alice-password").status_code != 200
    assert browser.get("/api/me/").status_code == 401


def test_nobody_signs_up(browser, db):
    headers = {"X-CSRFToken": get_csrf(browser)}
    body = {"username": "mallory", "password": "furnace-light-9", "email": "m@b.org"}
    path = "/_allauth/browser/v1/auth/signup"
    answer = browser.post(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 403
    assert not User.objects.exists()


@pytest.mark.parametrize("door", ["auth/password/request", "account/email"])
def test_doors_that_would_send_mail_are_closed(browser, alice, door):
    headers = {"X-CSRFToken": get_csrf(browser)}
    path = f"/_allauth/browser/v1/{door}"
    User.objects.update(email="a@b.org")
    answer = browser.post(
        path, {"email": "a@b.org"}, content_type="application/json", headers=headers
    )
    assert answer.status_code == 404


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def press(browser: Client, path: str):
    page = browser.get(path)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert token
    return browser.post(path, {"csrfmiddlewaretoken": token[1]})


def test_a_link_signs_in_once(browser, alice):
    path = path_of(create_signin_link(user=alice))
    answer = press(browser, path)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert browser.get("/api/me/").json()["username"] == "alice"
    again = Client().get(path)
    assert again.status_code == 410
    assert "no longer works" in again.content.decode()
    assert Client().post(path).status_code == 410


def test_a_preview_does_not_use_the_link_up(browser, alice):
    path = path_of(create_signin_link(user=alice))
    for _ in range(3):
        assert Client().get(path).status_code == 200
        assert Client().head(path).status_code == 200
    assert press(browser, path).status_code == 302


def test_the_button_needs_its_csrf_token(browser, alice):
    path = path_of(create_signin_link(user=alice))
    assert browser.post(path).status_code == 403
    assert SigninLink.objects.get().used_at is None


def test_an_expired_link_and_a_made_up_one_say_so(client, alice):
    path = path_of(create_signin_link(user=alice))
    SigninLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(path).status_code == 410
    assert client.post(path).status_code == 410
    assert client.get("/signin/nonsense/").status_code == 410


def test_a_new_link_ends_the_former(client, alice):
    former = path_of(create_signin_link(user=alice))
    assert client.get(path_of(create_signin_link(user=alice))).status_code == 200
    assert client.get(former).status_code == 410


def test_the_page_speaks_chinese(client, alice):
    path = path_of(create_signin_link(user=alice))
    page = client.get(path, headers={"Accept-Language": "zh-CN,zh;q=0.9"}).content.decode()
    assert 'lang="zh"' in page
    assert "\u767b\u5f55" in page


def test_the_page_leaks_its_address_to_nobody(client, alice, caplog):
    path = path_of(create_signin_link(user=alice))
    with caplog.at_level("INFO"):
        answer = client.get(path)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer.headers["Cache-Control"]
    assert path.split("/")[2] not in caplog.text


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def test_the_token_command_prints_a_token_of_a_new_person(db):
    raw = run_command("token", "dora", "--role", "operator", "--admin")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    assert client.get("/api/users/").status_code == 200
    assert run_command("token", "dora", "--role", "member") != raw
    assert User.objects.get(username="dora").role == "operator"


@pytest.mark.parametrize("name", ["a b", "athanor", "datasets"])
def test_the_token_command_refuses_a_bad_name(db, name):
    with pytest.raises(CommandError):
        run_command("token", name)
    assert not User.objects.exists()


def test_the_first_administrator_can_launch_at_once(client):
    path = path_of(run_command("signin_link", "adam", "--create", "--role", "administrator"))
    assert client.get(path).status_code == 200
    adam = User.objects.get(username="adam")
    assert adam.has_role("administrator")
    assert get_balance(adam).available_mpoints == 100_000
    run_command("signin_link", "adam", "--create", "--role", "administrator")
    assert Transfer.objects.count() == 1


def test_the_link_command_makes_nobody_unasked(db):
    with pytest.raises(CommandError, match="--create"):
        run_command("signin_link", "adam")
