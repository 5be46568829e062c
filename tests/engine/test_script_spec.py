"""What a script's spec takes and refuses, each refusal one sentence that names the field."""

import pytest
from pydantic import ValidationError

from engine.spec_file import explain_problems
from engine.specs import JOB_SPEC, ScriptSpec, split_source


def read(**fields) -> ScriptSpec:
    spec = JOB_SPEC.validate_python({"kind": "script", "command": ["true"], **fields})
    assert isinstance(spec, ScriptSpec)
    return spec


def problem(**fields) -> str:
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    (sentence,) = explain_problems(caught.value)
    return sentence


def test_a_command_alone_is_a_script_in_ones_drive():
    spec = read(command=["python", "train.py", "--lr", "1e-3"])
    assert (spec.home, spec.output, spec.time_limit_minutes) == ("drive", "", 60)
    assert spec.list_inputs() == {}


def test_inputs_lie_where_they_are_told_to():
    spec = read(
        code="alice/code@v1",
        inputs={
            "alpaca": "datasets/alice/alpaca",
            "/share/models/tiny": "models/athanor/tiny@main",
        },
    )
    assert spec.list_inputs() == {
        "/code": ("model", "alice/code@v1"),
        "/inputs/alpaca": ("dataset", "alice/alpaca"),
        "/share/models/tiny": ("model", "athanor/tiny@main"),
    }
    assert split_source("datasets/a/b@c") == ("dataset", "a/b@c")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"command": []}, "command: must have at least 1 entries."),
        ({"command": [" "]}, "command has no program"),
        ({"command": ["a\x00b"]}, "or with a NUL"),
        ({"command": "python train.py"}, "command: "),
        ({"time_limit_minutes": 0}, "time_limit_minutes: must be at least 1"),
        ({"time_limit_minutes": 10**6}, "time_limit_minutes: must be at most 20160"),
        ({"output": "../up"}, "output: "),
        ({"image": "a/b"}, "image: "),
        ({"home": "nowhere"}, "home: must be one of 'drive' or 'empty'"),
        ({"code": "/etc"}, "code: a node has no files of yours"),
        ({"inputs": {"x": "./here"}}, "inputs.x: a node has no files of yours"),
        ({"inputs": {"x": "no repo"}}, "inputs.x: write namespace/name"),
        ({"inputs": {"/etc/passwd": "a/b"}}, "inputs has the place '/etc/passwd'"),
        ({"inputs": {"/inputs/../etc": "a/b"}}, "inputs has the place"),
        ({"inputs": {"/mnt/a": "a/b", "/mnt/a/b": "a/b"}}, "inputs has /mnt/a/b within /mnt/a"),
        ({"environment": {"1A": "x"}}, "environment has the name '1A'"),
        ({"environment": {"ATHANOR_RUN": "x"}}, "environment sets ATHANOR_RUN"),
        ({"environment": {"A": "x\x00"}}, "environment has a value"),
        ({"modle": "x"}, "modle: is no field of this spec"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(fields, said):
    assert said in problem(**fields)


def test_every_field_of_the_form_has_a_title_and_a_help():
    schema = ScriptSpec.model_json_schema()
    for name, field in schema["properties"].items():
        assert field["title"] and (name == "kind" or field["description"]), name
        assert name == "kind" or field["part"] in ("what", "how"), name
