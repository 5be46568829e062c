"""Which of a machine's tools its owner had open, so that a page can offer them at the next start.

Kept by the start they were opened in: `{"start": 3, "opened": [...], "before": [...]}`, where
`before` is what was open in the start before that. A tool is its name, a port its number.
"""

from typing import Any

from django.db import transaction

from studio.accounts.models import User
from studio.machines.models import Machine

TERMINAL = "terminal"
_MOST = 12


def note_tab(user: User, key: str, name: str) -> None:
    """Note that somebody opens a tool or a port; only of the machine's owner it is kept."""
    machine = Machine.objects.filter(key=key, owner=user).first()
    if machine is None or name in _opened_now(machine):
        return
    with transaction.atomic():
        locked = Machine.objects.select_for_update(of=("self",)).get(pk=machine.pk)
        opened = _opened_now(locked)
        before = locked.tabs.get("before", []) if opened else locked.tabs.get("opened", [])
        if name not in opened and len(opened) < _MOST:
            tabs = {"start": locked.start, "opened": [*opened, name], "before": before}
            Machine.objects.filter(pk=locked.pk).update(tabs=tabs)


def name_port(machine: Machine, port: int) -> str:
    """Return the name of the tool at a port, or the number itself."""
    tools = machine.image.ordered_tools
    return next((name for name, number in tools.items() if number == port), str(port))


def list_last_tabs(machine: Machine) -> list[dict[str, Any]]:
    """Return what was open when it last went and is not open yet: name, and port where it has one.

    Of a stopped machine that is what was open in its last start.
    """
    tabs, tools = machine.tabs or {}, machine.image.ordered_tools
    names = tabs.get("opened", [])
    if tabs.get("start") == machine.start and machine.status not in {"stopped", "stopping"}:
        names = [name for name in tabs.get("before", []) if name not in names]
    found = []
    for name in names:
        port = tools.get(name) or (int(name) if name.isdigit() else None)
        if port or name == TERMINAL:  # its image has it still
            found.append({"name": name, "port": port})
    return found


def _opened_now(machine: Machine) -> list[str]:
    tabs = machine.tabs or {}
    return list(tabs.get("opened", [])) if tabs.get("start") == machine.start else []
