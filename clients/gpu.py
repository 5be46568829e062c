"""`athanor gpu`: which GPUs there are here, how much of them one has, and what they are doing."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from clients.api import Json
from clients.gpu_probe import probe_devices, tell_probed
from clients.terminal import AsJson, say, show, show_table

_MOCK = "MOCK-"
_FIELDS = ("index", "uuid", "name", "memory_total_mib", "memory_used_mib", "busy_percent")
_QUERY = "index,uuid,name,memory.total,memory.used,utilization.gpu"
_PATIENCE_S = 20
_HOLDERS = {
    "whole": "All of it is yours.",
    "mig": "It is cut by MIG: the driver keeps every program to its part.",
    "mps": "{percent} % of the GPU is yours; MPS keeps every program to its part of the memory.",
    "nothing": (
        "{percent} % of the GPU is yours. Shares are cooperative: in this machine's own Python and "
        "its environments PyTorch keeps to its part of the memory. Other programs must be told to, "
        "and PyTorch in another Python, such as conda's, by "
        "torch.cuda.set_per_process_memory_fraction({fraction:.2f})."
    ),
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gpu")(show_gpus)


def show_gpus(
    probe: Annotated[
        bool, typer.Option("--probe", help="Have PyTorch compute on each, which takes a moment.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the GPUs that programs here may use, how much of them, and what holds them to it."""
    told = describe_devices(os.environ, _ask_driver(), _list_parts())
    if probe:
        told["probe"] = probe_devices()
    show(told, as_json, lambda: _tell(told))


def describe_devices(env: Mapping[str, str], seen: list[Json], parts: Sequence[str] = ()) -> Json:
    """Return what the environment grants, with what the driver says of it.

    `seen` are the driver's devices, `parts` the UUIDs of those that MIG has cut. ATHANOR_DEVICES
    names those that were given, as a JSON list or with commas; CUDA_VISIBLE_DEVICES, where it is
    set, leaves fewer.
    """
    given = _read_given(env.get("ATHANOR_DEVICES", ""))
    known = {device["uuid"] for device in seen} | set(parts)
    devices = [device | {"is_mock": False} for device in seen]
    devices += [
        {"uuid": each["uuid"], "name": each.get("name", ""), "is_mock": True}
        for each in given
        if each["uuid"].startswith(_MOCK) and each["uuid"] not in known
    ]
    visible = env.get("CUDA_VISIBLE_DEVICES")
    percent = env.get("ATHANOR_DEVICE_PERCENT", "")
    return {
        "devices": devices if visible is None else _keep_visible(devices, visible),
        "missing": [
            each["uuid"]
            for each in given
            if not each["uuid"].startswith(_MOCK) and each["uuid"] not in known
        ],
        "device_percent": int(percent) if percent.isascii() and percent.isdigit() else 100,
        "cuda_visible_devices": visible,
        "mig_parts": list(parts),
        "held_by": _find_holder(env, percent, parts),
    }


def _find_holder(env: Mapping[str, str], percent: str, parts: Sequence[str]) -> str:
    """Return what keeps programs to their part: `mig`, `mps`, `nothing` or, of a whole, `whole`."""
    if parts:
        return "mig"
    pipe = Path(env.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps") / "control"
    if "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT" in env and pipe.exists():
        return "mps"
    return "whole" if percent in ("", "100") else "nothing"


def _tell(told: Json) -> None:
    percent = told["device_percent"]
    if told["devices"]:
        rows = (_row(device, percent) for device in told["devices"])
        show_table(("gpu", "name", "memory", "used", "yours", "busy"), rows)
    elif told["cuda_visible_devices"] is not None:
        say("CUDA_VISIBLE_DEVICES leaves no GPU.")
    elif not told["missing"]:
        say("There is no GPU here.")
    for uuid in told["missing"]:
        say(f"{uuid} was given, and the driver does not show it.")
    if told["devices"] or told["missing"]:
        say(_HOLDERS[told["held_by"]].format(percent=percent, fraction=percent / 100))
    if "probe" in told:
        say(told["probe"]["fault"] or "\n".join(map(tell_probed, told["probe"]["devices"])))
    if any(device["is_mock"] for device in told["devices"]):
        say("A mock GPU is one in name only: nothing can compute on it.")


def _row(device: Json, percent: int) -> tuple[str, ...]:
    if device["is_mock"]:
        return (device["uuid"], device["name"] or "mock", "-", "-", "-", "-")
    total, used = device["memory_total_mib"], device["memory_used_mib"]
    return (
        str(device["index"]),
        device["name"],
        _mib(total),
        _mib(used),
        _mib(None if total is None else total * percent // 100),
        "-" if device["busy_percent"] is None else f"{device['busy_percent']} %",
    )


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size:,} MiB"


def _read_given(text: str) -> list[dict[str, str]]:
    text = text.strip()
    try:
        listed = json.loads(text) if text.startswith("[") else text.split(",")
    except ValueError:
        return []
    found = []
    for each in listed:
        fields = each if isinstance(each, dict) else {"uuid": each}
        uuid = str(fields.get("uuid", "")).strip()
        if uuid:
            found.append({"uuid": uuid, "name": str(fields.get("name", ""))})
    return found


def _keep_visible(devices: list[Json], visible: str) -> list[Json]:
    """Return the devices that CUDA_VISIBLE_DEVICES names by index or UUID, up to one it does not.

    That is how CUDA reads it: what follows a name that fits none is not seen either.
    """
    kept: list[Json] = []
    for word in filter(None, (word.strip() for word in visible.split(","))):
        found = [
            device
            for device in devices
            if str(device.get("index")) == word or device["uuid"].startswith(word)
        ]
        if not found:
            break
        kept += [device for device in found[:1] if device not in kept]
    return kept


def _ask_driver() -> list[Json]:
    said = _call_driver(f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits")
    lines = csv.reader(io.StringIO(said), skipinitialspace=True)
    return [_read_line(line) for line in lines if len(line) == len(_FIELDS)]


def _list_parts() -> list[str]:
    return re.findall(r"\(UUID: (MIG-[0-9A-Za-z/-]+)\)", _call_driver("-L"))


def _call_driver(*words: str) -> str:
    """Return what nvidia-smi says; nothing where it is missing or has no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _read_line(line: list[str]) -> Json:
    index, uuid, name, *numbers = (word.strip() for word in line)
    # A GPU that is cut in parts answers "[N/A]" to some.
    values = [int(word) if word.isascii() and word.isdigit() else None for word in numbers]
    return dict(zip(_FIELDS, [index, uuid, name, *values], strict=True))
