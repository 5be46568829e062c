"""What `scripts/scan_image.py` finds in an image's files, and what it passes over."""

import base64
import io
import os
import tarfile

import pytest

from scripts.scan_image import Finding, find_secrets, lay_over, scan_contents, scan_modes

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64.b64encode(bytes(150)) + b"\n-----END"


def make_tar(*files: tuple[str, int, bytes]) -> tarfile.TarFile:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as tar:
        for name, mode, content in files:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode, member.size = mode, len(content)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(content))
    kept.seek(0)
    return tarfile.open(fileobj=kept)


def test_what_everybody_may_write_to_is_found_but_not_shared_folders():
    tar = make_tar(
        ("tmp/", 0o1777, b""), ("opt/x/", 0o777, b""), ("etc/y", 0o666, b""), ("etc/z", 0o644, b"")
    )
    assert [each.path for each in scan_modes(tar)] == ["opt/x", "etc/y"]


def test_what_runs_as_another_user_is_found_unless_it_is_known_to():
    tar = make_tar(("usr/bin/su", 0o4755, b""), ("opt/tool", 0o4755, b""), ("opt/g", 0o2755, b""))
    assert [each.path for each in scan_modes(tar)] == ["opt/tool", "opt/g"]


def test_modes_are_those_that_the_last_layer_leaves():
    modes: dict[str, list[Finding]] = {}
    lay_over(
        modes,
        make_tar(
            ("./run/lock/", 0o777, b""),
            *(
                (f"opt/{name}", 0o666, b"")
                for name in ("kept", "gone", "old/a", "old/b/c", "older")
            ),
            ("usr/tool", 0o4777, b""),
        ),
    )
    assert len(modes["usr/tool"]) == 2
    changes = (("opt/.wh.gone", 0, b""), ("opt/old/.wh..wh..opq", 0, b""), ("usr/.wh.tool", 0, b""))
    lay_over(modes, make_tar(("run/lock/", 0o755, b""), *changes, ("opt/old/d", 0o602, b"")))
    assert sorted(modes) == ["opt/kept", "opt/old/d", "opt/older"]


def test_keys_and_tokens_are_found_where_they_are():
    token = b"token = 'ath_" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=") + b"'"
    tests_own = "opt/python/lib/site-packages/tornado/test/test.key"
    tar = make_tar(
        ("root/key", 0o600, KEY),
        ("opt/app.py", 0o644, token),
        ("root/.netrc", 0o600, b"machine"),
        ("root/.pypirc", 0o600, b""),
        (tests_own, 0o644, KEY),
        ("opt/program", 0o755, b"\x7fELF\0" + KEY),
        ("etc/pip.conf", 0o644, b"index-url = https://me:hunter22@pypi.example.org/simple"),
        ("opt/docs.py", 0o644, b"see https://me:hunter22@pypi.example.org/simple"),
    )
    found = {each.path: each.what for each in scan_contents(tar)}
    assert found == {
        "root/key": "a private key",
        "opt/app.py": "a token of a studio",
        "root/.netrc": "secrets are kept in a file of this name",
        "etc/pip.conf": "a password in an address",
    }


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        b"a path such as math_functions_of_many_variables_and_of_one_alone_x",
        b"HF_TOKEN=hf_xxx",
        b"https://studio.example.org/a:b@c",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text):
    assert list(find_secrets(text, is_setting=True)) == []
