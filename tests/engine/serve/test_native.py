"""The native backend on the tiny model: right answers, whoever else is served at the same time."""

import os
import threading

import pytest
import torch
from peft import PeftModel
from transformers import GenerationConfig

from engine.errors import EngineError
from engine.models.load import load_base, load_tokenizer
from engine.serve.adapters import read_adapter
from engine.serve.backend import ChatRequest, ModelUnknown, RequestRefused, Sampling, TextRequest
from engine.serve.native import find_end_ids
from tests.engine.serve.tiny_models import DEADLINE_S, GREEDY, HELLO, Reader, ask, open_backend

LONG = Sampling(max_tokens=60, temperature=0)


@pytest.fixture
def backend(base, red):
    with open_backend(base, adapters=(str(red),)) as backend:
        yield backend


def generate(folder, messages, max_tokens: int, adapter=None) -> str:
    """What transformers itself answers, greedily."""
    model = load_base(folder, precision="fp32", device=torch.device("cpu"))
    tokenizer = load_tokenizer(folder)
    end_ids = sorted(find_end_ids(model.generation_config.eos_token_id, tokenizer))
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    prompt = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    config = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=end_ids, pad_token_id=0
    )
    ids = model.generate(**prompt, generation_config=config)[0, prompt["input_ids"].shape[1] :]
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_greedy_answers_are_those_of_transformers(base, red, backend):
    for text in ("Hello", "a", "Who are you? \u4f60\u597d"):
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": text})
        assert ask(backend, str(base), LONG, messages) == generate(base, messages, 60)
        assert ask(backend, str(red), LONG, messages) == generate(base, messages, 60, red)


TIE = 1e-3  # logits apart by less are alike: fp32 sums in another order differ by up to 1e-4 here

SUBJECTS = (
    *("the sea", "\u4f60\u597d", "primes", "a furnace", "tea", "Rome", "rain", "1 + 1", "a fox"),
    *("iron", "Monday", "x = [1, 2]", "my cat", "\u4eca\u5929", "silence", "page 7", "clay"),
    *("SQL", "an oak", "joy"),
)
VERBS = (
    *("Tell me of", "Write on", "Sing", "Why is there", "Count", "Translate", "Forget", "Praise"),
    *("List what you know about", "Is it true of"),
)
NUM_PROMPTS = int(os.environ.get("ATHANOR_GREEDY_PROMPTS", "24"))  # of 200: minutes


@pytest.mark.slow
@torch.inference_mode()
def test_the_real_model_answers_greedily_as_transformers_does(smollm2):
    """Each token of answers made together is the likeliest of one plain pass over the whole."""
    texts = [f"{verb} {what}." for what in SUBJECTS for verb in VERBS][:NUM_PROMPTS]
    sampling = Sampling(max_tokens=32, temperature=0, num_logprobs=0)
    answers = []
    with open_backend(smollm2, max_batch_tokens=64, max_running=9, max_waiting=200) as backend:
        for text in texts:
            reader = Reader()
            request = ChatRequest(
                model=str(smollm2), messages=({"role": "user", "content": text},), sampling=sampling
            )
            answers.append((backend.tokenize(request), reader))
            backend.submit(request, reader.pieces.put)
        said = [(prompt, *collect_ids(reader)) for prompt, reader in answers]
    model = load_base(smollm2, precision="fp32", device=torch.device("cpu"))
    ends = find_end_ids(model.generation_config.eos_token_id, load_tokenizer(smollm2))
    for prompt, ids, finish in said:
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 :]
        gaps = logits[: len(ids)].amax(-1) - logits[range(len(ids)), ids]
        assert gaps.max() < TIE
        if finish == "stop":
            assert logits[-1].amax() - logits[-1, sorted(ends)].amax() < TIE


def collect_ids(reader: Reader) -> tuple[list[int], str]:
    ids: list[int] = []
    while True:
        piece = reader.next()
        ids += [each.token_id for each in piece.logprobs]
        if piece.finish:
            return ids, piece.finish


EXACT = Sampling(max_tokens=60, temperature=0.8, seed=3, num_logprobs=3, ignores_end=True)
EXACT_PROMPT = "A furnace that feeds itself, and whoever stands beside it."
# With it more than the 128 blocks that a mebibyte holds.
COMPANY = [f"{number}: {EXACT_PROMPT}"[: 40 + number] for number in range(24)]


def submit_exact(backend, model, prompt=EXACT_PROMPT):
    reader = Reader()
    request = TextRequest(model=str(model), prompt=prompt, sampling=EXACT)
    return reader, backend.submit(request, reader.pieces.put)


def collect_logprobs(reader: Reader):
    """Return every number that came with an answer, and its usage."""
    told = []
    while True:
        piece = reader.next()
        told += piece.logprobs
        if piece.finish:
            return told, piece.usage


def test_logprobs_are_the_same_floats_alone_in_company_on_a_prefix_and_after_a_preemption(base):
    with open_backend(base, max_batch_tokens=200, has_prefix_cache=False) as backend:
        assert backend._model.decoder.is_batch_invariant
        alone, _ = collect_logprobs(submit_exact(backend, base)[0])
        assert len(alone) == 60
        others = [collect_logprobs(submit_exact(backend, base, text)[0])[0] for text in COMPANY]
        company = [submit_exact(backend, base, text)[0] for text in COMPANY]
        assert collect_logprobs(submit_exact(backend, base)[0])[0] == alone
        assert [collect_logprobs(reader)[0] for reader in company] == others
    with open_backend(base, max_batch_tokens=7, max_running=6) as backend:
        pieces = collect_logprobs(submit_exact(backend, base)[0])
        again = collect_logprobs(submit_exact(backend, base)[0])
        assert (pieces[0], again[0]) == (alone, alone)
        assert again[1].num_cached_tokens > pieces[1].num_cached_tokens == 0
    with open_backend(base, max_running=32, kv_memory_bytes=2**20) as backend:
        company = [submit_exact(backend, base, text)[0] for text in COMPANY]
        last, generation = submit_exact(backend, base)
        assert collect_logprobs(last)[0] == alone
        assert generation._ticket.stream.num_preemptions
        assert [collect_logprobs(reader)[0] for reader in company] == others


def test_a_prompt_read_in_chunks_gives_the_same_answer(base, backend):
    whole = ask(backend, str(base), LONG)
    with open_backend(base, max_batch_tokens=5, max_running=2) as other:
        assert ask(other, str(base), LONG) == whole


def test_requests_of_many_models_at_once_do_not_mix(base, red, blue, backend):
    backend.load_adapter("blue", str(blue))
    names = [str(base), str(red), "blue"]
    alone = {name: ask(backend, name, LONG) for name in names}
    assert len(set(alone.values())) == 3
    readers = [(name, Reader()) for name in names * 4]
    for name, reader in readers:
        backend.submit(ChatRequest(model=name, messages=HELLO, sampling=LONG), reader.pieces.put)
    for name, reader in readers:
        assert reader.read_all()[0] == alone[name]


def test_neighbours_do_not_change_what_a_seed_draws(base, red, backend):
    sampling = Sampling(max_tokens=40, temperature=1.5, top_p=0.9, seed=5)
    alone = ask(backend, str(base), sampling)
    readers = [Reader() for _ in range(4)]
    for reader, name in zip(readers, [str(base), str(red)] * 2, strict=True):
        backend.submit(
            ChatRequest(model=name, messages=HELLO, sampling=sampling), reader.pieces.put
        )
    answers = [reader.read_all()[0] for reader in readers]
    assert answers[0] == answers[2] == alone
    assert answers[1] == answers[3] != alone


def test_adapters_that_come_and_go_do_not_disturb_an_answer_under_way(base, blue, backend):
    alone = ask(backend, str(base), LONG)
    reader = Reader()
    backend.submit(ChatRequest(model=str(base), messages=HELLO, sampling=LONG), reader.pieces.put)
    head = reader.next().text
    backend.load_adapter("blue", str(blue))
    assert "blue" in [model.name for model in backend.list_models()]
    backend.unload_adapter("blue")
    assert head + reader.read_all()[0] == alone


def test_unloading_refuses_newcomers_and_waits_for_who_is_there(red, backend):
    alone = ask(backend, str(red), LONG)
    held, opened, reader = threading.Event(), threading.Event(), Reader()

    def hold(piece):
        held.set()
        assert opened.wait(DEADLINE_S)
        reader.pieces.put(piece)

    backend.submit(ChatRequest(model=str(red), messages=HELLO, sampling=LONG), hold)
    assert held.wait(DEADLINE_S)
    unloading = threading.Thread(target=backend.unload_adapter, args=(str(red),))
    unloading.start()
    while len(backend.list_models()) > 1:
        unloading.join(0.01)
    with pytest.raises(ModelUnknown):
        ask(backend, str(red))
    assert unloading.is_alive()
    opened.set()
    assert reader.read_all()[0] == alone
    unloading.join(DEADLINE_S)
    assert not unloading.is_alive()


def test_an_unloaded_name_can_be_given_to_another_adapter(red, blue, backend):
    backend.load_adapter("mine", str(red))
    first = ask(backend, "mine")
    backend.unload_adapter("mine")
    backend.load_adapter("mine", str(blue))
    assert ask(backend, "mine") != first == ask(backend, str(red))


def test_loading_the_same_again_changes_nothing(red, backend):
    before = backend.list_models()
    backend.load_adapter(str(red), str(red))
    assert backend.list_models() == before


def test_many_loads_of_one_adapter_at_once_load_it_once(blue, backend):
    threads = [
        threading.Thread(target=backend.load_adapter, args=("blue", str(blue))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [model.name for model in backend.list_models()].count("blue") == 1


def test_a_taken_name_is_refused(base, red, blue, backend):
    for name in (str(red), str(base)):
        with pytest.raises(RequestRefused, match="unload it first"):
            backend.load_adapter(name, str(blue))


def test_the_adapter_asked_least_recently_makes_room_for_another(base, red):
    with open_backend(base, adapter_memory_bytes=2 * read_adapter(red).size_bytes) as backend:
        backend.load_adapter("one", str(red))
        backend.load_adapter("two", str(red))
        ask(backend, "one", LONG)
        backend.load_adapter("three", str(red))
        assert [model.name for model in backend.list_models()] == [str(base), "one", "three"]
        with pytest.raises(ModelUnknown):
            ask(backend, "two", LONG)
        backend.load_adapter("two", str(red))
        assert ask(backend, "two", LONG) == ask(backend, "three", LONG)


def test_an_adapter_of_the_spec_stays_and_one_that_never_fits_is_alone(base, red, blue):
    with open_backend(base, adapters=(str(red),), adapter_memory_bytes=0) as backend:
        for name in ("one", "two"):
            backend.load_adapter(name, str(blue))
            assert {model.name for model in backend.list_models()} == {str(base), str(red), name}


def test_an_adapter_that_cannot_be_loaded_takes_no_name(tmp_path, base, backend):
    before = backend.list_models()
    with pytest.raises(EngineError):
        backend.load_adapter("odd", str(tmp_path))
    assert backend.list_models() == before
    assert ask(backend, str(base))


def test_an_unknown_model_or_adapter_is_named(backend):
    with pytest.raises(ModelUnknown, match="nobody/nothing"):
        ask(backend, "nobody/nothing")
    with pytest.raises(ModelUnknown, match="nobody/nothing"):
        backend.unload_adapter("nobody/nothing")


def test_an_answer_without_a_limit_ends_with_the_context(base):
    with open_backend(base, max_context=64) as backend:
        reader = Reader()
        request = ChatRequest(model=str(base), messages=HELLO, sampling=Sampling(temperature=0))
        generation = backend.submit(request, reader.pieces.put)
        last = reader.read_all()[1]
    assert (last.finish, generation.num_prompt_tokens + last.num_tokens) == ("length", 64)


def test_more_than_the_context_is_refused_with_the_numbers(base):
    with open_backend(base, max_context=64) as backend:
        with pytest.raises(RequestRefused, match=r"take \d+ tokens and max_tokens 60.*is 64"):
            ask(backend, str(base), Sampling(max_tokens=60))
        with pytest.raises(RequestRefused, match="shorten the messages"):
            ask(backend, str(base), GREEDY, ({"role": "user", "content": "long" * 64},))


def test_what_the_chat_template_refuses_is_told(base, backend):
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}x"
    )
    backend._tokenizer.chat_template = template
    with pytest.raises(RequestRefused, match="no system"):
        ask(backend, str(base), GREEDY, ({"role": "system", "content": "s"}, *HELLO))


def test_every_end_of_turn_ends_an_answer(base):
    tokenizer = load_tokenizer(base)
    names = ["<|im_end|>", "<|endoftext|>"]
    known = set(tokenizer.convert_tokens_to_ids(names))
    assert find_end_ids([77, 78], tokenizer) == {77, 78} | known
    assert find_end_ids(77, tokenizer) == {77} | known
    assert find_end_ids(None, tokenizer) == known
