"""The process around the engine: with `engine.ranks` the only reader of its environment."""

import contextlib
import ctypes
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import NoReturn

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names, of malloc.h
EVENT_FD_NAME = "ATHANOR_EVENT_FD"


def read_event_fd() -> int | None:
    """Return the file descriptor that structured events go to; None where nobody records."""
    value = os.environ.get(EVENT_FD_NAME, "")
    return int(value) if value.isdigit() else None


def copy_environment() -> dict[str, str]:
    """Return the environment that a child of this process gets."""
    return dict(os.environ)


def find_cache_folder() -> Path:
    """Return where this user's programs keep what they can make again; it need not exist yet."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return base / "athanor"


def prepare_output() -> None:
    """Write lines as they come; keep libraries' notes to their developers out of a run's log."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category)


def return_memory() -> None:
    """Give back to the system what was freed: the C library keeps it in case it is wanted again.

    What else asks for memory then sees it, and so does whoever ends a run for what it holds.
    """
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Have the C library keep freed blocks of up to 32 MiB, half a GiB of them, for the next step.

    Else each step's are mapped and zeroed anew: a twentieth of the time of a full finetune. Larger
    ones would leave holes.
    """
    with contextlib.suppress(AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        library.mallopt(_TRIM_THRESHOLD, 512 * 2**20)


def read_peak_bytes() -> int:
    """Return the most memory that this process has held at once, as Linux's `VmHWM` says it.

    `ru_maxrss` is more after a fork from a large parent: it outlives `exec`.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def leave(exit_status: int) -> NoReturn:
    """End the process at once: tearing model libraries down takes seconds that a stop has not."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_status)


def prepare_process(num_threads: int) -> None:
    """Set what model libraries read when they load: threads, and no reports to their makers.

    0 threads leaves the choice to the libraries. What is set already stays.
    """
    quiet = {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if "OMP_WAIT_POLICY" not in os.environ:
        # A waiting OpenMP thread spins for some tenths of a millisecond, which is what lies between
        # two operations, and gives its core up then: spinning on starves whatever else the node
        # runs, and sleeping at once costs a sixth of a training's speed on two cores.
        quiet |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
    if num_threads:
        quiet |= {"OMP_NUM_THREADS": str(num_threads), "MKL_NUM_THREADS": str(num_threads)}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)


def get_cache_folder() -> Path:
    """Return where this user's programs keep what can be made again; it may not exist yet."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "athanor"
