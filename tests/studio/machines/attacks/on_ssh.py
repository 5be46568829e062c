"""Attempts at the SSH gateway, with the real `ssh` and with a client that keeps no rules."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncssh

from studio.accounts.models import SshKey
from studio.accounts.ssh_keys import add_ssh_key
from tests.studio.machines.attacks.rows import Attack

IN = b"in her machine"


@dataclass
class Gate:
    """The gateway before Alice's machine, her laptop, and Bob's."""

    alice: Any
    bob: Any
    olga: Any
    hers: Any
    his: Any
    key: str

    def calm(self) -> None:
        """Bob's key is in his profile, and Alice's in hers."""
        SshKey.objects.all().delete()
        add_ssh_key(user=self.alice, public_key=self.hers.public_key)
        add_ssh_key(user=self.bob, public_key=self.his.public_key)


def comes_as(name: str, username: str, *options: str) -> Attack:
    """Make a row of a name that Bob gives, with his own key."""

    def attempt(gate: Gate) -> str:
        user = username.replace("{key}", gate.key)
        where = [*options, "-l", user, "127.0.0.1", f"echo {IN.decode()}"]
        told = gate.his.ssh(*where, timeout=20)
        return told.stdout.decode() if told.returncode == 0 or IN in told.stdout else ""

    return Attack(name, attempt)


def raw(name: str, use: Callable[[Gate], Any]) -> Attack:
    """Make a row of a client of our own; it has succeeded where it signs in."""

    def attempt(gate: Gate) -> str:
        async def go() -> str:
            try:
                async with asyncio.timeout(20):
                    return await use(gate) or ""
            except (asyncssh.Error, OSError, TimeoutError, ValueError):
                return ""

        return asyncio.run(go())

    return Attack(name, attempt)


async def sign_in(gate: Gate, **options: Any) -> str:
    kept = {"known_hosts": None, "config": None, "agent_path": None, "username": "box"}
    kept |= {"client_keys": None, "preferred_auth": "publickey"}
    async with asyncssh.connect("127.0.0.1", gate.his.port, **kept | options) as opened:
        done = await opened.run("echo in", check=False)
        return f"signed in: {done.stdout}"


def read(laptop: Any) -> asyncssh.SSHKey:
    return asyncssh.read_private_key(laptop.folder / "key")


async def certified(gate: Gate) -> str:
    own = read(gate.his)
    made = own.generate_user_certificate(own, "alice", principals=["box", "alice", "root"])
    return await sign_in(gate, client_keys=[(own, made)])


async def with_a_key_of_another_kind(gate: Gate) -> str:
    return await sign_in(gate, client_keys=[asyncssh.generate_private_key("ecdsa-sha2-nistp256")])


async def with_a_removed_key(gate: Gate) -> str:
    own = read(gate.hers)
    await asyncio.to_thread(SshKey.objects.filter(user=gate.alice).delete)
    return await sign_in(gate, client_keys=[own])


async def of_a_disabled_person(gate: Gate) -> str:
    gate.alice.is_active = False
    await asyncio.to_thread(gate.alice.save)
    try:
        return await sign_in(gate, client_keys=[read(gate.hers)])
    finally:
        gate.alice.is_active = True
        await asyncio.to_thread(gate.alice.save)


async def of_an_operator(gate: Gate) -> str:
    await asyncio.to_thread(SshKey.objects.all().delete)
    await asyncio.to_thread(add_ssh_key, user=gate.olga, public_key=gate.his.public_key)
    return await sign_in(gate, client_keys=[read(gate.his)], username=gate.key)


def listens(name: str, *options: str) -> Attack:
    """Make a row of Alice's own client, that asks for what the gateway never gives."""

    def attempt(gate: Gate) -> str:
        strict = ("-o", "ExitOnForwardFailure=yes", *options)
        told = gate.hers.ssh("box@127.0.0.1", "true", options=strict, timeout=20)
        return "" if told.returncode else told.stderr.decode() or "it was given"

    return Attack(name, attempt)


def shows(name: str, command: str, *options: str) -> Attack:
    """Make a row of a command that finds in the machine what must not be there."""

    def attempt(gate: Gate) -> str:
        told = gate.hers.ssh("box@127.0.0.1", command, options=options, timeout=20)
        return told.stdout.decode().strip()

    return Attack(name, attempt)


SSH = [
    comes_as("ssh-to-her-name", "box"),
    comes_as("ssh-to-her-key", "{key}"),
    comes_as("ssh-as-root", "root"),
    comes_as("ssh-as-alice", "alice"),
    comes_as("ssh-by-owner-and-name", "alice/box"),
    comes_as("ssh-by-name-and-owner", "box@alice"),
    comes_as("ssh-by-owner-plus-name", "alice+box"),
    comes_as("ssh-in-capitals", "BOX"),
    comes_as("ssh-by-dots", "../box"),
    comes_as("ssh-by-a-pattern", "b%"),
    comes_as("ssh-by-a-star", "*"),
    comes_as("ssh-by-a-space", "box "),
    comes_as("ssh-by-a-newline", "x\nbox"),
    comes_as("ssh-by-a-long-name", "b" * 5000),
    comes_as("ssh-by-wide-letters", "\uff42\uff4f\uff58"),
    comes_as("ssh-by-password", "box", "-o", "PreferredAuthentications=password"),
    comes_as("ssh-by-questions", "box", "-o", "PreferredAuthentications=keyboard-interactive"),
    comes_as("ssh-by-host", "box", "-o", "PreferredAuthentications=hostbased"),
    comes_as("ssh-by-nothing", "box", "-o", "PreferredAuthentications=none"),
    raw("ssh-by-no-key", lambda g: sign_in(g, preferred_auth="none")),
    raw("ssh-by-an-empty-password", lambda g: sign_in(g, password="", preferred_auth="password")),
    raw("ssh-by-a-certificate-of-his", certified),
    raw("ssh-by-an-unknown-key", with_a_key_of_another_kind),
    raw("ssh-by-a-name-with-nul", lambda g: sign_in(
        g, username="box\0", client_keys=[read(g.his)])),
    raw("ssh-by-no-name", lambda g: sign_in(g, username="", client_keys=[read(g.his)])),
    raw("ssh-by-a-removed-key", with_a_removed_key),
    raw("ssh-of-a-disabled-person", of_a_disabled_person),
    raw("ssh-of-an-operator", of_an_operator),
    listens("ssh-listens-for-all", "-R", "0.0.0.0:0:127.0.0.1:9"),
    listens("ssh-listens-on-a-socket", "-R", "/tmp/athanor-attack:127.0.0.1:9"),
    listens("ssh-listens-as-a-proxy", "-R", "127.0.0.1:0"),
    listens("ssh-makes-a-tunnel-device", "-w", "0:0"),
    shows("ssh-agent-unasked", "echo $SSH_AUTH_SOCK"),
    shows("ssh-display", "echo $DISPLAY", "-X"),
    shows("ssh-loads-a-library", "echo $LD_PRELOAD", "-o", "SetEnv=LD_PRELOAD=/root/evil.so"),
]  # fmt: skip
