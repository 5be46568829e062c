"""Hand a model's tensors to the C++ decoder, which packs its own copies of them.

Everything is checked here: the other side trusts shapes and types. O outputs, I inputs, G inputs
of a group.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from engine.serve.cpu.binding import (
    PARTS,
    LayerSource,
    Library,
    LinearSource,
    RopeSource,
)
from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.weights import (
    DecoderWeights,
    FeedForward,
    LayerWeights,
    LinearWeights,
)

_MOST_GROUP_ROWS = 48  # query heads of a key head: rows of one attention task
_MOST_QUANTIZED_INPUTS = 65536  # sums of 8-bit products stay within 32 bits
_ROWS_AT_ONCE = 8192
_KINDS = {torch.float32: 0, torch.bfloat16: 1}


class Packer:
    """Makes the C++ structures of one model, and keeps what they point at until it is read."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: list[Any] = []
        self._linears: list[ctypes.c_void_p] = []

    def hand_over(self) -> None:
        """Leave the layers to the decoder that is about to be opened, which frees them."""
        self._linears.clear()

    def give_up(self) -> None:
        """Free the layers made so far, when there will be no decoder to own them."""
        for linear in self._linears:
            self._library.release("drop_linear", linear)
        self._linears.clear()

    def make_linear(self, name: str, weights: LinearWeights, outputs: int, inputs: int) -> Any:
        """Return the handle of a packed layer."""
        check_linear(name, weights, outputs, inputs)
        kept, source = _describe_linear(weights)
        handle = ctypes.c_void_p()
        self._library.call("make_linear", ctypes.byref(source), ctypes.byref(handle))
        del kept
        self._linears.append(handle)
        return handle

    def make_layer(self, shape: DecoderShape, index: int, layer: LayerWeights) -> LayerSource:
        """Describe one layer; its linear layers are packed already."""
        source = LayerSource()
        source.rope_index = shape.layers[index].rope_index
        source.window = shape.layers[index].window or 0
        where = f"layers[{index}]"
        norms = {"attention_norm": shape.hidden_size, "ffn_norm": shape.hidden_size}
        if shape.has_query_key_norm:
            norms |= {"query_norm": shape.head_dim, "key_norm": shape.head_dim}
        if shape.has_sandwich_norm:
            norms |= {"attention_post_norm": shape.hidden_size, "ffn_post_norm": shape.hidden_size}
        for name, width in norms.items():
            setattr(source, name, self.keep_floats(f"{where}.{name}", getattr(layer, name), width))
        for i, (name, outputs, inputs) in enumerate(_list_attention(shape)):
            linear = getattr(layer, name)
            source.parts[i] = self.make_linear(f"{where}.{name}", linear, outputs, inputs).value
        if shape.num_experts:
            self._add_experts(shape, where, layer, source)
        elif layer.feed_forward is None:
            raise ValueError(f"{where}.feed_forward is missing and the shape has no experts.")
        else:
            handles = self._make_feed_forward(shape, f"{where}.feed_forward", layer.feed_forward)
            for i, handle in enumerate(handles):
                source.parts[PARTS.index("gate") + i] = handle
        return source

    def keep_floats(self, name: str, values: Tensor | None, width: int) -> int:
        """Return the address of a float32 copy that lives as long as this does."""
        if values is None or tuple(values.shape) != (width,):
            found = "missing" if values is None else f"of shape {tuple(values.shape)}"
            raise ValueError(f"{name} is {found} and must have {width} numbers.")
        floats = values.detach().to(device="cpu", dtype=torch.float32).contiguous()
        self._kept.append(floats)
        return floats.data_ptr()

    def make_ropes(self, shape: DecoderShape) -> Any:
        """Describe the tables of turns."""
        ropes = (RopeSource * len(shape.ropes))()
        for i, rope in enumerate(shape.ropes):
            count = len(rope.inverse_frequencies)
            if not 0 <= 2 * count <= shape.head_dim:
                raise ValueError(
                    f"ropes[{i}] turns {2 * count} numbers of a head, which has {shape.head_dim}."
                )
            values = torch.tensor(rope.inverse_frequencies, dtype=torch.float32)
            address = self.keep_floats(f"ropes[{i}].inverse_frequencies", values, count)
            ropes[i] = RopeSource(count, rope.attention_factor, address)
        return ropes

    def _add_experts(
        self, shape: DecoderShape, where: str, layer: LayerWeights, source: LayerSource
    ) -> None:
        if layer.router is None or len(layer.experts) != shape.num_experts:
            raise ValueError(
                f"{where} must have a router and {shape.num_experts} experts, "
                f"and has {len(layer.experts)} experts."
            )
        router = self.make_linear(
            f"{where}.router", layer.router, shape.num_experts, shape.hidden_size
        )
        source.router = router.value
        handles: list[int] = []
        for i, expert in enumerate(layer.experts):
            handles += self._make_feed_forward(shape, f"{where}.experts[{i}]", expert)
        array = (ctypes.c_void_p * len(handles))(*handles)
        self._kept.append(array)
        source.num_experts = shape.num_experts
        source.experts = array

    def _make_feed_forward(self, shape: DecoderShape, where: str, parts: FeedForward) -> list[int]:
        inner, outer = shape.intermediate_size, shape.hidden_size
        return [
            self.make_linear(f"{where}.gate", parts.gate, inner, outer).value,
            self.make_linear(f"{where}.up", parts.up, inner, outer).value,
            self.make_linear(f"{where}.down", parts.down, outer, inner).value,
        ]


def check_shape(shape: DecoderShape, weights: DecoderWeights) -> None:
    """Refuse a model that the C++ decoder cannot run.

    Raises:
        ValueError: with what is wrong.
    """
    group, rest = divmod(shape.num_heads, max(shape.num_kv_heads, 1))
    if rest or not 1 <= group <= _MOST_GROUP_ROWS:
        raise ValueError(
            f"num_heads is {shape.num_heads} and must be 1 to {_MOST_GROUP_ROWS} times "
            f"num_kv_heads, which is {shape.num_kv_heads}."
        )
    if len(weights.layers) != shape.num_layers:
        raise ValueError(
            f"the shape has {shape.num_layers} layers and the weights {len(weights.layers)}."
        )
    for i, layer in enumerate(shape.layers):
        if not 0 <= layer.rope_index < len(shape.ropes):
            raise ValueError(
                f"layers[{i}].rope_index is {layer.rope_index}; there are {len(shape.ropes)} ropes."
            )
        if layer.window is not None and layer.window < 1:
            raise ValueError(f"layers[{i}].window is {layer.window} and must be at least 1.")
    if shape.num_experts and not 1 <= shape.num_experts_per_token <= shape.num_experts:
        raise ValueError(
            f"num_experts_per_token is {shape.num_experts_per_token} of {shape.num_experts}."
        )
    expected = (shape.vocab_size, shape.hidden_size)
    if tuple(weights.embedding.shape) != expected:
        raise ValueError(f"embedding is {tuple(weights.embedding.shape)} and must be {expected}.")


def check_linear(name: str, linear: LinearWeights, outputs: int, inputs: int) -> None:
    """Refuse a linear layer whose tensors do not fit together.

    Raises:
        ValueError: with the layer's name and what is wrong.
    """
    weight = linear.weight
    if weight.dim() != 2:
        raise ValueError(f"{name} has {weight.dim()} dimensions and must have 2.")
    found = (linear.num_outputs, linear.num_inputs)
    if found != (outputs, inputs):
        raise ValueError(f"{name} is {found[0]} x {found[1]} and must be {outputs} x {inputs}.")
    if linear.bias is not None and tuple(linear.bias.shape) != (outputs,):
        raise ValueError(f"{name}.bias must have {outputs} numbers.")
    if linear.kind == "dense":
        if not weight.is_floating_point():
            raise ValueError(f"{name} is dense and holds {weight.dtype}, not floats.")
        return
    wanted = torch.int8 if linear.kind == "int8" else torch.uint8
    if weight.dtype != wanted:
        raise ValueError(f"{name} is {linear.kind} and holds {weight.dtype}, not {wanted}.")
    if inputs > _MOST_QUANTIZED_INPUTS:
        raise ValueError(
            f"{name} has {inputs} inputs; at most {_MOST_QUANTIZED_INPUTS} are summed."
        )
    if linear.scale is None or not linear.scale.is_floating_point():
        raise ValueError(f"{name}.scale is missing or holds no floats.")
    if linear.kind == "int8":
        if tuple(linear.scale.shape) != (outputs,) or linear.zero is not None:
            raise ValueError(f"{name} is int8: {outputs} scales and no zeros are wanted.")
        return
    _check_groups(name, linear, outputs, inputs)


def _check_groups(name: str, linear: LinearWeights, outputs: int, inputs: int) -> None:
    scale, zero = linear.scale, linear.zero
    assert scale is not None
    fits = scale.dim() == 2 and scale.shape[0] == outputs and scale.shape[1] > 0
    fits = fits and inputs % scale.shape[1] == 0
    if not fits or (inputs // scale.shape[1]) % 8:
        raise ValueError(
            f"{name}.scale is {tuple(scale.shape)}: {outputs} rows are wanted, and groups of a "
            f"multiple of 8 that divide {inputs} inputs."
        )
    is_known = zero is None or zero.dtype in (torch.uint8, torch.float32)
    if not is_known or (zero is not None and zero.shape != scale.shape):
        raise ValueError(
            f"{name}.zero must be uint8 or float32, and {tuple(scale.shape)} like the scales."
        )


def quantize_dense(weight: Tensor, bits: int) -> LinearWeights:
    """Round a dense layer to nearest: int8 by output, or int4 in groups of 64 or 32 inputs.

    Meant for the head of a model, which few methods quantize and every step reads whole.

    Raises:
        ValueError: bits is neither 8 nor 4, or int4 finds no group.
    """
    if bits not in (4, 8):
        raise ValueError(f"head_bits is {bits} and must be 4, 8 or None.")
    outputs, inputs = weight.shape
    if bits == 8:
        rows = [_round_to_int8(part.float()) for part in weight.split(_ROWS_AT_ONCE)]
        values, scales = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return LinearWeights("int8", values, scales)
    group = next((size for size in (64, 32, 16, 8) if inputs % size == 0), 0)
    if not group:
        raise ValueError(f"head_bits is 4 and the head's {inputs} inputs do not divide by 8.")
    rows = [_round_to_int4(part.float(), group) for part in weight.split(_ROWS_AT_ONCE)]
    values, scales = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return LinearWeights("int4", values, scales)


def _round_to_int8(rows: Tensor) -> tuple[Tensor, Tensor]:
    scale = rows.abs().amax(1).clamp_min(1e-12) / 127
    return (rows / scale[:, None]).round().to(torch.int8), scale


def _round_to_int4(rows: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Let the largest magnitude of a group, whatever its sign, be -8, which has no opposite."""
    grouped = rows.unflatten(1, (-1, group))
    largest = grouped.gather(2, grouped.abs().argmax(2, keepdim=True))
    scale = torch.where(largest == 0, torch.ones_like(largest), largest / -8)
    levels = ((grouped / scale).round() + 8).clamp(0, 15).to(torch.uint8).flatten(1)
    return levels[:, 0::2] | levels[:, 1::2] << 4, scale.squeeze(2)


def _describe_linear(linear: LinearWeights) -> tuple[list[Tensor], LinearSource]:
    """Return the structure and the tensors that it points into."""
    outputs, inputs = linear.num_outputs, linear.num_inputs
    kept: list[Tensor] = []

    def address(tensor: Tensor | None, dtype: torch.dtype | None = None) -> int | None:
        if tensor is None:
            return None
        kept.append(tensor.detach().to(device="cpu", dtype=dtype).contiguous())
        return kept[-1].data_ptr()

    group = 0
    if linear.kind == "dense":
        # Halves have more digits than bf16: they become floats, not coarser numbers.
        dtype = torch.bfloat16 if linear.weight.dtype == torch.bfloat16 else torch.float32
        kind, weight = _KINDS[dtype], address(linear.weight, dtype)
    else:
        kind, weight = (2 if linear.kind == "int8" else 3), address(linear.weight)
        group = linear.group_size if linear.kind == "int4" else _choose_input_group(linear)
    return kept, LinearSource(
        kind,
        outputs,
        inputs,
        group,
        weight,
        address(linear.scale, torch.float32),
        address(linear.zero, torch.float32),
        address(linear.bias, torch.float32),
    )


def _choose_input_group(linear: LinearWeights) -> int:
    """Return how many inputs of an int8 layer are rounded together; 0 is all of a row.

    Inputs of weights that were not calibrated for it are rounded finely enough to lose nothing.
    """
    if linear.has_int8_inputs:
        return 0
    return next((size for size in (64, 32) if linear.num_inputs % size == 0), 0)


def _list_attention(shape: DecoderShape) -> list[tuple[str, int, int]]:
    queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    return [
        ("query", queries, shape.hidden_size),
        ("key", keys, shape.hidden_size),
        ("value", keys, shape.hidden_size),
        ("output", shape.hidden_size, queries),
    ]


def count_part(shape: DecoderShape, part: str) -> tuple[int, int]:
    """Return outputs and inputs of one linear layer by name."""
    sizes = {name: (outputs, inputs) for name, outputs, inputs in _list_attention(shape)}
    sizes |= {name: (shape.intermediate_size, shape.hidden_size) for name in ("gate", "up")}
    sizes["down"] = (shape.hidden_size, shape.intermediate_size)
    return sizes[part]
