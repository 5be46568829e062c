"""The engine proper: does what a run directory's spec says, as the recorder's child.

The outermost frame of a run: every error ends here and becomes a status with a reason.
"""

import errno
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from engine.emitter import Emitter, pipe_sink
from engine.errors import EngineError, StopRequested, WorkEnded
from engine.ranks import is_first_rank, start_others
from engine.runtime import prepare_output, prepare_process, read_event_fd
from engine.sentences import RUN_SENTENCES
from engine.spec_file import explain_problems
from engine.specs import CONTAINABLE, JOB_SPEC, JobSpec, Placement, ScriptSpec, ServeSpec, TrainSpec
from engine.status import Reason, Status
from engine.stopping import StopGate
from engine.verdict import final_status

# Kind of spec -> module and function that does it, loaded when asked for: each brings libraries.
KINDS: dict[str, tuple[str, str]] = {
    "train": ("engine.train.run", "train"),
    "quantize": ("engine.quantize.run", "quantize"),
    "serve": ("engine.serve.run", "serve"),
    "script": ("engine.script.run", "run_script"),
    "inspect": ("engine.data.inspect", "run_inspect"),
}
_SHUT_IN = ("engine.shut_in", "run_shut_in")
Verb = Callable[[JobSpec, Placement, Emitter, StopGate], None]
"""Does a run, emits what happens, and shields from the gate what must not be left half done."""


def work(run_dir: Path) -> int:
    """Do the run in `run_dir` and return the exit status of the process."""
    prepare_output()
    fd = read_event_fd()
    emitter = Emitter(pipe_sink(fd) if fd is not None else None)
    gate = StopGate()
    gate.listen()
    is_apart, others = False, None
    try:
        spec, placement = _read_orders(run_dir)
        is_apart = isinstance(spec, ScriptSpec) or bool(placement.carrier)
        if (count := _count_processes(spec)) > 1 and not is_apart:
            num_threads = placement.num_threads or (os.cpu_count() or 1)
            others = start_others(run_dir, count, num_threads, functools.partial(_fail, emitter))
        prepare_process(placement.num_threads)
        if not is_apart and is_first_rank():  # what runs in a container has the log to itself
            print(f"Engine process {os.getpid()}: loading libraries to {spec.kind}", flush=True)
        _load_verb(spec, placement)(spec, placement, emitter, gate)
    except StopRequested:
        if not is_apart:
            print("Stopped as asked.", flush=True)
        emitter.status(Status.STOPPED, Reason.STOPPED_BY_OWNER)
        return 0
    except WorkEnded as ended:
        emitter.status(final_status(ended.reason), ended.reason, ended.message)
        return ended.exit_code
    except EngineError as error:
        return _fail(emitter, error.reason, error.message)
    except MemoryError:
        traceback.print_exc()
        return _fail(emitter, Reason.OUT_OF_MEMORY, _MEMORY_MEND)
    except Exception as error:  # the outermost frame: whatever is left is ours
        traceback.print_exc()
        cause = others.explain(error) if others else None
        return _fail(emitter, *(cause or _classify(error)))
    finally:
        if others:
            others.end()
    emitter.status(Status.SUCCEEDED, Reason.COMPLETED)
    return 0


def _count_processes(spec: JobSpec) -> int:
    if isinstance(spec, TrainSpec):
        return spec.parallel.num_processes
    if isinstance(spec, ServeSpec) and spec.backend == "native":
        return spec.tensor_parallel
    return 1


_MEMORY_MEND = RUN_SENTENCES.say("memory_ran_out")


def _read_orders(run_dir: Path) -> tuple[JobSpec, Placement]:
    try:
        spec = JOB_SPEC.validate_json((run_dir / "spec.json").read_bytes())
        placement = Placement.model_validate_json((run_dir / "placement.json").read_bytes())
    except ValidationError as error:
        raise EngineError(Reason.BAD_SPEC, " ".join(explain_problems(error))) from error
    except OSError as error:
        raise EngineError(Reason.BAD_SPEC, f"The run directory is incomplete: {error}") from error
    return spec, placement


def _load_verb(spec: JobSpec, placement: Placement) -> Verb:
    is_shut_in = isinstance(spec, CONTAINABLE) and bool(placement.carrier)
    module, function = _SHUT_IN if is_shut_in else KINDS[spec.kind]
    verb: Verb = getattr(importlib.import_module(module), function)
    return verb


def _classify(error: Exception) -> tuple[Reason, str]:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Reason.DISK_FULL, RUN_SENTENCES.say("disk_full")
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return Reason.OUT_OF_MEMORY, _MEMORY_MEND
    if "can't allocate memory" in str(error):  # torch's CPU allocator raises RuntimeError
        return Reason.OUT_OF_MEMORY, _MEMORY_MEND
    message = RUN_SENTENCES.say("engine_failed", error=type(error).__name__)
    return Reason.INTERNAL_ERROR, message


def _fail(emitter: Emitter, reason: Reason, message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    emitter.status(Status.FAILED, reason, message)
    return 1
