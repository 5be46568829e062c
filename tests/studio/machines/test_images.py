"""Images are registered by what cannot change, by operators alone."""

import pytest
from django.core.management import CommandError, call_command

from studio.core.errors import BadInput, Forbidden
from studio.machines.images import register_image
from studio.machines.models import Image

pytestmark = pytest.mark.django_db
PINNED = "sha256:" + "a" * 64


def test_the_command_adds_lists_and_retires(capsys):
    call_command("machine_image", "add", "base", PINNED, "--tool", "vscode=8080")
    call_command("machine_image", "list")
    assert "vscode=8080" in capsys.readouterr().out
    assert Image.objects.get().tools == {"vscode": 8080}
    call_command("machine_image", "retire", "base")
    assert not Image.objects.get().is_active
    call_command("machine_image", "add", "base", PINNED, "--flavor", "cpu-1")
    image = Image.objects.get()
    assert image.is_active and [flavor.name for flavor in image.flavors.all()] == ["cpu-1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "A b"}, "name"),
        ({"reference": "athanor/machine:latest"}, "reference"),
        ({"reference": "--privileged"}, "reference"),
        ({"tools": {"x": 70000}}, "tools"),
        ({"flavors": ["none"]}, "flavors"),
        ({"idle_s": -1}, "idle_s"),
        ({"idle_s": 10**7}, "idle_s"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(change, field):
    with pytest.raises(BadInput) as refusal:
        register_image(by=None, **({"name": "base", "reference": PINNED} | change))
    assert refusal.value.field == field


def test_members_register_none(alice):
    with pytest.raises(Forbidden):
        register_image(by=alice, name="base", reference=PINNED)
    with pytest.raises(CommandError, match="there is no image"):
        call_command("machine_image", "retire", "base")
    with pytest.raises(CommandError, match="NAME=PORT"):
        call_command("machine_image", "add", "base", PINNED, "--tool", "vscode")
