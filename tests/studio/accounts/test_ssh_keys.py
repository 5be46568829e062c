"""People's SSH keys: what is taken for one, what is not, and whose it is."""

import asyncssh
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.accounts.models import SshKey
from studio.accounts.ssh_keys import MOST_KEYS, add_ssh_key, find_ssh_key
from studio.core.errors import BadInput, Conflict

pytestmark = pytest.mark.django_db


def make(kind: str = "ssh-ed25519", **options) -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind, comment="me@laptop", **options)


@pytest.mark.parametrize("form", ["openssh", "rfc4716", "pkcs8-pem"])
@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_any_usual_format_is_taken(alice, form, kind):
    pair = make(kind)
    text = pair.export_public_key(form).decode()
    kept = add_ssh_key(user=alice, public_key=f"\ufeff\r\n{text}\r\n")
    assert (kept.type, kept.fingerprint) == (kind, pair.get_fingerprint())
    assert find_ssh_key(pair) == kept
    assert kept.name == ("key" if form == "pkcs8-pem" else "me@laptop")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_ssh_key"),
        ("hello", "bad_ssh_key"),
        ("ssh-ed25519 AAAA", "bad_ssh_key"),
        ("ssh-rsa " + "A" * 20_000, "bad_ssh_key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "private_key"),
    ],
)
def test_what_is_no_key_is_refused(alice, text, code):
    with pytest.raises(BadInput) as refusal:
        add_ssh_key(user=alice, public_key=text)
    assert (refusal.value.field, refusal.value.code) == ("public_key", code)
    assert not SshKey.objects.exists()


def test_a_private_key_is_refused_and_kept_nowhere(alice):
    text = make().export_private_key().decode()
    with pytest.raises(BadInput, match="private key") as refusal:
        add_ssh_key(user=alice, public_key=text)
    assert text.splitlines()[1] not in refusal.value.message


def test_weak_keys_and_several_at_once_are_refused(alice):
    with pytest.raises(BadInput, match="2048"):
        add_ssh_key(
            user=alice, public_key=make("ssh-rsa", key_size=1024).export_public_key().decode()
        )
    add_ssh_key(user=alice, public_key=make("ssh-rsa", key_size=2048).export_public_key().decode())
    two = b"".join(make().export_public_key() for _ in range(2)).decode()
    with pytest.raises(BadInput, match="one key at a time"):
        add_ssh_key(user=alice, public_key=two)


def test_a_certificate_and_a_dsa_key_are_called_what_they_are(alice):
    authority, key = make(), make()
    certificate = authority.generate_user_certificate(key, "alice").export_certificate().decode()
    with pytest.raises(BadInput, match="this is a certificate"):
        add_ssh_key(user=alice, public_key=certificate)
    with pytest.raises(BadInput, match="DSA keys are broken"):
        add_ssh_key(user=alice, public_key="ssh-dss AAAAB3NzaC1kc3MAAACBAP me@laptop")
    assert not SshKey.objects.exists()


def test_a_key_is_one_persons(alice, bob):
    pair = make()
    text = pair.export_public_key().decode()
    add_ssh_key(user=alice, public_key=text)
    for person in (alice, bob):
        with pytest.raises(Conflict) as refusal:
            add_ssh_key(user=person, public_key=text)
        assert "alice" not in refusal.value.message
    alice.is_active = False
    alice.save()
    assert find_ssh_key(pair) is None


def test_there_is_a_most(alice):
    SshKey.objects.bulk_create(
        SshKey(user=alice, name="k", type="t", fingerprint=str(n), public_key="")
        for n in range(MOST_KEYS)
    )
    with pytest.raises(Conflict, match="50 keys"):
        add_ssh_key(user=alice, public_key=make().export_public_key().decode())


def test_the_doors(alice, bob, api):
    client = api(alice)
    text = make().export_public_key().decode()
    made = client.post(
        "/api/ssh-keys/", {"name": " my  laptop ", "public_key": text}, format="json"
    )
    assert made.status_code == 201 and made.json()["name"] == "my laptop"
    generated = client.post("/api/ssh-keys/generate/", {"name": "pair"}, format="json").json()
    pair = asyncssh.import_private_key(generated["private_key"])
    assert pair.get_fingerprint() == generated["fingerprint"]
    listed = client.get("/api/ssh-keys/").json()
    assert [key["name"] for key in listed] == ["pair", "my laptop"]
    assert "private_key" not in listed[0]
    address = f"/api/ssh-keys/{listed[0]['id']}/"
    assert api(bob).delete(address).status_code == 404
    assert client.delete(address).status_code == 204
    assert api().get("/api/ssh-keys/").status_code == 401
    assert api(bob).get("/api/ssh-keys/").json() == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.one_of(
        st.text(max_size=300), st.binary(max_size=200).map(lambda b: "ssh-rsa " + b.hex())
    )
)
def test_nothing_made_up_breaks_it(alice, text):
    with pytest.raises(BadInput):
        add_ssh_key(user=alice, public_key=text)
