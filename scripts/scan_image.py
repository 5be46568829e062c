"""Look through a built image for what should not be in it, and say how large its layers are.

    python scripts/scan_image.py IMAGE [BASE]

What everybody may write to, what runs as another user without being known to, keys and tokens: in
all layers, for what a later one removes is still there to be read; those of BASE are left out. Exit
1 with one line for each finding.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

# Debian's own; no-new-privileges keeps all of them from working in a machine.
KNOWN_SETUID = {
    *("usr/bin/chage", "usr/bin/chfn", "usr/bin/chsh", "usr/bin/crontab", "usr/bin/expiry"),
    *("usr/bin/gpasswd", "usr/bin/mount", "usr/bin/newgrp", "usr/bin/passwd", "usr/bin/ssh-agent"),
    *("usr/bin/su", "usr/bin/umount", "usr/bin/wall", "usr/bin/write", "usr/sbin/unix_chkpwd"),
    *("usr/lib/dbus-1.0/dbus-daemon-launch-helper", "usr/lib/openssh/ssh-keysign"),
    "usr/lib/x86_64-linux-gnu/utempter/utempter",
}
SECRETS = {
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{100,}",
    "a token of a studio": rb"\b(?:ath|mach|node)_[A-Za-z0-9_-]{43}\b",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})\b",
    "a token of GitLab": rb"\bglpat-[A-Za-z0-9_-]{20}\b",
    "a token of Hugging Face": rb"\bhf_[A-Za-z]{34}\b",
    "a token of npm": rb"\bnpm_[A-Za-z0-9]{36}\b|:_authToken=[A-Za-z0-9_.-]{20,}",
    "a token of PyPI": rb"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    "a key of OpenAI's kind": rb"\bsk-(?:proj-)?[A-Za-z0-9_-]{40,}\b",
    "a key of AWS": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b(?!EXAMPLE)",
    "a token of Slack": rb"\bxox[abpr]-[0-9]{10,}-[A-Za-z0-9-]{20,}",
}
PASSWORD = re.compile(rb"https?://[A-Za-z0-9._%-]+:[A-Za-z0-9._%-]{4,}@[a-z0-9.-]+")
"""Of a registry, where settings are; documentation is full of such addresses."""
# Names under which only secrets are kept, whatever they hold.
SECRET_NAMES = re.compile(
    r"(^|/)(\.netrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)|ssh_host_\w+_key"
    r"|\.docker/config\.json|\.env|credentials\.json)$"
)
_SETTINGS = re.compile(r"(etc|root|home/[^/]+)/")
# The keys that packages' own tests are made with are known to all the world.
_PUBLISHED = re.compile(r"(^|/)(node_modules|site-packages)/.*/(tests?|fixtures)/")
_SIGNS = (b"PRIVATE KEY-----", b"ath_", b"mach_", b"node_", b"gh", b"glpat-", b"hf_", b"npm_")
_SIGNS += (b"_authToken=", b"pypi-Ag", b"sk-", b"AKIA", b"ASIA", b"xox")
_READ_BYTES = 2 * 2**20  # what is larger is a program or data
_HEAD_BYTES = 1024


@dataclass(frozen=True)
class Finding:
    """Something that should not be there."""

    path: str
    what: str


def main(words: list[str]) -> int:
    """Scan the image that is named; return how it went."""
    if not 1 <= len(words) <= 2 or words[0].startswith("-"):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        findings = scan_image(*words)
        for size, command in list_layers(words[0]):
            print(f"{size:>9}  {command}")
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)}: {error.stderr.decode().strip()}", file=sys.stderr)
        return 1
    for each in findings:
        print(f"{each.path}: {each.what}")
    return 1 if findings else 0


def scan_image(image: str, base: str = "") -> list[Finding]:
    """Return what is amiss in an image of the Docker engine that DOCKER_HOST names."""
    told = json.loads(_call("docker", "image", "inspect", image))[0]
    history = _call("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    found = []
    for where, text in (("Env", "\n".join(told["Config"]["Env"])), ("history", history)):
        found += [Finding(where, what) for what in find_secrets(text.encode(), is_setting=True)]
    modes: dict[str, list[Finding]] = {}
    for layer, is_known in list_contents(image, base):
        lay_over(modes, layer)
        if not is_known:
            found += scan_contents(layer)
    found += [each for findings in modes.values() for each in findings]
    return sorted(set(found), key=lambda each: (each.path, each.what))


def list_contents(image: str, base: str) -> Iterator[tuple[tarfile.TarFile, bool]]:
    """Yield an image's layers, the lowest first, and whether it is of another it is built on."""
    num_known = 0
    if base:
        told = _call("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", base)
        num_known = len(json.loads(told))
    with tempfile.NamedTemporaryFile() as saved:
        _call("docker", "save", "--output", saved.name, image)
        with tarfile.open(saved.name) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            for index, name in enumerate(json.load(manifest)[0]["Layers"]):
                with tarfile.open(fileobj=tar.extractfile(name)) as layer:
                    yield layer, index < num_known


def lay_over(modes: dict[str, list[Finding]], layer: tarfile.TarFile) -> None:
    """Have `modes` be what is amiss with one more layer on top (OCI's image-spec, layer.md)."""
    for member in layer:
        path = member.name.removeprefix("./")
        folder, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":  # the folder begins anew, and is itself in this layer
            _forget(modes, folder)
        elif name.startswith(".wh."):
            _forget(modes, f"{folder}/{name.removeprefix('.wh.')}".removeprefix("/"))
        else:
            modes.pop(path, None)
    for finding in scan_modes(layer):
        modes.setdefault(finding.path, []).append(finding)


def _forget(modes: dict[str, list[Finding]], path: str) -> None:
    for each in [each for each in modes if f"{each}/".startswith(f"{path}/")]:
        del modes[each]


def scan_modes(tar: tarfile.TarFile) -> Iterator[Finding]:
    """Yield what everybody may write to, and what runs as another user and is not known to."""
    for member in tar:
        path = member.name.removeprefix("./")
        if member.issym() or member.islnk() or member.ischr() or member.isblk():
            continue
        is_sticky_folder = member.isdir() and member.mode & 0o1000
        if member.mode & 0o002 and not is_sticky_folder:
            yield Finding(path, "everybody may write to it")
        if member.isfile() and member.mode & 0o6000 and path not in KNOWN_SETUID:
            yield Finding(path, "it runs as another user or group")


def scan_contents(tar: tarfile.TarFile) -> Iterator[Finding]:
    """Yield the keys and tokens that files hold."""
    for member in tar:
        path = member.name.removeprefix("./")
        if not member.isfile():
            continue
        if SECRET_NAMES.search(path) and member.size:
            yield Finding(path, "secrets are kept in a file of this name")
        if member.size > _READ_BYTES or _PUBLISHED.search(path):
            continue
        file = tar.extractfile(member)
        head = b"" if file is None else file.read(_HEAD_BYTES)
        if file is not None and b"\0" not in head:
            is_setting = bool(_SETTINGS.match(path))
            for what in find_secrets(head + file.read(), is_setting=is_setting):
                yield Finding(path, what)


def find_secrets(text: bytes, *, is_setting: bool = False) -> Iterator[str]:
    """Yield what kinds of secrets a text has; in a setting, an address with a password too."""
    if any(sign in text for sign in _SIGNS):
        yield from (what for what, sign in SECRETS.items() if re.search(sign, text))
    if is_setting and PASSWORD.search(text):
        yield "a password in an address"


def list_layers(image: str) -> Iterator[tuple[str, str]]:
    """Yield the size of each layer that has one, and what made it; and the whole's."""
    told = _call("docker", "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    for line in told.splitlines():
        size, _, command = line.partition("\t")
        if size != "0B":
            yield size, " ".join(command.split())[:100]
    size = int(_call("docker", "image", "inspect", "--format", "{{.Size}}", image))
    yield f"{size / 1e9:.2f}GB", "in all"


def _call(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=False).stdout.decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
