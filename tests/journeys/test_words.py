"""The dashboard has Chinese words for what the engine says: fields, bad rows, reasons."""

import re
from pathlib import Path
from typing import get_args

from engine.specs import QuantizeSpec, ScriptSpec, ServeSpec, TrainSpec
from engine.specs.messages import SENTENCES
from engine.status import Reason, Status

WORDS = Path(__file__).resolve().parents[2] / "frontend" / "src" / "i18n"


def keys_of(file: str, name: str) -> set[str]:
    """Return the keys of one object literal in a catalogue file."""
    source = (WORDS / file).read_text()
    start = source.index(f"{name}: Record<") if f"{name}: Record<" in source else source.index(name)
    body = source[start : source.index("\n}", start)]
    return set(re.findall(r'^  "?([a-z0-9_.]+)"?:', body, re.MULTILINE))


def fields_of(model: type, path: str = "") -> set[str]:
    """Return every field path of a spec that the form asks for, nested ones too."""
    paths = set()
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        paths.add(f"{path}{name}")
        kinds = get_args(field.annotation)
        for kind in kinds if type(None) in kinds else (field.annotation,):
            if hasattr(kind, "model_fields"):
                paths |= fields_of(kind, f"{path}{name}.")
    return paths


def test_every_field_of_the_forms_has_chinese_words():
    scripts = fields_of(ScriptSpec, "script.")  # whose words are not those of a finetune
    quantizing = fields_of(QuantizeSpec, "quantize.")
    told = fields_of(TrainSpec) | fields_of(ServeSpec) | quantizing | scripts
    told |= {"serve.precision"}  # that of weights which are not trained
    assert told == keys_of("zh/fields.ts", "fields")


def test_the_choices_of_a_script_s_home_have_chinese_words():
    options = get_args(ScriptSpec.model_fields["home"].annotation)
    source = (WORDS / "zh" / "fields.ts").read_text()
    told = re.search(r'"script\.home": {.*?options: {(.*?)}', source, re.DOTALL)
    assert told and set(re.findall(r"(\w+):", told[1])) == set(options)


def test_every_unit_of_the_forms_has_a_chinese_word():
    units = {
        str(field.json_schema_extra["unit"])
        for spec in (TrainSpec, QuantizeSpec, ServeSpec, ScriptSpec)
        for field in spec.model_fields.values()
        if isinstance(field.json_schema_extra, dict) and "unit" in field.json_schema_extra
    }
    assert units <= keys_of("zh/units.ts", "units")


def test_every_problem_of_a_row_has_chinese_words():
    assert set(SENTENCES) == keys_of("zh/problems.ts", "problem")


def test_every_status_and_reason_has_words_in_both_languages():
    for language in ("en", "zh"):
        source = (WORDS / language / "basics.ts").read_text()
        wanted = {str(word) for word in [*Status, *Reason] if word}
        missing = {word for word in wanted if not re.search(rf"^ +{word}:\s", source, re.MULTILINE)}
        assert missing == set(), language
