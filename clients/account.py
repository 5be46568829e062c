"""Which studio the command speaks to, and as whom: the environment, the machine it runs in, a file.

The file is `$XDG_CONFIG_HOME/athanor/account.json`, readable by its owner alone.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

MACHINE_TOKEN = Path("/run/athanor/token")
"""Where a dev machine has its owner's token; ATHANOR_TOKEN_FILE says otherwise."""

_FILE = "account.json"


class NoAccount(Exception):
    """Nobody is signed in here, or an address is none; the message says what to do."""


@dataclass(frozen=True)
class Account:
    """A studio's address and a token for it."""

    url: str
    token: str


def find_account(
    environ: Mapping[str, str] | None = None, machine_token: Path = MACHINE_TOKEN
) -> Account:
    """Return the account of the environment, else of the machine, else of the file.

    Raises:
        NoAccount: there is none, or only half of one.
    """
    env = os.environ if environ is None else environ
    url, token = env.get("ATHANOR_URL", "").strip(), env.get("ATHANOR_TOKEN", "").strip()
    if url and not token:
        token = _read_text(Path(env.get("ATHANOR_TOKEN_FILE", "").strip() or machine_token))
    if url and token:
        return Account(check_url(url), check_token(token))
    if token:
        raise NoAccount(
            "ATHANOR_TOKEN is set and ATHANOR_URL is not: set it to the studio's address."
        )
    kept = _read_kept(find_folder(env) / _FILE)
    if kept is None:
        raise NoAccount("Nobody is signed in: run `athanor login URL`.")
    return kept


def keep_account(account: Account, environ: Mapping[str, str] | None = None) -> Path:
    """Write the account to the file and return where that is."""
    path = find_folder(os.environ if environ is None else environ) / _FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(account), file)
    partial.replace(path)
    return path


def forget_account(environ: Mapping[str, str] | None = None) -> bool:
    """Remove the file; say whether there was one."""
    path = find_folder(os.environ if environ is None else environ) / _FILE
    was_there = path.exists()
    path.unlink(missing_ok=True)
    return was_there


def check_url(url: str) -> str:
    """Return a studio's address without a slash at its end.

    Raises:
        NoAccount: it is none.
    """
    clean = url.strip().rstrip("/")
    try:
        parts = urlsplit(clean)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not clean.isprintable() or " " in clean:
        raise NoAccount(
            f"{url[:80]!r} is no address: write one such as https://studio.example.org."
        )
    return clean


def check_token(token: str) -> str:
    """Return a token without what was pasted around it.

    Raises:
        NoAccount: it can be none.
    """
    clean = token.strip()
    if not re.fullmatch(r"[!-~]{1,1000}", clean):
        raise NoAccount("That is no API token: Profile > API tokens in the studio makes one.")
    return clean


def find_folder(env: Mapping[str, str]) -> Path:
    """Return the folder in which the command keeps what it must remember."""
    base = env.get("XDG_CONFIG_HOME", "").strip()
    folder = Path(base) if base else Path(env.get("HOME", "~")).expanduser() / ".config"
    return folder / "athanor"


def _read_kept(path: Path) -> Account | None:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return Account(check_url(str(body["url"])), check_token(str(body["token"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, NoAccount) as error:
        raise NoAccount(f"{path} cannot be read: run `athanor login URL` again.") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
