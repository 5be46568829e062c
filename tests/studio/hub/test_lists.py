"""Lists of repos as real clients narrow them, and the facts they read from a repo's info."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given
from hypothesis import strategies as st

from studio.hub.huggingface.lists import read_tag
from studio.hub.models import Repo
from tests.studio.hub.made import make_row, push
from tests.studio.hub.weights import ADAPTER_FILES, MODEL_FILES

pytestmark = pytest.mark.django_db
MODEL_CARD = (
    b"---\nlicense: mit\nlanguage: [zh, en]\npipeline_tag: summarization\ntags: [tiny]\n---\n"
)
DATA_CARD = b"---\nlicense: cc0-1.0\nlanguage: zh\ntask_categories: [question-answering]\n---\n"


@pytest.fixture
def repos(alice):
    push(alice, "alice/base", MODEL_FILES | {"README.md": MODEL_CARD}, kind="model")
    push(alice, "alice/plain", MODEL_FILES, kind="model")
    push(alice, "alice/lora", ADAPTER_FILES, kind="model")
    rows = "".join(make_row(str(n)) + "\n" for n in range(20)).encode()
    push(alice, "alice/data", {"train.jsonl": rows, "README.md": DATA_CARD})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"filter": "license:mit"}, {"base"}),
        ({"filter": "mit"}, {"base"}),
        ({"filter": ["tiny", "zh"]}, {"base"}),
        ({"filter": ["tiny", "fr"]}, set()),
        ({"filter": "summarization"}, {"base"}),
        ({"pipeline_tag": "summarization"}, {"base"}),
        ({"filter": "peft"}, {"lora"}),
        ({"filter": "library:transformers"}, {"base", "plain"}),
        ({"filter": "base_model:athanor/tiny"}, {"lora"}),
        ({"filter": "base_model:adapter:athanor/tiny"}, {"lora"}),
        ({"filter": "base_model:quantized:athanor/tiny"}, set()),
        ({"num_parameters": "min:10,max:1K"}, {"base", "plain", "lora"}),
        ({"num_parameters": "min:1M"}, set()),
        ({"sort": "trending_score", "author": "alice"}, {"base", "plain", "lora"}),
    ],
)
def test_models_are_narrowed_by_what_their_cards_and_files_tell(
    repos, client_of, alice, asked, found
):
    listed = client_of(alice).list_models(**asked)
    assert {each.id.removeprefix("alice/") for each in listed} == found


@pytest.mark.parametrize(
    ("asked", "num_found"),
    [
        ({"language": "zh"}, 1),
        ({"language": "en"}, 0),
        ({"size_categories": "n<1K"}, 1),
        ({"size_categories": "1K<n<10K"}, 0),
        ({"size_categories": "n>1T"}, 0),
        ({"size_categories": "nonsense"}, 0),
        ({"task_categories": "question-answering"}, 1),
        ({"filter": "format:jsonl"}, 1),
        ({"filter": "modality:audio"}, 0),
    ],
)
def test_datasets_are_narrowed(repos, client_of, alice, asked, num_found):
    assert len(list(client_of(alice).list_datasets(**asked))) == num_found


def test_an_info_tells_the_task_and_library_of_the_card(repos, client_of, alice):
    api = client_of(alice)
    base = api.model_info("alice/base")
    assert (base.pipeline_tag, base.library_name) == ("summarization", "transformers")
    assert {"tiny", "license:mit", "language:zh", "transformers"} <= set(base.tags)
    assert api.model_info("alice/plain").pipeline_tag == "text-generation"
    lora = api.model_info("alice/lora")
    assert lora.library_name == "peft" and "base_model:athanor/tiny" in lora.tags


def test_a_list_costs_the_same_however_many_there_are(repos, api, alice):
    client = api(alice)
    counts = []
    for number in range(3):
        with CaptureQueriesContext(connection) as asked:
            assert len(client.get("/api/models").json()) == 3 + number
        counts.append(len(asked))
        push(alice, f"alice/more-{number}", MODEL_FILES, kind="model")
    assert counts[1] == counts[2] < 12


@given(st.text(max_size=80) | st.from_regex(r"\A(size_categories|base_model|license):.{0,20}\Z"))
def test_no_tag_breaks_a_list(tag):
    assert not Repo.objects.filter(read_tag(tag)).exists()


def test_what_this_hub_has_not_is_told_in_a_sentence(client_of, alice):
    with pytest.raises(HfHubHTTPError, match="There is no /api/spaces here"):
        list(client_of(alice).list_spaces())
