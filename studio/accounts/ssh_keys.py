"""People's SSH keys: pasted, uploaded or made here, and whose one is."""

import re
from dataclasses import dataclass

import asyncssh
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from studio.accounts.models import SshKey, User
from studio.core import audit
from studio.core.errors import BadInput, Conflict

MOST_KEYS = 50
_MOST_LETTERS = 16_384
_LEAST_RSA_BITS = 2048
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|PuTTY-User-Key-File")
_CERTIFICATE = re.compile(r"[a-z0-9@.-]+-cert-v0[01]@openssh\.com ")
_WEAK = {"ssh-dss"}
_DSA = "DSA keys are broken: make one with `ssh-keygen -t ed25519`."
_KINDS = "ssh-ed25519, ecdsa-sha2-..., ssh-rsa or a sk-... key"


@dataclass(frozen=True)
class MadeKey:
    """A key that was made here; nobody keeps its private half but who asked."""

    key: SshKey
    private_key: str


def list_ssh_keys(user: User) -> QuerySet[SshKey]:
    """Return a person's keys, newest first."""
    return SshKey.objects.filter(user=user).order_by("-created_at", "-pk")


def find_ssh_key(public_key: asyncssh.SSHKey) -> SshKey | None:
    """Return the kept key that is this one, of an active person; None where there is none."""
    keys = SshKey.objects.select_related("user").filter(
        fingerprint=public_key.get_fingerprint(), user__is_active=True
    )
    return keys.first()


def note_ssh_key_used(key: SshKey) -> None:
    """Note that a key has just signed somebody in."""
    SshKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now())


def add_ssh_key(*, user: User, public_key: str, name: str = "") -> SshKey:
    """Keep a public key, in whichever of the usual formats it is.

    Raises:
        BadInput: it is none, several, a private one, or too weak.
        Conflict: it is kept already, or there are too many.
    """
    key = _read_public_key(public_key)
    return _keep(user, key, name or _find_comment(key) or "key")


def generate_ssh_key(*, user: User, name: str = "") -> MadeKey:
    """Make an Ed25519 pair and keep its public half.

    Raises:
        Conflict: there are too many.
    """
    pair = asyncssh.generate_private_key("ssh-ed25519", comment=f"{user.username}@athanor")
    kept = _keep(user, pair, name or "key")
    return MadeKey(kept, pair.export_private_key().decode())


def delete_ssh_key(*, by: User, key: SshKey) -> None:
    """Forget a key; who is connected by it is let go within seconds."""
    audit.record("ssh_key.deleted", actor=by, subject=key.fingerprint)
    key.delete()


def _keep(user: User, key: asyncssh.SSHKey, name: str) -> SshKey:
    if SshKey.objects.filter(user=user).count() >= MOST_KEYS:
        raise Conflict(
            f"You have {MOST_KEYS} keys: delete one first.", code="too_many_keys", most=MOST_KEYS
        )
    words = key.export_public_key().decode().split()
    made = SshKey(
        user=user,
        name=" ".join(name.split())[:80],
        type=words[0],
        fingerprint=key.get_fingerprint(),
        public_key=f"{words[0]} {words[1]}",
    )
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(
            "public_key: this key is in use already: add another, or delete it where it is.",
            field="public_key",
            code="key_in_use",
        ) from error
    audit.record("ssh_key.added", actor=user, subject=made.fingerprint)
    return made


def _read_public_key(text: str) -> asyncssh.SSHKey:
    text = text.removeprefix("\ufeff").strip()
    if len(text) > _MOST_LETTERS:
        raise _refuse("this is too long for one public key: paste one.")
    if _PRIVATE.search(text):
        raise _refuse(
            "this is a private key, which nobody but you should have: paste the file that ends "
            "in .pub.",
            code="private_key",
        )
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > 1 and not text.startswith(("-----BEGIN", "---- BEGIN")):
        raise _refuse("paste one key at a time.", code="several_keys")
    if _CERTIFICATE.match(text):
        raise _refuse("this is a certificate: paste the public key that it was made for.")
    if text.startswith(tuple(_WEAK)):  # not every build of the libraries reads them at all
        raise _refuse(_DSA)
    try:
        key = asyncssh.import_public_key("\n".join(lines) + "\n")
    except (asyncssh.KeyImportError, ValueError, TypeError, IndexError) as error:
        raise _refuse(f"this is no public key: paste a line that begins with {_KINDS}.") from error
    kind = key.get_algorithm()
    if kind in _WEAK:
        raise _refuse(_DSA)
    if kind == "ssh-rsa" and _count_rsa_bits(key) < _LEAST_RSA_BITS:
        raise _refuse("RSA keys need 2048 bits: make one with `ssh-keygen -t ed25519`.")
    return key


def _count_rsa_bits(key: asyncssh.SSHKey) -> int:
    """Return the size of the modulus, by its own field of the key's wire format (RFC 4253, 6.6)."""
    data, parts = key.public_data, []
    while data:
        size = int.from_bytes(data[:4], "big")
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return int.from_bytes(parts[2], "big").bit_length()


def _find_comment(key: asyncssh.SSHKey) -> str:
    try:
        return str(key.get_comment() or "")
    except UnicodeDecodeError:
        return ""


def _refuse(sentence: str, *, code: str = "bad_ssh_key") -> BadInput:
    return BadInput(f"public_key: {sentence}", field="public_key", code=code)
