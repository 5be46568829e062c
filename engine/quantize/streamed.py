"""A model of which one layer at a time is in memory, in float32; its files stay where they are.

What it computes is what transformers' or our own class computes: layers get their weights when
their turn comes, and the calls that a whole pass would make of them are recorded and made again.
B windows, T positions, E hidden width, V vocabulary.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from engine.errors import EngineError
from engine.models.families import register_models
from engine.quantize.plan import LayerPlan, list_linears, plan_layer
from engine.serve.decoder.seeing import SEEING_FAMILIES, find_text_layout, take_text_config
from engine.status import Reason

register_models()

_SMALL_BYTES = 2**31  # of weights in float32: less than that stays while the base writes
_LOADED = (OSError, ValueError, KeyError, SafetensorError, StrictDataclassError)


class StreamedModel:
    """A causal model of a folder. Its layers are empty but for the one that is loaded.

    Of a model that sees as well it is the text part, as a model of its own.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Read config and file headers, and load what is not in a layer.

        Raises:
            EngineError: bad_model, for a folder that holds no such model in safetensors, or one
                whose layers are none that we quantize.
        """
        self.device = device
        self.weights = WeightFiles(folder)
        try:
            self.config = _read_config(folder)
            with init_empty_weights(include_buffers=False):
                self.model = AutoModelForCausalLM.from_config(
                    self.config, dtype=torch.float32, attn_implementation="sdpa"
                ).eval()
        except _LOADED as error:
            told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
            raise _bad(folder, told) from error
        self.layers: Any = getattr(self.model.get_decoder(), "layers", nn.ModuleList())
        named = {id(module): name for name, module in self.model.named_modules()}
        self.layer_prefix = named.get(id(self.layers), "")
        if not len(self.layers):
            raise _bad(folder, f"it has no list of layers ({self.config.model_type})")
        self.plans: list[LayerPlan] = [plan_layer(layer, self.config) for layer in self.layers]
        self._load_ends()

    @property
    def num_layers(self) -> int:
        """Layers of the stack."""
        return len(self.layers)

    @property
    def widths(self) -> set[int]:
        """Input widths of all layers that are quantized."""
        return {
            layer.get_submodule(name).in_features
            for layer, plan in zip(self.layers, self.plans, strict=True)
            for name in list_linears(plan)
        }

    @property
    def head_name(self) -> str:
        """The output head's name."""
        head = self.model.get_output_embeddings()
        return next(name for name, module in self.model.named_modules() if module is head)

    @contextmanager
    def loaded(self, index: int) -> Iterator[nn.Module]:
        """Hold a layer's weights in float32 for as long as the block runs."""
        layer = self.layers[index]
        self._fill(layer, f"{self.layer_prefix}.{index}")
        try:
            yield layer
        finally:
            _empty(layer)

    def begin(self, ids_BT: Tensor) -> tuple[Tensor, list[dict[str, Any]]]:
        """Return what enters the first layer, B x T x E, and what each layer is called with."""
        entered: list[Tensor] = []
        calls: list[dict[str, Any]] = []

        def record(hidden: Tensor, **given: Any) -> Tensor:
            entered.append(hidden)
            calls.append({k: v for k, v in given.items() if k not in _OUR_OWN})
            return hidden

        with self._replaced(record), torch.no_grad():
            self.model(input_ids=ids_BT.to(self.device), use_cache=False, logits_to_keep=1)
        return entered[0], calls

    def end(self, ids_BT: Tensor, hidden_BTE: Tensor) -> Tensor:
        """Return float32 logits, B x T x V, of what leaves the last layer."""

        def give(hidden: Tensor, **given: Any) -> Tensor:
            return hidden_BTE

        with self._replaced(give), torch.no_grad():
            out = self.model(input_ids=ids_BT.to(self.device), use_cache=False)
        logits: Tensor = out.logits.float()
        return logits

    def write_greedily(self, prompts_BT: Tensor, num_tokens: int) -> Tensor:
        """Return prompts and greedy continuations, B x (T + num_tokens).

        End tokens are gone on from like others: what is wanted is what comes first each time.
        """
        ids_BT = prompts_BT.to(self.device)
        given, cache = ids_BT, DynamicCache(config=self.config)
        with self._loading(), torch.no_grad():
            for _ in range(num_tokens):
                out = self.model(
                    input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                given = out.logits[:, -1].argmax(dim=-1, keepdim=True)
                ids_BT = torch.cat([ids_BT, given], dim=1)
        return ids_BT.cpu()

    @contextmanager
    def _replaced(self, forward: Any) -> Iterator[None]:
        for layer in self.layers:
            layer.forward = forward
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.forward

    @contextmanager
    def _loading(self) -> Iterator[None]:
        """Have each layer load itself when it is called; a small model's stay until the end."""
        stays = self.weights.count_numbers() * 4 <= _SMALL_BYTES
        if stays:
            for index, layer in enumerate(self.layers):
                self._fill(layer, f"{self.layer_prefix}.{index}")
        hooks = []
        for index, layer in enumerate(self.layers if not stays else ()):
            name = f"{self.layer_prefix}.{index}"
            hooks.append(
                layer.register_forward_pre_hook(lambda one, _, name=name: self._fill(one, name))
            )
            hooks.append(layer.register_forward_hook(lambda one, _, out: _empty(one)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for layer in self.layers:
                _empty(layer)

    def _load_ends(self) -> None:
        ends = [
            (name, module)
            for name, module in self.model.named_modules()
            if not name.startswith(f"{self.layer_prefix}.") and list(module.parameters(False))
        ]
        head = self.model.get_output_embeddings()
        for name, module in ends:
            is_tied = module is head and self.config.tie_word_embeddings
            if is_tied and f"{name}.weight" not in self.weights:
                continue
            self._fill_one(module, name)
        if self.config.tie_word_embeddings:
            head.weight = self.model.get_input_embeddings().weight

    def _fill(self, root: nn.Module, prefix: str) -> None:
        for name, module in root.named_modules():
            self._fill_one(module, f"{prefix}.{name}" if name else prefix)

    def _fill_one(self, module: nn.Module, prefix: str) -> None:
        for name, _ in list(module.named_parameters(recurse=False)):
            stored = self.weights.read(f"{prefix}.{name}")
            tensor = stored.to(self.device, torch.float32, copy=True)  # a file stays as it is
            module._parameters[name] = nn.Parameter(tensor, requires_grad=False)
        for name, buffer in list(module.named_buffers(recurse=False)):
            full = f"{prefix}.{name}"
            if full in self.weights:
                buffer = self.weights.read(full)
            module._buffers[name] = buffer.to(self.device)


def _read_config(folder: Path) -> Any:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError("it is quantized already; take the model that it was made of")
    if config.model_type in SEEING_FAMILIES:
        return take_text_config(config)
    if config.get_text_config() is not config:
        raise ValueError(
            f"{config.model_type!r} models are more than one of text, and of such are quantized "
            f"{', '.join(SEEING_FAMILIES)}"
        )
    return config


class WeightFiles:
    """The safetensors files of a folder, by tensor; of a model that sees as well, the text part's.

    A tensor's name is that in a model of text alone.
    """

    def __init__(self, folder: Path) -> None:
        """Open the headers.

        Raises:
            EngineError: bad_model, where there are none.
        """
        self._folder = folder
        self._files: dict[str, tuple[Any, str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, str] = {}
        try:
            paths = _list_files(folder)
            self.num_bytes = sum(path.stat().st_size for path in paths)
            files = [safe_open(path, framework="pt") for path in paths]
            self._take_names({name: file for file in files for name in file.keys()})  # noqa: SIM118
        except _LOADED as error:
            raise _bad(folder, f"its weights cannot be read ({error})") from error

    def _take_names(self, files: dict[str, Any]) -> None:
        layout = find_text_layout(files.__contains__)
        for stored, file in files.items():
            name = layout.name_as_text(stored) if layout else stored
            piece = file.get_slice(stored)
            if name is None:
                self.num_bytes -= _count_bytes(piece)
                continue
            self._files[name] = (file, stored)
            self._shapes[name] = tuple(piece.get_shape())
            self._dtypes[name] = piece.get_dtype()

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    @property
    def dtypes(self) -> Mapping[str, str]:
        """Number format of each tensor, in safetensors' words."""
        return self._dtypes

    def count_numbers(self) -> int:
        """Count all numbers of all tensors."""
        return sum(map(prod, self._shapes.values()))

    def read(self, name: str) -> Tensor:
        """Read one tensor as it is stored.

        Raises:
            EngineError: bad_model, when it is not there.
        """
        if name not in self._files:
            raise _bad(self._folder, f"its files lack {name}")
        file, stored = self._files[name]
        tensor: Tensor = file.get_tensor(stored)
        return tensor


# What we give a layer ourselves: no cache, or one that rounds.
_OUR_OWN = ("past_key_values", "use_cache")


def _count_bytes(piece: Any) -> int:
    bits = re.search(r"\d+", piece.get_dtype())
    return prod(piece.get_shape()) * int(bits[0] if bits else 8) // 8


def _list_files(folder: Path) -> list[Path]:
    """Return the files that are the model once: a folder may hold it in other forms too."""
    index, whole = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        return [
            folder / name
            for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))
        ]
    paths = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ValueError("there is no .safetensors file")
    return paths


def _empty(layer: nn.Module) -> None:
    for module in layer.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            module._parameters[name] = nn.Parameter(
                torch.empty_like(parameter, device="meta"), requires_grad=False
            )


def _bad(folder: Path, what: str) -> EngineError:
    return EngineError(Reason.BAD_MODEL, f"model: {folder.name} cannot be quantized: {what}.")
