"""Reads what the header of a GGUF file says of its model; no weights and no library of them.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The file is a stranger's, so
every length is held against a bound before it is believed.
"""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from studio.core.errors import BadInput

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_PAIRS = 10_000
_MOST_TEXT = 2**20
_MOST_HEADER_BYTES = 128 * 2**20
_MOST_ITEMS = 2**22
_UINT32, _TEXT, _ARRAY, _UINT64 = 4, 8, 9, 10
_NUMBERS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    _UINT32: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    _UINT64: "<Q",
    11: "<q",
    12: "<d",
}
# llama.cpp's llama_ftype, by its number.
_FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
}


class NoGguf(BadInput):
    """The file is no GGUF, or a broken one."""

    code = "no_gguf"

    def __init__(self, why: str) -> None:
        """Say why in a few words."""
        super().__init__(f"source: this is no GGUF file: {why}.", field="source", why=why)


@dataclass(frozen=True)
class GgufFacts:
    """What a header says; empty or None where it does not."""

    architecture: str
    name: str = ""
    license: str = ""
    quantization: str = ""
    context_length: int | None = None


def check_magic(first: bytes) -> None:
    """Refuse what does not begin as GGUF does.

    Raises:
        NoGguf: it does not.
    """
    if first[:4] != MAGIC:
        raise NoGguf("it does not begin with the letters GGUF")


def read_gguf(file: BinaryIO) -> GgufFacts:
    """Return what a file's header says.

    Raises:
        NoGguf: it is none, or its header is broken.
    """
    check_magic(file.read(4))
    (version,) = _unpack(file, "<I")
    if version not in _VERSIONS:
        raise NoGguf(f"its version is {version}, and this studio reads 2 and 3")
    _, num_pairs = _unpack(file, "<QQ")
    if num_pairs > _MOST_PAIRS:
        raise NoGguf(f"its header claims {num_pairs} entries")
    return _find_facts(_read_pairs(file, num_pairs))


def _read_pairs(file: BinaryIO, num_pairs: int) -> dict[str, Any]:
    """Return the texts and numbers of a header; arrays, vocabularies mostly, are passed over."""
    pairs = {}
    for _ in range(num_pairs):
        key = _read_text(file)
        (kind,) = _unpack(file, "<I")
        if kind == _ARRAY:
            _skip_array(file)
        else:
            pairs[key] = _read_value(file, kind)
        if file.tell() > _MOST_HEADER_BYTES:
            raise NoGguf("its header does not end")
    return pairs


def _find_facts(pairs: dict[str, Any]) -> GgufFacts:
    architecture = _text_of(pairs, "general.architecture")
    if not architecture:
        raise NoGguf("its header names no architecture")
    length = pairs.get(f"{architecture}.context_length")
    file_type = pairs.get("general.file_type")
    return GgufFacts(
        architecture=architecture,
        name=_text_of(pairs, "general.name"),
        license=_text_of(pairs, "general.license"),
        quantization=_FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
        context_length=length if isinstance(length, int) and length > 0 else None,
    )


def _text_of(pairs: dict[str, Any], key: str) -> str:
    value = pairs.get(key)
    return " ".join(value.split())[:200] if isinstance(value, str) else ""


def _read_value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _read_text(file)
    if kind not in _NUMBERS:
        raise NoGguf(f"its header holds a value of the unknown kind {kind}")
    return _unpack(file, _NUMBERS[kind])[0]


def _skip_array(file: BinaryIO) -> None:
    kind, count = _unpack(file, "<IQ")
    if count > _MOST_ITEMS:
        raise NoGguf(f"its header claims a list of {count}")
    if kind == _TEXT:
        for _ in range(count):
            (length,) = _unpack(file, "<Q")
            _skip(file, length)
    elif kind in _NUMBERS:
        _skip(file, count * struct.calcsize(_NUMBERS[kind]))
    else:
        raise NoGguf(f"its header holds an array of the unknown kind {kind}")


def _skip(file: BinaryIO, num_bytes: int) -> None:
    if num_bytes > _MOST_HEADER_BYTES or file.tell() > _MOST_HEADER_BYTES:
        raise NoGguf("its header does not end")
    file.seek(num_bytes, 1)


def _read_text(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    if length > _MOST_TEXT:
        raise NoGguf(f"its header claims a text of {length} bytes")
    raw = file.read(length)
    if len(raw) != length:
        raise NoGguf("it ends within its header")
    return raw.decode("utf-8", "replace").replace("\0", "")


def _unpack(file: BinaryIO, shape: str) -> tuple[Any, ...]:
    raw = file.read(struct.calcsize(shape))
    if len(raw) != struct.calcsize(shape):
        raise NoGguf("it ends within its header")
    return struct.unpack(shape, raw)
