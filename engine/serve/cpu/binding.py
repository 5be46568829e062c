"""The C++ library's functions and structures as ctypes sees them, and nothing that thinks.

Each structure is the twin of one in `native/`, field by field.
"""

import ctypes
import functools
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_void_p
from typing import Any

from engine.serve.cpu.build import Simd, build_library

PARTS = ("query", "key", "value", "output", "gate", "up", "down")

_BAD_ARGUMENT, _NO_MEMORY = 1, 2


class LinearSource(ctypes.Structure):
    """linear.h."""

    _fields_ = [
        ("kind", c_int32),
        ("outputs", c_int32),
        ("inputs", c_int32),
        ("group", c_int32),
        ("weight", c_void_p),
        ("scale", c_void_p),
        ("zero", c_void_p),
        ("bias", c_void_p),
    ]


class ModelSource(ctypes.Structure):
    """model.h."""

    _fields_ = [
        *(
            (name, c_int32)
            for name in (
                "vocab_size",
                "hidden_size",
                "num_heads",
                "num_kv_heads",
                "head_dim",
                "num_layers",
                "num_experts_per_token",
                "is_gelu",
                "max_positions",
                "is_fp32",
                "num_blocks",
                "block_size",
                "kv_kind",
                "kv_kept_layers",
                "kv_keeps_sinks",
                "num_threads",
                "max_adapters",
            )
        ),
        ("norm_eps", c_float),
        ("attention_scale", c_float),
        ("embedding_scale", c_float),
        ("is_embedding_bf16", c_int32),
        ("embedding", c_void_p),
        ("norm", c_void_p),
        ("head", c_void_p),
    ]


class RopeSource(ctypes.Structure):
    """model.h."""

    _fields_ = [
        ("num_frequencies", c_int32),
        ("attention_factor", c_float),
        ("frequencies", c_void_p),
    ]


class LayerSource(ctypes.Structure):
    """model.h."""

    _fields_ = [
        ("rope_index", c_int32),
        ("window", c_int32),
        ("attention_norm", c_void_p),
        ("ffn_norm", c_void_p),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("attention_post_norm", c_void_p),
        ("ffn_post_norm", c_void_p),
        ("parts", c_void_p * len(PARTS)),
        ("router", c_void_p),
        ("num_experts", c_int32),
        ("experts", POINTER(c_void_p)),
    ]


class LoraSource(ctypes.Structure):
    """lora.h."""

    _fields_ = [
        ("rank", c_int32),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("a", c_void_p),
        ("b", c_void_p),
    ]


class StepSource(ctypes.Structure):
    """step.h."""

    _fields_ = [
        ("num_tokens", c_int32),
        ("num_requests", c_int32),
        ("num_rows", c_int32),
        ("table_width", c_int32),
        ("wants_hidden", c_int32),
        ("token_ids", c_void_p),
        ("positions", c_void_p),
        ("query_starts", c_void_p),
        ("context_lengths", c_void_p),
        ("block_tables", c_void_p),
        ("logits_rows", c_void_p),
        ("adapters", c_void_p),
        ("output", c_void_p),
    ]


class Library:
    """The loaded library. A call that fails raises what its outcome means."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.athanor_error.restype = c_char_p
        self._library.athanor_simd.restype = c_char_p
        handle, out = c_void_p, POINTER(c_void_p)
        for name, arguments in {
            "make_linear": [POINTER(LinearSource), out],
            "open": [POINTER(ModelSource), POINTER(RopeSource), c_int, POINTER(LayerSource), out],
            "run": [handle, POINTER(StepSource)],
            "copy_block": [handle, c_int, c_int],
            "set_adapter": [handle, c_int, POINTER(LoraSource)],
            "drop_adapter": [handle, c_int],
            "close": [handle],
            "drop_linear": [handle],
        }.items():
            getattr(self._library, f"athanor_{name}").argtypes = arguments
        for name in ("close", "drop_linear"):
            getattr(self._library, f"athanor_{name}").restype = None

    @property
    def simd(self) -> str:
        """The instructions that it was compiled for: avx512, avx2 or scalar."""
        return str(self._library.athanor_simd().decode())

    def call(self, name: str, *arguments: Any) -> None:
        """Call `athanor_<name>`.

        Raises:
            ValueError: an argument is refused; the message names it.
            MemoryError: there is not enough.
        """
        outcome = getattr(self._library, f"athanor_{name}")(*arguments)
        if not outcome:
            return
        message = self._library.athanor_error().decode(errors="replace")
        if outcome == _BAD_ARGUMENT:
            raise ValueError(message)
        raise MemoryError(message) if outcome == _NO_MEMORY else RuntimeError(message)

    def release(self, name: str, handle: c_void_p) -> None:
        """Call `athanor_<name>`, which frees and cannot fail."""
        getattr(self._library, f"athanor_{name}")(handle)


@functools.cache
def load_library(simd: Simd = "native") -> Library:
    """Load the kernels, compiled first when need be.

    Raises:
        KernelsUnavailable: they cannot be compiled here.
    """
    return Library(str(build_library(simd)))
