"""A GGUF file of the llama family, read under transformers' names and in transformers' row order.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; the blocks of its quantized
types are those of ggml's `ggml-common.h`. The `gguf` package maps the file. O outputs, I inputs, G
groups of inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as GgmlType
from gguf.quants import Q4_K
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig

_TURN_END = "<|im_end|>"  # ChatML's end of a turn
_GROUP = 32  # weights of one 4-bit scale, in all types read here
_SUPER = 256  # weights of a block of the K types
_MOST_ZERO = 2.0**15  # a half holds it


@dataclass(frozen=True)
class Grid:
    """A matrix on 4-bit levels, as its file has it: a weight is (code - zero) * scale."""

    codes: Tensor
    """O x I uint8, 0 to 15."""
    scales: Tensor
    """O x G float32."""
    zeros: Tensor | None
    """O x G float32; None: 8 everywhere."""


class GgufFile:
    """An open file. Tensors are copied out of it as they are asked for."""

    def __init__(self, source: Path) -> None:
        """Open `source`.

        Raises:
            ValueError: it is no GGUF, of another architecture, or does not say how many layers.
        """
        self._source = source
        self._reader = _open_reader(source)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self._unread = set(self._tensors)
        num_blocks = self._need("llama.block_count")
        self._names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, num_blocks)

    def get_field(self, name: str) -> Any:
        """Return a metadata field, or None."""
        field = self._reader.get_field(name)
        return field.contents() if field else None

    def has(self, name: str) -> bool:
        """Say whether the file has a tensor of transformers' name."""
        return self._find(name) in self._tensors

    def get_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, outputs first."""
        return tuple(int(size) for size in reversed(self._take(name).shape))

    def read(self, name: str) -> Tensor:
        """Return a tensor in float32.

        Raises:
            ValueError: there is none of that name.
        """
        tensor = self._take(name)
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        self._unread.discard(tensor.name)
        return self._reorder(torch.from_numpy(values.copy()), name)

    def read_grid(self, name: str) -> Grid | None:
        """Return a matrix on the levels that the file has it on; None where they are no 4-bit ones.

        Raises:
            ValueError: there is none of that name.
        """
        tensor = self._take(name)
        read = _GRIDS.get(tensor.tensor_type)
        if read is None:
            return None
        self._unread.discard(tensor.name)
        grid = read(tensor.data.reshape(self.get_shape(name)[0], -1))
        zeros = None if grid.zeros is None else self._reorder(grid.zeros, name)
        return Grid(self._reorder(grid.codes, name), self._reorder(grid.scales, name), zeros)

    def list_unread(self) -> list[str]:
        """Return the file's own names of the tensors that nothing read."""
        return sorted(self._unread)

    def read_tokenizer(self) -> Any:
        """Return the file's tokenizer, mended where transformers reads it otherwise."""
        tokenizer = AutoTokenizer.from_pretrained(self._source.parent, gguf_file=self._source.name)
        if self.get_field("tokenizer.ggml.pre") == "smollm":
            # transformers drops this: numbers are cut into digits before bytes are merged.
            tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            )
        if _TURN_END in (tokenizer.chat_template or ""):
            tokenizer.eos_token = tokenizer.pad_token = _TURN_END
        tokenizer.model_max_length = self.get_field("llama.context_length")
        return tokenizer

    def make_config(self, end_token_id: int) -> LlamaConfig:
        """Return the model's config; `end_token_id` ends a generation.

        Raises:
            ValueError: the file does not say one of its sizes.
        """
        get, need = self.get_field, self._need
        return LlamaConfig(
            vocab_size=get("llama.vocab_size"),
            hidden_size=need("llama.embedding_length"),
            intermediate_size=need("llama.feed_forward_length"),
            num_hidden_layers=need("llama.block_count"),
            num_attention_heads=need("llama.attention.head_count"),
            num_key_value_heads=get("llama.attention.head_count_kv"),
            head_dim=get("llama.attention.key_length"),
            max_position_embeddings=need("llama.context_length"),
            rms_norm_eps=round(need("llama.attention.layer_norm_rms_epsilon"), 9),
            rope_parameters={
                "rope_type": "default",
                "rope_theta": get("llama.rope.freq_base") or 10_000.0,
            },
            tie_word_embeddings="output.weight" not in self._tensors,
            bos_token_id=get("tokenizer.ggml.bos_token_id"),
            eos_token_id=end_token_id,
            pad_token_id=end_token_id,
        )

    def _need(self, name: str) -> Any:
        value = self.get_field(name)
        if value is None:
            raise ValueError(f"the GGUF file does not say {name}: it is incomplete")
        return value

    def _find(self, name: str) -> str | None:
        return self._names.get_name(name, try_suffixes=(".weight", ".bias"))

    def _take(self, name: str) -> gguf.ReaderTensor:
        tensor = self._tensors.get(self._find(name) or "")
        if tensor is None:
            raise ValueError(f"the GGUF file has no tensor for {name}: it is incomplete")
        return tensor

    def _reorder(self, values: Tensor, name: str) -> Tensor:
        if ".q_proj." in name:
            return _unpermute(values, self.get_field("llama.attention.head_count"))
        if ".k_proj." in name:
            return _unpermute(values, self.get_field("llama.attention.head_count_kv"))
        return values


def _open_reader(source: Path) -> gguf.GGUFReader:
    if not source.is_file():
        raise ValueError(f"{source}: no such file; give the path of a .gguf file")
    try:
        reader = gguf.GGUFReader(source)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{source} is no GGUF file: {error}") from error
    field = reader.get_field("general.architecture")
    architecture = field.contents() if field else None
    if architecture != "llama":
        raise ValueError(
            f"{source} holds a {architecture} model; only the llama architecture can be imported"
        )
    return reader


def _unpermute(values: Tensor, num_heads: int) -> Tensor:
    """Undo GGUF's row order: a rotated pair lies side by side there, half a head apart here."""
    half = values.shape[0] // num_heads // 2
    return values.view(num_heads, half, 2, *values.shape[1:]).transpose(1, 2).reshape(values.shape)


def _read_q4_0(rows: np.ndarray) -> Grid:
    """A scale and 32 codes, of a middle of 8."""
    blocks = rows.reshape(rows.shape[0], -1, 18)
    return Grid(_split_codes(blocks[..., 2:], 16), _read_halves(blocks[..., :2]), None)


def _read_q4_1(rows: np.ndarray) -> Grid:
    """A scale, a minimum and 32 codes."""
    blocks = rows.reshape(rows.shape[0], -1, 20)
    scales, least = _read_halves(blocks[..., :2]), _read_halves(blocks[..., 2:4])
    return _place_zeros(_split_codes(blocks[..., 4:], 16), scales, least)


def _read_q4_k(rows: np.ndarray) -> Grid:
    """Two scales, eight pairs of 6-bit scales and minimums in their units, and 8 x 32 codes."""
    blocks = rows.reshape(rows.shape[0], -1, 144)
    scale, least = Q4_K.get_scale_min(blocks[..., 4:16].reshape(-1, 12))
    shape = (*blocks.shape[:2], _SUPER // _GROUP)
    scales = _read_halves(blocks[..., :2])[..., None] * torch.from_numpy(
        scale.reshape(shape).astype(np.float32)
    )
    lows = _read_halves(blocks[..., 2:4])[..., None] * torch.from_numpy(
        least.reshape(shape).astype(np.float32)
    )
    codes = _split_codes(blocks[..., 16:].reshape(rows.shape[0], -1, 32), 32)
    return _place_zeros(codes, scales.flatten(1), -lows.flatten(1))


def _split_codes(bytes_: np.ndarray, half: int) -> Tensor:
    """Return O x I codes of O x B x `half` bytes, whose low halves come first in each block."""
    both = torch.from_numpy(np.ascontiguousarray(bytes_))
    assert both.shape[-1] == half
    return torch.cat([both & 15, both >> 4], dim=-1).flatten(1)


def _read_halves(bytes_: np.ndarray) -> Tensor:
    """Return float32, O x B, of O x B x 2 bytes."""
    halves = np.ascontiguousarray(bytes_).view(np.float16)[..., 0]
    return torch.from_numpy(halves.astype(np.float32))


def _place_zeros(codes_OI: Tensor, scales_OG: Tensor, least_OG: Tensor) -> Grid:
    """Turn the minimum of each group into the code, maybe a fraction, that stands for 0.

    A group whose weights are all alike, or nearly, has no such code: it becomes one level.
    """
    zeros = -least_OG / scales_OG
    is_flat = ~(zeros.abs() <= _MOST_ZERO)
    level = least_OG + scales_OG * codes_OI.unflatten(1, (-1, _GROUP)).float().mean(-1)
    codes = codes_OI.unflatten(1, (-1, _GROUP)).masked_fill(is_flat[..., None], 1).flatten(1)
    return Grid(
        codes, torch.where(is_flat, level, scales_OG), torch.where(is_flat, torch.zeros(()), zeros)
    )


_GRIDS: dict[GgmlType, Callable[[np.ndarray], Grid]] = {
    GgmlType.Q4_0: _read_q4_0,
    GgmlType.Q4_1: _read_q4_1,
    GgmlType.Q4_K: _read_q4_k,
}
