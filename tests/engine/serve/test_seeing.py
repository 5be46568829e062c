"""The larger Gemma 3, which sees: its text part is served as fast as that of those without eyes."""

import json

import httpx
import pytest
import torch

from engine.models.tiny import make_tokenizer
from engine.serve import cpu
from engine.serve.base import open_base
from engine.serve.decoder.families import read_model
from engine.serve.native import read_end_id
from engine.specs import Placement, ServeSpec
from tests.engine.serve.decoder.cases import (
    Request,
    distance,
    draw_ids,
    make_case,
    run_step,
    save_case,
)
from tests.engine.serve.test_native import generate
from tests.engine.serve.tiny_models import GREEDY, HELLO, ask, open_backend, serve_backend

SIZES = {"vocab_size": 259}
LAYOUTS = ("gemma3-whole", "gemma3-whole-5")


@pytest.fixture(scope="module", params=LAYOUTS)
def folder(request, tmp_path_factory):
    made = save_case(tmp_path_factory.mktemp("whole") / request.param, request.param, **SIZES)
    make_tokenizer().save_pretrained(made)
    return made


def test_it_answers_greedily_as_transformers_does(folder):
    with open_backend(folder) as backend:
        assert ask(backend, str(folder), GREEDY) == generate(folder, HELLO, GREEDY.max_tokens)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_compiled_decoder_gives_the_logits_of_transformers(tmp_path, layout):
    shape, weights = read_model(save_case(tmp_path, layout), dtype=torch.float32)
    decoder = cpu.open_cpu_decoder(shape, weights, num_blocks=4, num_threads=1, max_adapters=0)
    ids = draw_ids(40)
    (found,) = run_step(decoder, [(Request(ids, [2, 0, 1]), 40)])
    with torch.inference_mode():
        assert distance(found, make_case(layout)(torch.tensor([ids])).logits[0]) < 1e-5


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_its_keys_and_values_may_be_rounded(folder, tmp_path, precision):
    spec = ServeSpec(model=str(folder), precision="fp32", kv_precision=precision)
    base = open_base(folder, spec, Placement(run_dir=tmp_path))
    assert base.decoder.vocab_size == SIZES["vocab_size"]
    base.decoder.close()


def test_a_picture_is_refused_in_a_sentence(folder):
    picture = {"type": "image_url", "image_url": {"url": "data:,x"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    with open_backend(folder) as backend, serve_backend(backend) as url:
        answer = httpx.post(
            f"{url}/v1/chat/completions", json={"model": str(folder), "messages": messages}
        )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "messages[0].content[1].type" and "\n" not in error["message"]


def test_its_end_tokens_are_found_where_only_its_text_part_names_them(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = [1, 106]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_end_id(tmp_path) == [1, 106]
