"""The `athanor` command as a program against a running studio."""

import json
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clients.account import Account, NoAccount, find_account, keep_account
from clients.terminal import clean
from tests.factories import make_claimed_run
from tests.studio.asgi import make_token
from tests.studio.hub.made import push


def test_who_signs_in_is_remembered_in_a_file_of_their_own(athanor, studio):
    assert "Signed in" in athanor.sign_in()
    kept = athanor.home / ".config" / "athanor" / "account.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert athanor("whoami").split()[0] == "alice"
    assert json.loads(athanor("whoami", "--json"))["username"] == "alice"
    assert athanor("logout") == "Signed out.\n"
    assert "athanor login" in athanor("whoami", fails=True)


def test_a_machine_s_environment_goes_before_the_file(athanor, studio, bob):
    athanor.sign_in()
    said = athanor("whoami", ATHANOR_URL=studio, ATHANOR_TOKEN=make_token(bob))
    assert said.split()[0] == "bob"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("login", "studio.example"), "is no address"),
        (("login", "http://[::1"), "is no address"),
        (("login", "http://studio.example:99999"), "is no address"),
        (("login", "http://127.0.0.1:9", "--token", "t\u00f6ken"), "no API token"),
        (("login", "http://127.0.0.1:9"), "no API token"),
        (("login", "http://127.0.0.1:9", "--token", "x"), "does not answer"),
        (("whoami",), "Nobody is signed in"),
        (("job", "submit", "none.yaml", "--flavor", "cpu-2"), "cannot be read"),
    ],
)
def test_what_cannot_be_is_one_sentence(athanor, words, told):
    said = athanor(*words, fails=True)
    assert told in said and len(said.strip().splitlines()) == 1


def test_a_wrong_token_is_refused_and_not_kept(athanor, studio):
    assert athanor("login", studio, "--token", "ath_wrong", fails=True).strip()
    assert not (athanor.home / ".config").exists()


def test_a_token_may_come_by_a_pipe(athanor, studio):
    assert "as alice" in athanor("login", studio, given=f"{athanor.token}\n")
    assert json.loads(athanor("logout", "--json")) == {"was_signed_in": True}


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (200, {}, "not as a studio does"),
        (502, {}, "answers 502"),
        (301, {"Location": "https://elsewhere.example/"}, "https://elsewhere.example/"),
    ],
)
def test_what_is_no_studio_is_told_so(lone, status, headers, told):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        said = lone("login", url, "--token", "ath_x", fails=True)
        server.shutdown()
    assert told in said and len(said.strip().splitlines()) == 1


def test_others_words_do_not_move_the_cursor(capsys):
    assert clean("a\x1b[31mb\rc\u202ed\x9b") == "a?[31mb?c?d?"
    assert clean("\u4e2d\u6587\tok") == "\u4e2d\u6587 ok"


def test_points_models_and_datasets_are_listed(athanor, alice):
    push(alice, "alice/heights", {"README.md": b"---\nlicense: mit\n---\n# Heights\n"})
    athanor.sign_in()
    assert athanor("points").startswith("available")
    assert "alice/heights" in athanor("datasets")
    assert "alice/heights" not in athanor("models")
    (found,) = json.loads(athanor("datasets", "heights", "--json"))
    assert (found["id"], found["license"]) == ("alice/heights", "mit")


def test_jobs_are_looked_at_cancelled_and_refused_in_words(athanor, alice, bob):
    run = make_claimed_run(alice)
    job, other = run.job, make_claimed_run(bob, run.node).job
    athanor.sign_in()
    listed = json.loads(athanor("job", "list", "--json"))
    assert [each["id"] for each in listed] == [str(job.pk)]
    assert str(job.pk)[:8] in athanor("job", "list")
    assert str(job.pk) in athanor("job", "cancel", str(job.pk)[:8])
    for name in (str(other.pk), "zzzz"):
        assert len(athanor("job", "logs", name, fails=True).strip().splitlines()) == 1
    said = athanor("job", "submit", "-", "--flavor", "none", given="kind: train\n", fails=True)
    assert said.strip()


def test_half_an_environment_is_told(tmp_path):
    with pytest.raises(NoAccount, match="ATHANOR_URL is not"):
        find_account({"ATHANOR_TOKEN": "t", "HOME": str(tmp_path)})
    token = tmp_path / "token"
    token.write_text("from-the-machine\n")
    found = find_account({"ATHANOR_URL": "http://s/", "HOME": str(tmp_path)}, token)
    assert found == Account("http://s", "from-the-machine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("from-elsewhere")
    env = {"ATHANOR_URL": "http://s", "ATHANOR_TOKEN_FILE": str(elsewhere), "HOME": str(tmp_path)}
    assert find_account(env, token).token == "from-elsewhere"
    path = keep_account(Account("http://s", "t"), {"XDG_CONFIG_HOME": str(tmp_path)})
    path.write_text("{")
    with pytest.raises(NoAccount, match="athanor login"):
        find_account({"XDG_CONFIG_HOME": str(tmp_path)})
