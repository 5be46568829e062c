"""LMDeploy as a backend: its own server in its own environment, asked over HTTP.

LMDeploy pins torch and more tighter than we do, so it lives in an environment of its own, which
`python -m engine lmdeploy install DIR` makes. Its flags change between versions: they are read from
its own `--help`, never assumed.
"""

import re
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import psutil

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo
from engine.runtime import copy_environment
from engine.serve.backend import ChatRequest, RequestRefused, TextRequest
from engine.serve.backends.line import WaitingLine
from engine.serve.backends.lmdeploy_words import write_lmdeploy_body
from engine.serve.backends.remote import RemoteBackend, make_client
from engine.specs import Placement, ServeSpec
from engine.status import Reason

VERSION = "0.18.0"  # the one that the recorded contract is of
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_NEEDED = ("--server-name", "--server-port", "--model-name")
_START_S = 1800.0  # tens of gigabytes of weights from a slow disk
_LOOK_EVERY_S = 0.5
_HELP_S = 300.0
_STOP_S = 3.0
_LINES_TOLD = 20
# What the spec says -> LMDeploy's word.
_DTYPES = {"bf16": "bfloat16"}
_KV_BITS = {"int8": "8", "int4": "4"}
_ITS_OWN_STEP = ServeSpec.model_fields["max_batch_tokens"].default


def open_lmdeploy(spec: ServeSpec, placement: Placement, emitter: Emitter) -> "LmdeployBackend":
    """Start LMDeploy's server on a port of its own and return when it answers.

    Raises:
        EngineError: its environment or the model cannot be used; with the end of what it printed.
    """
    program = find_program(placement.lmdeploy_dir)
    flags = probe_flags(program)
    folder = fetch_repo(spec.model, "model", placement, emitter).path
    adapters = {ref: fetch_repo(ref, "model", placement, emitter).path for ref in spec.adapters}
    port = _find_free_port()
    command = [str(program), *build_arguments(spec, flags, folder, adapters, port=port)]
    emitter.progress("load", 0, 1, unit="model")
    server = _Server(command, placement)
    try:
        backend = LmdeployBackend(spec, server, port)
        backend.wait()
    except BaseException:
        server.stop()
        raise
    emitter.progress("load", 1, 1, unit="model")
    return backend


def find_program(folder: Path | None) -> Path:
    """Return the program in an environment.

    Raises:
        EngineError: there is none.
    """
    if folder is None:
        raise EngineError(
            Reason.BAD_SPEC,
            "backend: lmdeploy needs its environment: make it with `python -m engine lmdeploy "
            "install DIR` and name it with --lmdeploy DIR.",
        )
    program = folder / "bin" / "lmdeploy"
    if not program.is_file():
        raise EngineError(
            Reason.BAD_SPEC,
            f"{folder} has no bin/lmdeploy: make it with `python -m engine lmdeploy install "
            f"{folder}`.",
        )
    return program


def probe_flags(program: Path) -> frozenset[str]:
    """Return the flags that this version's `serve api_server` names in its help.

    Raises:
        EngineError: it cannot be run, or lacks what we cannot do without.
    """
    command = [str(program), "serve", "api_server", "--help"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_HELP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(Reason.BAD_SPEC, f"{program} cannot be run: {error}.") from error
    flags = frozenset(_FLAG.findall(done.stdout))
    missing = [flag for flag in _NEEDED if flag not in flags]
    if done.returncode or missing:
        why = f"it lacks {missing[0]}" if not done.returncode else done.stderr.strip()[-300:]
        raise EngineError(
            Reason.BAD_SPEC,
            f"{program} is no LMDeploy that we know: {why}; install {VERSION} beside it.",
        )
    return flags


def build_arguments(
    spec: ServeSpec,
    flags: frozenset[str],
    folder: Path,
    adapters: Mapping[str, Path],
    *,
    port: int,
) -> list[str]:
    """Return the arguments that serve a spec, of the flags that there are.

    Raises:
        EngineError: the spec asks for something that this version has no flag for.
    """
    wanted = {
        "--server-name": ["127.0.0.1"],
        "--server-port": [str(port)],
        "--model-name": [spec.model],
        **_list_settings(spec),
    }
    if adapters:
        wanted["--backend"] = ["pytorch"]  # TurboMind serves no adapters
        wanted["--adapters"] = [f"{name}={path}" for name, path in adapters.items()]
    if "--logprobs-mode" in flags:  # of the PyTorch engine, which tells none without it
        wanted["--logprobs-mode"] = ["raw_logprobs"]
    arguments = ["serve", "api_server", str(folder)]
    for flag, values in wanted.items():
        if flag not in flags:
            raise EngineError(
                Reason.BAD_SPEC, f"This LMDeploy has no {flag}; install {VERSION} beside it."
            )
        arguments += [flag, *values]
    return arguments


def _list_settings(spec: ServeSpec) -> dict[str, list[str]]:
    """Return the flags of what the spec says of its model; the spec refused what has none."""
    settings = {
        "--session-len": [str(spec.max_context)],
        "--dtype": [_DTYPES[spec.precision]],
        "--max-batch-size": [str(spec.max_running)],
    }
    if spec.tensor_parallel > 1:
        settings["--tp"] = [str(spec.tensor_parallel)]
    if spec.kv_precision != "full":
        settings["--quant-policy"] = [_KV_BITS[spec.kv_precision]]
    if spec.has_prefix_cache:
        settings["--enable-prefix-caching"] = []
    if spec.max_batch_tokens != _ITS_OWN_STEP:  # ours is measured on ours, and slow on its
        settings["--max-prefill-token-num"] = [str(spec.max_batch_tokens)]
    return settings


def choose_devices(shown: str | None, devices: Sequence[int]) -> str:
    """Return what a process is shown of the GPUs that this one is shown; None is all of them."""
    known = shown.split(",") if shown is not None else None
    return ",".join(known[index] if known else str(index) for index in devices)


class LmdeployBackend(RemoteBackend):
    """Asks the server that it started; closing it ends that server."""

    def __init__(self, spec: ServeSpec, server: "_Server", port: int) -> None:
        client = make_client(f"http://127.0.0.1:{port}/v1", None)
        super().__init__(
            client,
            spec.model,
            spec.adapters,
            max_context=spec.max_context,
            engine="lmdeploy",
            line=WaitingLine(spec.max_waiting, spec.max_waiting_of_tenant),
            is_alive=server.is_alive,
        )
        self._server = server
        self._has_pytorch_engine = bool(spec.adapters)

    def wait(self) -> None:
        """Return when the server has its model.

        Raises:
            EngineError: it ended, or took too long; with the end of what it printed.
        """
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if not self._server.is_alive():
                raise EngineError(
                    Reason.BAD_MODEL, f"LMDeploy ended while it loaded:\n{self._server.tail()}"
                )
            try:
                self.find_base()
            except (httpx.HTTPError, RequestRefused):
                time.sleep(_LOOK_EVERY_S)
            else:
                return
        raise EngineError(
            Reason.BAD_MODEL,
            f"LMDeploy did not answer within {_START_S:.0f} s:\n{self._server.tail()}",
        )

    def tokenize(self, request: ChatRequest | TextRequest) -> list[int]:
        """Ask for a text's token ids; see `Backend.tokenize`."""
        if isinstance(request, ChatRequest):
            raise _make_refusal("LMDeploy tells no tokens of messages: send prompt.", "messages")
        if isinstance(request.prompt, tuple):
            return list(request.prompt)
        return list(self._post("/encode", {"input": request.prompt})["input_ids"])

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """Refuse: it has no door for it."""
        raise _make_refusal("LMDeploy turns no tokens into text.", "tokens")

    def load_adapter(self, name: str, ref: str) -> None:
        """Refuse what is not there: it loads adapters as it starts."""
        if name not in {model.name for model in self.list_models()}:
            raise _make_refusal(
                "LMDeploy loads adapters as it starts: name it in adapters.", "lora_name"
            )

    def unload_adapter(self, name: str) -> None:
        """Refuse: it keeps its adapters."""
        raise _make_refusal("LMDeploy keeps the adapters that it loads as it starts.", "lora_name")

    def close(self, drain_s: float = 0.0) -> None:
        """Wait up to `drain_s` for what is under way, then end the server."""
        super().close(drain_s)
        self._server.stop()

    def _write_body(self, request: ChatRequest | TextRequest) -> dict[str, Any]:
        return write_lmdeploy_body(request, has_pytorch_engine=self._has_pytorch_engine)

    def _list_stops(self, request: ChatRequest | TextRequest) -> Sequence[str]:
        return request.sampling.stop


class _Server:
    """LMDeploy's process, whose lines go to our log and whose last ones are kept."""

    def __init__(self, command: list[str], placement: Placement) -> None:
        environment = copy_environment()
        shown = environment.get("CUDA_VISIBLE_DEVICES")
        environment["CUDA_VISIBLE_DEVICES"] = choose_devices(shown, placement.devices)
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: deque[str] = deque(maxlen=_LINES_TOLD)
        self._reader = Thread(target=self._read, name="lmdeploy log", daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def tail(self) -> str:
        self._reader.join(1)
        return "\n".join(self._lines)

    def stop(self) -> None:
        """End it and all that it started. It is in our group: the recorder ends it with us."""
        with suppress(psutil.NoSuchProcess):
            tree = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
            for process in tree:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.kill()
        self._process.wait()
        self._reader.join(1)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line.rstrip())
            print(f"lmdeploy: {line}", end="", flush=True)


def _make_refusal(message: str, field: str) -> RequestRefused:
    return RequestRefused("not_supported", message, field=field)


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
