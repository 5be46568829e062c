"""The sentences that pages say in their own language: found again by their words alone."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.refusals import REFUSALS
from engine.sentences import RUN_SENTENCES, Sentences, join
from engine.specs import JOB_SPEC
from studio.core.errors import spec_errors
from studio.core.sentences import ALL, SENTENCES, find_told
from workers.sentences import NODE_SENTENCES

ROOT = Path(__file__).resolve().parents[3]
SAYERS = {"say": SENTENCES, "NODE_SENTENCES.say": NODE_SENTENCES}
SAYERS |= {"EngineFault": NODE_SENTENCES, "EngineAway": NODE_SENTENCES}
SAYERS |= {"RUN_SENTENCES.say": RUN_SENTENCES}
AWKWARD = ["node-1", "a (b). Your files", "/run/x", "2.50 GiB", "节点 \n 二"]


@pytest.mark.parametrize("code", sorted(ALL.table))
def test_every_sentence_is_found_again_with_what_it_names(code):
    for words in AWKWARD:
        params = dict.fromkeys(ALL.list_params(code), words)
        assert find_told(ALL.say(code, **params)) == {"code": code, "params": params}


def test_what_names_a_sentence_holds_its_code_too():
    why = NODE_SENTENCES.say("save_disk_full")
    told = find_told(SENTENCES.say("copy_failed", problem=why))
    inner = {"message": why, "told": {"code": "save_disk_full", "params": {}}}
    assert told == {"code": "copy_failed", "params": {"problem": inner}}


@pytest.mark.parametrize("words", ["", "Something else.", "All nodes are busy", "x" * 500])
def test_what_no_table_has_is_left_as_it_is(words):
    assert find_told(words) is None


def test_no_code_is_in_two_tables():
    with pytest.raises(AssertionError):
        join([Sentences({"a": "One."}), Sentences({"a": "Two."})])


def list_calls():
    """Yield the file, table, code and names of every call that says a sentence by its code."""
    for floor in ("studio", "workers", "engine"):
        for path in (ROOT / floor).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if not re.search(r"\b(say|EngineFault|EngineAway)\(", text):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and node.args:
                    table = SAYERS.get(ast.unparse(node.func))
                    for code in read_codes(node.args[0]) if table else []:
                        names = {word.arg for word in node.keywords}
                        yield path.name, table, code, names


def read_codes(word: ast.expr) -> list[str]:
    if isinstance(word, ast.IfExp):
        return [*read_codes(word.body), *read_codes(word.orelse)]
    return [word.value] if isinstance(word, ast.Constant) else []


def test_every_sentence_that_is_said_is_in_its_table_and_named_in_full():
    said = list(list_calls())
    assert len(said) > 60
    for name, table, code, names in said:
        assert code in table.table, (name, code)
        assert table.list_params(code) == names, (name, code)


def test_no_sentence_is_left_over():
    said = {code for _, _, code, _ in list_calls()}
    text = (ROOT / "studio" / "jobs" / "services.py").read_text(encoding="utf-8")
    mine = [code for code in ALL.table if code not in REFUSALS.table]
    assert [code for code in mine if code not in said and f'"{code}"' not in text] == []


# Which argument of these is a sentence, or the part of one that is the caller's.
REFUSERS = {"EngineError": 1, "FilesUnclear": 0, "BrokenFile": 0, "_bad": -1, "_refuse": -1}
# What only terminals show, and parts that stay as whoever made the file would read them.
NOT_SHOWN = {"__main__.py", "chat.py", "console.py", "launch.py", "spec_file.py"}
NOT_SHOWN |= {"new_tokenizer.py", "inspect.py", "merge.py", "adapters.py"}
NOT_SHOWN |= {"lmdeploy_install.py", "triton_repo.py", "gradio_page.py"}
# Said to callers of `/v1`, whose clients show it as it is.
NOT_SHOWN |= {"chat_shapes.py", "constraints.py"}


def list_refusals():
    """Yield the file and words of every refusal of the engine's, `x` for what it names."""
    for path in (ROOT / "engine").rglob("*.py"):
        if path.name in NOT_SHOWN:
            continue
        places = REFUSERS | ({"ValueError": 0} if "specs" in path.parts else {})
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            place = places.get(ast.unparse(node.func))
            if place is not None and place < len(node.args):
                for words in read_words(node.args[place]):
                    yield path.name, words


def read_words(word: ast.expr) -> list[str]:
    if isinstance(word, ast.IfExp):
        return [*read_words(word.body), *read_words(word.orelse)]
    if isinstance(word, ast.JoinedStr):
        return [
            "".join(each.value if isinstance(each, ast.Constant) else "x" for each in word.values)
        ]
    return [word.value] if isinstance(word, ast.Constant) and isinstance(word.value, str) else []


def test_every_refusal_of_the_engine_s_that_pages_show_is_in_its_table():
    said = list(list_refusals())
    assert len(said) > 80
    assert [(name, words) for name, words in said if not REFUSALS.find(words)] == []


def test_a_spec_s_refusal_names_its_sentence_for_pages_in_other_languages():
    body = {"kind": "script", "command": ["a"], "inputs": {"../x": "datasets/a/b"}}
    with pytest.raises(ValidationError) as caught:
        JOB_SPEC.validate_python(body)
    why = spec_errors(caught.value)[0]["params"]["why"]
    assert why["told"] == {"code": "input_place", "params": {"place": "'/inputs/../x'"}}
