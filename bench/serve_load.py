"""Servers under load, for bench/serve.py: 16 clients over HTTP, and many adapters beside one.

Clients take turns at prompts of different lengths until a number of answers is there, each as long
as the model makes it, up to a bound. What counts is pieces of text a second of all together, and
every server here sends one for each token; and how long an answer's first piece takes to come while
the other clients' answers are written.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.serve_arms import find_path

NUM_CLIENTS = 16
NUM_ANSWERS = 48
NUM_TOKENS = 48
_START_S = 300.0
_TEXT = "The kiln is warm and the glaze runs slowly over the rim of the bowl. "
_RANK = 8


@dataclass(frozen=True)
class Load:
    """How a server bore it."""

    tokens_per_s: float
    first_token_s: list[float]
    """Of each answer, from its question to its first piece of text."""


def measure_server(server: str, model: Path) -> Load | None:
    """Put a load on a server; None where it does not come up."""
    with start_server(server, model) as url:
        if url is None:
            return None
        if server == "transformers-serve":
            name = str(model)  # its list is of what lies in a cache, not of what it serves
        else:
            name = httpx.get(f"{url}/v1/models").json()["data"][0]["id"]
        asyncio.run(load(url, [name], num_answers=2))
        return asyncio.run(load(url, [name]))


def measure_adapters(model: Path, *, rounds: int) -> dict[str, float]:
    """Return tokens a second of 16 streams that share one adapter, and of 16 out of 100."""
    with tempfile.TemporaryDirectory() as folder:
        adapters = [save_adapter(model, Path(folder) / f"a{index}") for index in range(100)]
        with start_server("ours-gguf", model) as url:
            assert url is not None
            names = [path.name for path in adapters]
            for path in adapters:
                body = {"lora_name": path.name, "lora_path": str(path)}
                httpx.post(f"{url}/v1/load_lora_adapter", json=body, timeout=120).raise_for_status()
            asyncio.run(load(url, names[:1], num_answers=2))
            found: dict[str, list[float]] = {"adapters1": [], "adapters100": []}
            for _ in range(rounds):
                found["adapters1"].append(asyncio.run(load(url, names[:1])).tokens_per_s)
                found["adapters100"].append(asyncio.run(load(url, names)).tokens_per_s)
    return {name: statistics.median(values) for name, values in found.items()}


async def load(url: str, names: list[str], *, num_answers: int = NUM_ANSWERS) -> Load:
    """Ask with 16 clients."""
    wanted = iter(range(num_answers))
    timeout = httpx.Timeout(600)
    async with httpx.AsyncClient(base_url=url, timeout=timeout) as client:

        async def work() -> None:
            for index in wanted:
                prompt = f"{index} " + _TEXT * (1 + index % 8) + "Go on."
                body = {
                    "model": names[index % len(names)],
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": NUM_TOKENS,
                    "temperature": 0,
                    "stream": True,
                }
                pieces.extend(await read_answer(client, body))

        pieces: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(NUM_CLIENTS)))
        took = time.perf_counter() - began
    return Load(len(pieces) / took, [wait for wait in pieces if wait])


async def read_answer(client: httpx.AsyncClient, body: dict[str, Any]) -> list[float]:
    """Return a number for each piece of text: how long the first took to come, and 0."""
    pieces: list[float] = []
    asked = time.perf_counter()
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and '"content":"' in line and '"content":""' not in line:
                pieces.append(0.0 if pieces else time.perf_counter() - asked)
    return pieces


@contextmanager
def start_server(server: str, model: Path) -> Iterator[str | None]:
    port = free_port() if server != "transformers-serve" else 8733
    command = [sys.executable, *make_command(server, model, port)]
    env = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            yield url if wait_up(url, process) else None
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def make_command(server: str, model: Path, port: int) -> list[str]:
    if server == "transformers-serve":
        arguments = ["serve", "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
        script = "from transformers.cli.transformers import main; main()"
        return ["-c", script, *arguments, "--continuous-batching", str(model)]
    precision = server.removeprefix("ours-")
    spec = Path(tempfile.mkdtemp()) / "serve.yaml"
    lines = [f"model: {find_path(precision, model)}", "max_context: 2048", "max_running: 16"]
    spec.write_text("\n".join(lines) + "\n")
    run_dir = spec.parent / "run"
    where = ["--port", str(port), "--threads", "2", "--run-dir", str(run_dir)]
    return ["-m", "engine", "serve", str(spec), *where]


def wait_up(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    return False


def save_adapter(model: Path, folder: Path) -> Path:
    """Write a random adapter of all linear layers, in peft's layout."""
    import json

    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model)
    hidden, wide = config.hidden_size, config.intermediate_size
    narrow = config.num_key_value_heads * config.head_dim
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    tensors = {}
    for layer in range(config.num_hidden_layers):
        for name, (outputs, inputs) in shapes.items():
            head = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{head}.lora_A.weight"] = 0.02 * torch.randn(_RANK, inputs)
            tensors[f"{head}.lora_B.weight"] = 0.02 * torch.randn(outputs, _RANK)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    names = [name.rpartition(".")[2] for name in shapes]
    settings = {"peft_type": "LORA", "r": _RANK, "lora_alpha": _RANK, "target_modules": names}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
