"""The card and the provenance of an adapter, read back by the libraries that hubs use."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from engine.card import Provenance, write_card
from engine.hub import Resolved
from engine.specs import TrainSpec

SPEC = TrainSpec(model="athanor/base@main", dataset="alice/guide", output="my-guide", seed=5)


@pytest.fixture
def made(tmp_path) -> Provenance:
    base, data = tmp_path / "base", tmp_path / "data"
    base.mkdir()
    data.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    (data / "README.md").write_text("---\nlanguage: [zh, en]\n---\n# Data\n")
    return Provenance(
        spec=SPEC,
        base=Resolved(SPEC.model, base, "athanor/base", "a" * 40),
        dataset=Resolved(SPEC.dataset, data, "alice/guide", "b" * 40),
        metrics={"loss": 0.25, "eval_loss": 0.5},
        device="CPU, 2 threads",
        counts={"num_rows": 3},
        names={"job": "j1", "run": "r1"},
    )


def test_the_card_is_read_by_the_hub_client(made, tmp_path):
    write_card(tmp_path, made)
    data = ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert data["base_model"] == "athanor/base"
    assert data["base_model_revision"] == "a" * 40
    assert data["datasets"] == ["alice/guide"]
    assert data["license"] == "apache-2.0"
    assert data["language"] == ["zh", "en"]
    assert data["library_name"] == "peft"
    assert "athanor" in data["tags"]


def test_the_card_holds_the_spec_and_the_last_metrics(made, tmp_path):
    write_card(tmp_path, made)
    text = (tmp_path / "README.md").read_text()
    spec = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert TrainSpec.model_validate(spec) == SPEC
    assert "| eval_loss | 0.5 |" in text


def test_provenance_says_what_made_it(made, tmp_path):
    write_card(tmp_path, made)
    body = json.loads((tmp_path / "athanor.json").read_text())
    assert TrainSpec.model_validate(body["spec"]) == SPEC
    assert body["base"] == {"ref": SPEC.model, "repo": "athanor/base", "revision": "a" * 40}
    assert body["dataset"]["revision"] == "b" * 40
    assert body["dataset"]["num_rows"] == 3
    assert body["metrics"] == {"loss": 0.25, "eval_loss": 0.5}
    assert body["made_by"] == {"job": "j1", "run": "r1"}
    assert {"python", "torch", "transformers", "peft"} <= set(body["versions"])


@pytest.mark.parametrize("content", [b"\xff", b"---\n: [\n---\n", b"no front matter", b"---\n"])
def test_an_unreadable_card_of_the_base_takes_nothing_away(made, tmp_path, content):
    (made.base.path / "README.md").write_bytes(content)
    write_card(tmp_path, made)
    assert "license" not in ModelCard.load(tmp_path / "README.md").data.to_dict()


def test_a_base_from_a_folder_is_named_by_its_path(made, tmp_path):
    local = Provenance(**{**vars(made), "base": Resolved("./base", made.base.path)})
    write_card(tmp_path, local)
    assert "base_model" not in ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert "`./base`" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(("output", "title"), [("my-guide", "# my-guide"), ("", "# base-guide")])
def test_the_title_is_the_adapters_name(made, tmp_path, output, title):
    spec = SPEC.model_copy(update={"output": output})
    write_card(tmp_path, Provenance(**{**vars(made), "spec": spec}))
    assert title in (tmp_path / "README.md").read_text().splitlines()
