"""Reads vocabulary files of tokenizers whose classes come as code, into `tokenizers` pipelines.

Two kinds: a sentencepiece model (InternLM2, Baichuan, ChatGLM 2 and 3), a protobuf message of which
few fields matter; and a list of base64 tokens with ranks (GLM-4). Not a trainer, and no Unigram.
"""

import base64
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SPACE = "\u2581"  # sentencepiece's sign for a space
_BPE = 2  # TrainerSpec.ModelType
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6  # ModelProto.SentencePiece.Type
# cl100k's splitting of words, which GLM-4 took over.
_GLM4_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass
class Vocabulary:
    """Tokens of a file in the order of their ids, and how it wants text prepared."""

    pieces: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    algorithm: int = 1
    charsmap: bytes = b""
    adds_prefix: bool = True
    squeezes_spaces: bool = True


def read_spm(content: bytes) -> Vocabulary:
    """Read a sentencepiece `tokenizer.model`; numbers of fields are sentencepiece_model.proto's.

    Raises:
        ValueError: when it is none, or not of the BPE kind.
    """
    vocabulary = Vocabulary()
    try:
        for number, value in _read_fields(content):
            if number == 1:
                _add_piece(vocabulary, dict(_read_fields(value)))
            elif number == 2:
                vocabulary.algorithm = dict(_read_fields(value)).get(3, 1)
            elif number == 3:
                spec = dict(_read_fields(value))
                vocabulary.charsmap = spec.get(2, b"")
                vocabulary.adds_prefix = bool(spec.get(3, 1))
                vocabulary.squeezes_spaces = bool(spec.get(4, 1))
    except (IndexError, struct.error, TypeError, UnicodeDecodeError) as error:
        raise ValueError("tokenizer.model is no sentencepiece model") from error
    if not vocabulary.pieces:
        raise ValueError("tokenizer.model is no sentencepiece model")
    if vocabulary.algorithm != _BPE:
        raise ValueError("tokenizer.model is of a kind other than BPE, which is not read here")
    return vocabulary


def build_spm(vocabulary: Vocabulary, renamed: dict[int, str]) -> Tokenizer:
    """Make a pipeline that gives sentencepiece's ids; `renamed` gives ids other or new names."""
    names = dict(enumerate(vocabulary.pieces)) | renamed
    vocab = {name: index for index, name in names.items()}
    kinds = dict(zip(vocabulary.pieces, vocabulary.kinds, strict=True))
    unknown = next((piece for piece, kind in kinds.items() if kind == _UNKNOWN), None)
    merges = [pair for pair in _find_merges(vocabulary) if vocab.keys() >= {*pair, "".join(pair)}]
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=merges,
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=_BYTE in vocabulary.kinds,
            ignore_merges=_USER_DEFINED in vocabulary.kinds,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(_make_normalizers(vocabulary))
    whole = [piece for piece, kind in kinds.items() if kind == _USER_DEFINED and piece in vocab]
    if whole:  # these are found in a text before anything is merged
        longest_first = sorted(whole, key=len, reverse=True)
        pattern = Regex("|".join(map(_escape, longest_first)))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    back = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.adds_prefix:
        back.append(decoders.Strip(content=" ", left=1))
    tokenizer.decoder = decoders.Sequence(back)
    return tokenizer


def build_ranked(content: bytes, added: dict[int, str]) -> Tokenizer:
    """Make a byte-level pipeline from lines of `base64 rank`; `added` are tokens behind them.

    Raises:
        ValueError: when a line is none.
    """
    try:
        lines = [line.split() for line in content.splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except ValueError as error:
        raise ValueError("tokenizer.model is neither sentencepiece nor a list of ranks") from error
    to_text = _byte_alphabet()

    def spell(token: bytes) -> str:
        return "".join(to_text[byte] for byte in token)

    merges = []
    for token, _ in sorted(ranks.items(), key=lambda pair: pair[1]):
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in ranks and pair[1] in ranks]
        known.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(spell(left), spell(right)) for left, right in known]
    vocab = {spell(token): rank for token, rank in ranks.items()}
    vocab |= {name: index for index, name in added.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_GLM4_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def list_controls(vocabulary: Vocabulary) -> list[str]:
    """Return the pieces that no text gives: beginnings, ends, and the unknown one."""
    pairs = zip(vocabulary.pieces, vocabulary.kinds, strict=True)
    return [piece for piece, kind in pairs if kind in (_CONTROL, _UNKNOWN)]


def _read_fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of a protobuf message's fields, messages inside as bytes."""
    place = 0
    while place < len(content):
        key, place = _read_varint(content, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _read_varint(content, place)
            yield number, value
        elif wire == 2:
            size, place = _read_varint(content, place)
            if place + size > len(content):
                raise IndexError("cut short")
            yield number, content[place : place + size]
            place += size
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            yield number, struct.unpack_from("<d" if wire == 1 else "<f", content, place)[0]
            place += width
        else:
            raise IndexError(f"wire type {wire}")


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in itertools.count(0, 7):
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise AssertionError


def _add_piece(vocabulary: Vocabulary, fields: dict[int, Any]) -> None:
    text, score, kind = fields.get(1, b""), fields.get(2, 0.0), fields.get(3, 1)
    if not (isinstance(text, bytes) and isinstance(score, float) and isinstance(kind, int)):
        raise TypeError("a piece of other types")
    vocabulary.pieces.append(text.decode())
    vocabulary.scores.append(score)
    vocabulary.kinds.append(kind)


def _find_merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return every way to make a piece of two others, best piece first, as its score says.

    sentencepiece joins whichever neighbours make the best piece; `tokenizers` wants the pairs.
    """
    usual = {
        piece: score
        for piece, score, kind in zip(
            vocabulary.pieces, vocabulary.scores, vocabulary.kinds, strict=True
        )
        if kind not in (_UNKNOWN, _CONTROL, _BYTE)
    }
    places = {piece: index for index, piece in enumerate(vocabulary.pieces)}
    found: list[tuple[float, int, int, str, str]] = []
    for piece, score in usual.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in usual and right in usual:
                found.append((-score, places[left], places[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _make_normalizers(vocabulary: Vocabulary) -> list[normalizers.Normalizer]:
    made: list[normalizers.Normalizer] = []
    if vocabulary.charsmap:
        made.append(normalizers.Precompiled(vocabulary.charsmap))
    if vocabulary.squeezes_spaces:
        made += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if vocabulary.adds_prefix:
        made.append(normalizers.Prepend(SPACE))
    return [*made, normalizers.Replace(" ", SPACE)]


def _escape(text: str) -> str:
    return "".join(f"\\x{{{ord(sign):x}}}" for sign in text)


def _byte_alphabet() -> list[str]:
    """The sign that byte-level BPE writes for a byte: itself if it prints, else one above 255."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = itertools.count(256)
    return [chr(byte) if byte in prints else chr(next(others)) for byte in range(256)]
