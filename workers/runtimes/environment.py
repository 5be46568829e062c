"""The environment an engine gets: what it needs, and nothing of the node's own secrets."""

import os
from collections.abc import Sequence
from pathlib import Path

from engine import specs
from engine.specs import Placement

_KEPT = frozenset(
    {
        *("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    }
)
_SOURCE = str(Path(specs.__file__).resolve().parents[2])


def make_environment(placement: Placement, *, devices: Sequence[int] = ()) -> dict[str, str]:
    """Return the whole environment of a run. The engine learns the rest from its placement."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    threads = {"OMP_NUM_THREADS": str(placement.num_threads)} if placement.num_threads else {}
    return (
        kept
        | threads
        | _device_variables(devices)
        | {
            "PYTHONPATH": _SOURCE,  # -m engine is found from a checkout as well as from a wheel
            "PYTHONSAFEPATH": "1",  # and never in the run directory
            "PYTHONUNBUFFERED": "1",
            "HF_HOME": str((placement.cache_dir or placement.run_dir) / "huggingface"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",  # the hub moves plain files
            "TOKENIZERS_PARALLELISM": "false",
        }
    )


def _device_variables(devices: Sequence[int]) -> dict[str, str]:
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order in which NVML counts, and so the studio
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices)),
    }
