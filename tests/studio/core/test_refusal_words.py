"""Refusals have codes, and pages in Chinese have words for each that a page can meet."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORDS = ROOT / "frontend" / "src" / "i18n" / "zh"
# What programs meet and people do not: the protocols of the hub's clients, and joining nodes.
NOT_SHOWN = ("studio/hub/huggingface/", "studio/hub/xet/", "studio/hub/lfs.py")
NOT_SHOWN += ("studio/compute/joining.py", "studio/serving/gateway_apis.py")


def list_codes():
    """Yield the file and code of every refusal of the studio's."""
    for path in (ROOT / "studio").rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(NOT_SHOWN) or "/migrations/" in place:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for word in node.keywords if isinstance(node, ast.Call) else []:
                if word.arg == "code" and isinstance(word.value, ast.Constant):
                    yield place, word.value.value


def test_every_refusal_that_pages_show_has_chinese_words():
    words = "".join(path.read_text(encoding="utf-8") for path in WORDS.glob("*.ts"))
    said = set(re.findall(r"^\s+(\w+): \(", words, flags=re.MULTILINE))
    codes = {(place, code) for place, code in list_codes() if isinstance(code, str)}
    assert len(codes) > 120
    assert sorted((place, code) for place, code in codes if code not in said) == []
