"""What PyTorch itself finds of a GPU, in the Python of the shell: the command has none."""

import json
import shutil
import subprocess
from typing import Any

from clients.api import Json

_PATIENCE_S = 120
# Asks the allocator for a little more than its part, once: it says no before it asks the driver.
_PROGRAM = """
import json, sys
try:
    import torch
except ImportError:
    print(json.dumps({"torch": None})); sys.exit()
told = {"torch": torch.__version__, "devices": []}
for index in range(torch.cuda.device_count()):
    free, total = torch.cuda.mem_get_info(index)
    here = {"index": index, "name": torch.cuda.get_device_name(index)}
    here |= {"free_mib": free >> 20, "total_mib": total >> 20, "computes": False, "fault": ""}
    here["fraction"] = getattr(torch.cuda, "get_per_process_memory_fraction", lambda i: None)(index)
    try:
        ones = torch.ones(64, 64, device=f"cuda:{index}")
        here["computes"] = bool((ones @ ones).sum().item() == 64 ** 3)
    except Exception as error:
        here["fault"] = str(error).splitlines()[0][:200]
    here["is_limited"] = None
    part = here["fraction"]
    if here["computes"] and part is not None and part < 1 and free > total * (part + 0.02):
        try:
            torch.empty(int(total * (part + 0.01)), dtype=torch.uint8, device=f"cuda:{index}")
            here["is_limited"] = False
        except torch.OutOfMemoryError:
            here["is_limited"] = True
    told["devices"].append(here)
print(json.dumps(told))
"""


def probe_devices() -> Json:
    """Have the shell's Python look; `fault` says in a sentence why nothing was seen."""
    python = shutil.which("python") or shutil.which("python3")
    if python is None:
        return {"fault": "There is no python here.", "devices": []}
    try:
        done = subprocess.run(
            [python, "-c", _PROGRAM],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        told: Any = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"fault": f"{python} did not answer for {_PATIENCE_S} s.", "devices": []}
    except (OSError, ValueError, IndexError):
        return {"fault": f"{python} could not look.", "devices": []}
    if told["torch"] is None:
        return {"fault": f"{python} has no PyTorch.", "devices": []}
    fault = "" if told["devices"] else f"PyTorch {told['torch']} sees no GPU."
    return dict(told) | {"fault": fault}


def tell_probed(device: Json) -> str:
    """Return one sentence about a device that PyTorch sees."""
    said = f"GPU {device['index']}, {device['name']}: "
    if not device["computes"]:
        return f"{said}it cannot compute: {device['fault'] or 'the result was wrong'}."
    said += f"it computes, {device['free_mib']:,} of {device['total_mib']:,} MiB are free"
    if device["fraction"] is not None and device["fraction"] < 1:
        said += f", PyTorch keeps to {device['fraction']:.0%}"
        if device["is_limited"] is not None:
            said += ", as it has shown" if device["is_limited"] else ", and DID NOT"
    return f"{said}."
