"""Refusals have codes, and pages in Chinese have words for each that a page can meet."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORDS = ROOT / "frontend" / "src" / "i18n" / "zh"
# What programs meet and people do not: the protocols of the hub's clients, nodes and runs, and
# what is said over SSH or to who types a command.
NOT_SHOWN = ("studio/hub/huggingface/", "studio/hub/xet/", "studio/hub/lfs.py")
NOT_SHOWN += ("studio/hub/node_share/", "studio/hub/importing.py", "studio/machines/ssh/")
NOT_SHOWN += ("studio/machines/node_apis.py", "studio/jobs/ingest.py")
NOT_SHOWN += ("studio/jobs/internal_apis.py", "studio/compute/joining.py")
NOT_SHOWN += ("studio/compute/services.py", "studio/serving/gateway_apis.py")
# Those whose own code says what a person is to do; the others' says as good as nothing.
PLAIN = {"BadInput", "Conflict", "StudioError"}
# A function that makes a refusal, and takes its code as a word among its others.
MAKERS = {"Refusal", "_refusal", "_refuse"}
# What Django and its REST framework call what they refuse by themselves.
FRAMEWORK = {"required", "blank", "null", "empty", "invalid", "invalid_choice", "unique"}
FRAMEWORK |= {"max_length", "min_length", "max_value", "min_value", "max_string_length"}
FRAMEWORK |= {"not_a_list", "not_a_dict", "throttled", "bad_media_type"}
FRAMEWORK |= {"password_too_short", "password_too_common", "password_too_similar"}


def list_nodes() -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of every file whose refusals pages show."""
    for path in sorted((ROOT / "studio").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(NOT_SHOWN) or "/migrations/" in place:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield place, node


def get_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def is_code(node: ast.AST) -> bool:
    """Say whether it is a word as codes are written."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", node.value) is not None
    )


def list_given(call: ast.Call) -> Iterator[str]:
    """Yield the codes that a call gives: by their name, or as a word of a maker."""
    for word in call.keywords:
        named = word.arg in {"code", "violation_error_code"}
        if named and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str):
            yield word.value.value
    if get_name(call) in MAKERS:
        yield from (word.value for word in call.args if is_code(word))


def list_own(kind: ast.ClassDef) -> Iterator[str]:
    """Yield the code of a class of refusals."""
    for line in kind.body:
        if (
            isinstance(line, ast.Assign)
            and isinstance(line.targets[0], ast.Name)
            and line.targets[0].id == "code"
            and isinstance(line.value, ast.Constant)
        ):
            yield line.value.value


def list_codes() -> Iterator[tuple[str, str]]:
    """Yield the file and code of every refusal of the studio's."""
    for place, node in list_nodes():
        if isinstance(node, ast.Call):
            yield from ((place, code) for code in list_given(node))
        if isinstance(node, ast.ClassDef):
            yield from ((place, code) for code in list_own(node))


def test_every_refusal_that_pages_show_has_chinese_words():
    words = "".join(path.read_text(encoding="utf-8") for path in WORDS.glob("*.ts"))
    said = set(re.findall(r"^\s+(\w+): \(", words, flags=re.MULTILINE))
    codes = set(list_codes()) | {("the framework", code) for code in FRAMEWORK}
    assert len(codes) > 180
    assert sorted((place, code) for place, code in codes if code not in said) == []


def test_no_refusal_that_pages_show_goes_by_a_code_that_says_nothing():
    plain = [
        f"{place}:{node.lineno}"
        for place, node in list_nodes()
        if isinstance(node, ast.Call)
        and get_name(node) in PLAIN
        and not any(word.arg in {"code", None} for word in node.keywords)
    ]
    assert plain == []
