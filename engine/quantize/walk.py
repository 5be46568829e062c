"""Goes through a model layer by layer: calibrate, round, measure, write, forget.

At no time is more than one layer there in float32, with its inputs' second moments, a chunk of
activations and what both ends of the model hold. W windows, T positions.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.quantize.activations import Activations, InputStats
from engine.quantize.grid import Rounded, round_rows
from engine.quantize.kv import RoundingCache
from engine.quantize.layouts import pack_linear
from engine.quantize.methods import Method, Stats, describe
from engine.quantize.plan import LayerPlan, list_linears
from engine.quantize.streamed import StreamedModel
from engine.quantize.writer import CheckpointWriter
from engine.specs.quality import LayerError

BASE, QUANTIZED, GREEDY = "base", "quantized", "greedy"
KV_BITS = {"int8": 8, "int4": 4}
_CALIBRATION = "calibration"

Tell = Callable[[LayerError, float], None]
"""Is told a layer's errors and the seconds still to go."""


@dataclass
class Stream:
    """Windows on their way through the model."""

    hidden: Activations
    calls: list[dict[str, Any]]
    """What each layer is called with beside the hidden states."""
    kv_bits: int = 0
    """Keys and values are rounded to so many bits; 0 leaves them."""
    num_rounded: int = 0


@dataclass
class Walk:
    """One pass over all layers. `streams` are at its end what leaves the last layer."""

    model: StreamedModel
    method: Method
    writer: CheckpointWriter
    dtype: torch.dtype
    """What weights that are not quantized are stored in."""
    scratch: Path
    tell: Tell
    streams: dict[str, Stream] = field(default_factory=dict)
    layers: list[LayerError] = field(default_factory=list)
    num_weights: int = 0
    num_weight_bytes: int = 0
    _open_files: ExitStack = field(default_factory=ExitStack)

    def run(self, calibration_WT: Tensor, held_out_WT: Tensor, greedy_WT: Tensor) -> None:
        """Quantize every layer and write it; pass all streams through what was written."""
        self._open(_CALIBRATION, calibration_WT)
        self._open(BASE, held_out_WT)
        self._open(QUANTIZED, held_out_WT)
        for name, bits in KV_BITS.items():
            self._open(name, held_out_WT).kv_bits = bits
        self._open(GREEDY, greedy_WT)
        started = time.monotonic()
        for index in range(self.model.num_layers):
            error = self._do_layer(index)
            self.layers.append(error)
            share = (index + 1) / self.model.num_layers
            self.tell(error, (time.monotonic() - started) * (1 - share) / share)

    def close(self) -> None:
        """Forget the activations."""
        self._open_files.close()

    def _open(self, name: str, ids_WT: Tensor) -> Stream:
        width = self.model.model.get_input_embeddings().weight.shape[1]
        hidden = self._open_files.enter_context(Activations(ids_WT, width, self.scratch))
        for chunk in hidden.list_chunks():
            entered, _ = self.model.begin(ids_WT[chunk])
            hidden.write(chunk, entered)
        _, calls = self.model.begin(ids_WT[:1])  # of one window: it serves chunks of any size
        self.streams[name] = Stream(hidden, calls)
        return self.streams[name]

    @torch.no_grad()
    def _do_layer(self, index: int) -> LayerError:
        plan = self.model.plans[index]
        with self.model.loaded(index) as layer:
            self._pass(self.streams[BASE], layer, index)
            stats = self._calibrate(layer, index, plan)
            made, linear_error = self.method.quantize(layer, plan, stats)
            del stats
            self._round_rest(layer, plan)
            self._write(layer, index, made)
            with _rounding_inputs(layer, plan, self.method.has_int8_inputs):
                for name, stream in self.streams.items():
                    if name != BASE:
                        self._pass(stream, layer, index)
        return LayerError(index=index, linear=linear_error, stream=self._compare())

    def _pass(self, stream: Stream, layer: Any, index: int) -> None:
        """Send all of a stream through a layer, in place."""
        for chunk, hidden in stream.hidden.iter_chunks():
            cache = RoundingCache(stream.kv_bits) if stream.kv_bits else None
            stream.hidden.write(chunk, self._call(stream, layer, index, hidden, cache))
            stream.num_rounded += cache.num_updates if cache else 0

    def _call(
        self, stream: Stream, layer: Any, index: int, hidden: Tensor, cache: Any = None
    ) -> Tensor:
        given = stream.calls[index] | {"past_key_values": cache, "use_cache": False}
        out = layer(hidden.to(self.model.device), **given)
        return out[0] if isinstance(out, tuple) else out

    def _calibrate(self, layer: Any, index: int, plan: LayerPlan) -> Stats:
        stream = self.streams[_CALIBRATION]
        num_chunks = len(stream.hidden.list_chunks())
        stats: Stats = {}
        hooks = []
        for group in plan:
            linear = layer.get_submodule(group.linears[0])
            seen = InputStats(
                linear.in_features,
                self.model.device,
                num_chunks=num_chunks,
                has_gram=self.method.wants_gram,
            )
            stats[group.linears] = seen
            hooks.append(
                linear.register_forward_pre_hook(lambda _, given, seen=seen: seen.add(given[0]))
            )
        for _, hidden in stream.hidden.iter_chunks():
            self._call(stream, layer, index, hidden)
        for hook in hooks:
            hook.remove()
        return stats

    def _round_rest(self, layer: Any, plan: LayerPlan) -> None:
        """Have norms and biases be what will be stored, so that what is measured is what is."""
        quantized = {f"{name}.weight" for name in list_linears(plan)}
        for name, parameter in layer.named_parameters():
            if name not in quantized:
                parameter.data = parameter.data.to(self.dtype).float()

    def _write(self, layer: Any, index: int, made: dict[str, Rounded]) -> None:
        scheme, prefix = describe(self.method), f"{self.model.layer_prefix}.{index}"
        for name, rounded in made.items():
            for part, tensor in pack_linear(rounded, scheme, self.dtype).items():
                self.writer.add(f"{prefix}.{name}.{part}", tensor)
            self.num_weights += rounded.codes_OI.numel()
            self.num_weight_bytes += rounded.num_bytes
        quantized = {f"{name}.weight" for name in made}
        for name, parameter in layer.named_parameters():
            if name not in quantized:
                self.writer.add(f"{prefix}.{name}", parameter.data.to(self.dtype))

    def _compare(self) -> float:
        """Return the squared error of the held-out stream as a share of its own."""
        base, quantized = self.streams[BASE].hidden, self.streams[QUANTIZED].hidden
        wrong = right = 0.0
        for chunk, hidden in base.iter_chunks():
            wrong += float((quantized.read(chunk) - hidden).square().sum())
            right += float(hidden.square().sum())
        return wrong / max(right, 1e-30)


def write_ends(model: StreamedModel, writer: CheckpointWriter, dtype: torch.dtype) -> None:
    """Write every tensor of the base's files that is in no layer, in the artifact's type."""
    for name in model.weights:
        if not name.startswith(f"{model.layer_prefix}."):
            tensor = model.weights.read(name)
            writer.add(name, tensor.to(dtype) if tensor.is_floating_point() else tensor)


@contextmanager
def _rounding_inputs(layer: Any, plan: LayerPlan, is_wanted: bool) -> Iterator[None]:
    """Round what enters the linear layers to int8, row by row, while the block runs."""
    hooks = [
        layer.get_submodule(name).register_forward_pre_hook(
            lambda _, given: (round_rows(given[0]), *given[1:])
        )
        for name in (list_linears(plan) if is_wanted else ())
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
