"""Texts cut into words, in one way when they are kept and when they are sought.

Chinese is cut by jieba, all else at what is no letter or digit. A sought word is
found where a kept word begins with it.
"""

import re

import rjieba
from django.db import connections
from django.db.models import BooleanField, F, Func, Q, Value

_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_MOST_TEXT = 100_000
_MOST_KEPT = 20_000
_MOST_SOUGHT = 16
_LONGEST = 60


def cut_for_keeping(*texts: str) -> str:
    """Return the words of some texts, each once, with a blank between them."""
    words: dict[str, None] = {}
    for text in texts:
        for piece in _WORD.findall(text[:_MOST_TEXT].casefold()):
            words[piece[:_LONGEST]] = None
            if _HAN.search(piece):
                words.update(dict.fromkeys(_cut_han(piece, is_kept=True)))
    return " ".join(list(words)[:_MOST_KEPT])


def cut_for_seeking(text: str) -> list[str]:
    """Return the words that all have to be there."""
    words: dict[str, None] = {}
    for piece in _WORD.findall(text.casefold()):
        found = _cut_han(piece, is_kept=False) if _HAN.search(piece) else [piece[:_LONGEST]]
        words.update(dict.fromkeys(found))
    return list(words)[:_MOST_SOUGHT]


def holds_words(field: str, sought: list[str], *, using: str = "default") -> Q:
    """Return the filter for rows whose words hold all that are sought."""
    if not sought:
        return Q()
    if connections[using].vendor == "postgresql":
        query = " & ".join(f"'{word}':*" for word in sought)  # words hold no quote
        return Q(_HoldsWords(F(field), Value(query)))
    wanted = Q()
    for word in sought:
        wanted &= Q(**{f"{field}__startswith": word}) | Q(**{f"{field}__contains": f" {word}"})
    return wanted


class _HoldsWords(Func):
    """PostgreSQL's full text match, written as the migration writes its index.

    The words are cut already: PostgreSQL's own parser, which knows no Chinese, is passed by.
    """

    template = "(array_to_tsvector(string_to_array(%(expressions)s::tsquery)"
    arg_joiner = ", ' ')) @@ "
    output_field = BooleanField()


def _cut_han(piece: str, *, is_kept: bool) -> list[str]:
    cut = rjieba.cut_for_search(piece) if is_kept else rjieba.cut(piece)
    words = [word for word in cut if _WORD.fullmatch(word)]
    # Single characters are kept too: the dictionary may cut the same text otherwise elsewhere.
    return words + (_HAN.findall(piece) if is_kept else [])
