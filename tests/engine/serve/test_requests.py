"""What else the native backend is asked: texts, vectors, tokens, facts, and what it refuses."""

import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError

from engine.models.load import load_base, load_tokenizer
from engine.serve import cpu
from engine.serve.adapters import read_adapter
from engine.serve.backend import (
    ChatRequest,
    Departure,
    EmbedRequest,
    ModelUnknown,
    RequestRefused,
    Sampling,
    ServerClosing,
    TextRequest,
    WaitTooLong,
)
from engine.serve.metrics import MAX_STEP_S, Watchdog
from engine.serve.native_backend import NativeBackend, OpenedModel
from engine.specs import ServeSpec
from tests.engine.serve.fake_decoder import END_ID, FakeDecoder
from tests.engine.serve.tiny_models import DEADLINE_S, GREEDY, HELLO, Reader, ask, open_backend
from tests.live import wait_for

TEXT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(scope="module")
def backend(base, red):
    with open_backend(base, adapters=(str(red),), max_batch_tokens=24, max_running=8) as backend:
        yield backend


@pytest.fixture(scope="module")
def reference(base):
    return load_base(base, precision="fp32", device=torch.device("cpu"))


@pytest.fixture(scope="module")
def tokenizer(base):
    return load_tokenizer(base)


def complete(backend, model, prompt, sampling=GREEDY, **options):
    reader = Reader()
    request = TextRequest(model=str(model), prompt=prompt, sampling=sampling, **options)
    generation = backend.submit(request, reader.pieces.put)
    text, last = reader.read_all()
    return text, last, generation


@torch.inference_mode()
def test_a_text_is_continued_as_it_is_whether_text_or_ids(backend, base, reference, tokenizer):
    ids = tokenizer.encode(TEXT)
    wanted = list(ids)
    for _ in range(12):
        logits = reference(torch.tensor([wanted])).logits[0, -1]
        wanted.append(int(logits.argmax()))
    said = complete(backend, base, TEXT)
    assert said[0] == tokenizer.decode(wanted[len(ids) :], skip_special_tokens=True)
    assert complete(backend, base, tuple(ids))[0] == said[0]
    assert said[2].num_prompt_tokens == len(ids)


@torch.inference_mode()
def test_logprobs_are_those_of_transformers(backend, base, red, reference, tokenizer):
    sampling = Sampling(max_tokens=6, temperature=0, num_logprobs=3)
    for name, model in ((base, reference), (red, None)):
        if model is None:
            model = load_base(base, precision="fp32", device=torch.device("cpu"))
            model = PeftModel.from_pretrained(model, red)
        reader = Reader()
        request = TextRequest(model=str(name), prompt=TEXT, sampling=sampling)
        backend.submit(request, reader.pieces.put)
        ids, found = tokenizer.encode(TEXT), []
        while not (piece := reader.next()).finish:
            found += piece.logprobs
        assert found
        for each in found:
            wanted = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            assert each.logprob == pytest.approx(float(wanted[each.token_id]), abs=1e-4)
            top = wanted.topk(3)
            assert [token_id for token_id, _, _ in each.top] == top.indices.tolist()
            assert [v for _, _, v in each.top] == pytest.approx(top.values.tolist(), abs=1e-4)
            ids.append(each.token_id)


@torch.inference_mode()
def test_a_texts_vector_is_the_mean_of_its_last_hidden_states(backend, base, reference, tokenizer):
    texts = tuple(f"{TEXT} {number}" * (number % 3 + 1) for number in range(12))
    given = backend.embed(EmbedRequest(model=str(base), texts=(*texts, tuple(range(3, 60)))))
    for text, embedding in zip((*texts, None), given, strict=True):
        ids = tokenizer.encode(text) if text else list(range(3, 60))
        states = reference.model(torch.tensor([ids])).last_hidden_state[0]
        wanted = torch.nn.functional.normalize(states.mean(0), dim=0)
        assert torch.allclose(torch.tensor(embedding.vector), wanted, atol=1e-4)
        assert embedding.num_tokens == len(ids)


def test_texts_whose_caller_left_are_dropped_within_a_step(base):
    with open_backend(base, max_batch_tokens=24, max_running=8) as backend:
        decoder, num_steps = backend._loop._decoder, []
        entered, gate, compute = threading.Event(), threading.Event(), decoder.embed

        def embed_slowly(batch):
            num_steps.append(1)
            entered.set()
            assert gate.wait(DEADLINE_S)
            return compute(batch)

        decoder.embed = embed_slowly
        departure, outcome = Departure(), Future()
        request = EmbedRequest(model=str(base), texts=(TEXT * 3,) * 40)

        def ask_for_vectors():
            try:
                outcome.set_result(backend.embed(request, departure))
            except RequestRefused as error:
                outcome.set_exception(error)

        asking = threading.Thread(target=ask_for_vectors)
        asking.start()
        assert entered.wait(DEADLINE_S)
        departure.leave()
        gate.set()
        asking.join(DEADLINE_S)
        assert outcome.exception(DEADLINE_S).code == "aborted"
        wait_for("the texts to leave", lambda: not backend.describe().num_running_now)
        assert len(num_steps) == 1
        assert backend.describe().num_waiting_now == backend.describe().num_blocks_used_now == 0
        with pytest.raises(RequestRefused, match="has left"):
            backend.embed(request, departure)
        assert len(num_steps) == 1
        assert len(backend.embed(EmbedRequest(model=str(base), texts=(TEXT,)))) == 1


def test_tokens_go_forth_and_back(backend, base, tokenizer):
    ids = backend.tokenize(TextRequest(model=str(base), prompt=TEXT))
    assert ids == tokenizer.encode(TEXT)
    assert backend.detokenize(str(base), ids) == TEXT
    rendered = backend.tokenize(ChatRequest(model=str(base), messages=HELLO))
    assert backend.detokenize(str(base), rendered).endswith("<|im_start|>assistant\n")


def test_tools_reach_the_chat_template(base):
    with open_backend(base) as backend:
        backend._tokenizer.chat_template = "{% for t in tools %}{{ t.function.name }}{% endfor %}!"
        tool = {"type": "function", "function": {"name": "look_up"}}
        ids = backend.tokenize(ChatRequest(model=str(base), messages=HELLO, tools=(tool,)))
        assert backend.detokenize(str(base), ids) == "look_up!"


def test_a_beginning_is_found_again_by_its_own_tenant_only(backend, base):
    prompt = "Once upon a time there was a furnace that fed itself."
    cached = []
    for tenant in ("a", "b", "a"):
        text, last, _ = complete(backend, base, prompt, tenant=tenant)
        cached.append((text, last.usage.num_cached_tokens))
    assert [number for _, number in cached] == [0, 0, 48]
    assert len({text for text, _ in cached}) == 1


def test_a_name_that_is_given_to_other_weights_finds_nothing_of_the_old_ones(backend, red, blue):
    prompt = "A text that is long enough to fill some blocks of the pool."
    backend.load_adapter("mine", str(red))
    first = complete(backend, "mine", prompt)[0]
    backend.unload_adapter("mine")
    backend.load_adapter("mine", str(blue))
    second, last, _ = complete(backend, "mine", prompt)
    assert last.usage.num_cached_tokens == 0
    assert second != first
    # The same weights under another name are the same: their prefix may be used.
    again, last, _ = complete(backend, red, prompt)
    assert (again, last.usage.num_cached_tokens > 0) == (first, True)
    backend.unload_adapter("mine")


def test_facts_count_and_fingerprints_tell_weights_apart(backend, base, red, blue):
    before = backend.describe()
    text, last, _ = complete(backend, base, TEXT)
    facts = backend.describe()
    assert facts.num_tokens - before.num_tokens == last.num_tokens
    assert facts.num_prompt_tokens - before.num_prompt_tokens == last.usage.num_prompt_tokens
    assert facts.num_steps > before.num_steps
    assert facts.busy_s > before.busy_s
    assert (facts.engine[:7], facts.device, facts.quantization) == ("native/", "cpu", "none")
    assert facts.num_blocks_used_now == facts.num_running_now == 0
    for name, adapter in (("one", red), ("two", blue), ("three", red)):
        backend.load_adapter(name, str(adapter))
    signs = dict(backend.describe().fingerprints)
    assert signs["one"] == signs["three"] == signs[str(red)]
    assert len({signs["one"], signs["two"], signs[str(base)]}) == 3
    for name in ("one", "two", "three"):
        backend.unload_adapter(name)


def test_fingerprints_tell_apart_whatever_computes_in_another_way(base, monkeypatch):
    def sign(**options) -> str:
        with open_backend(base, **options) as backend:
            return dict(backend.describe().fingerprints)[str(base)]

    signs = [sign(), sign(precision="bf16"), sign(kv_precision="int8"), sign(kv_precision="int4")]
    assert sign() == signs[0]
    monkeypatch.setattr(cpu, "is_available", lambda: SimpleNamespace(why_not="as told"))
    signs += [sign(), sign(is_batch_invariant=True)]
    monkeypatch.setattr("engine.serve.base.FAMILIES", {})
    signs.append(sign())
    assert len(set(signs)) == len(signs)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"prompt": ""}, "prompt is empty; write something"),
        ({"prompt": (5, 100_000)}, "prompt: there is no token 100000; they go from 0 to 258"),
        ({"prompt": (-1,)}, "no token -1"),
        ({"prompt": "x" * 600}, "The prompt takes 600 tokens, and the context is 512"),
        ({"sampling": Sampling(logit_bias=((999, 1.0),))}, "logit_bias: there is no token 999"),
        ({"sampling": Sampling(stop_token_ids=(999,))}, "stop_token_ids: there is no token 999"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_field(backend, base, options, word):
    with pytest.raises(RequestRefused, match=word):
        complete(backend, base, **{"prompt": "x"} | options)
    assert backend.is_healthy()


def test_a_text_that_is_too_long_to_embed_is_refused(backend, base):
    with pytest.raises(RequestRefused, match="shorten the text"):
        backend.embed(EmbedRequest(model=str(base), texts=("fine", "x" * 600)))
    for call in (
        lambda: backend.embed(EmbedRequest(model="nobody", texts=("x",))),
        lambda: backend.tokenize(TextRequest(model="nobody", prompt="x")),
        lambda: backend.detokenize("nobody", [1]),
    ):
        with pytest.raises(ModelUnknown):
            call()


def test_own_stop_tokens_end_an_answer_and_the_models_can_be_passed_over(backend, base, tokenizer):
    whole = complete(backend, base, TEXT, Sampling(max_tokens=30, temperature=0))[0]
    stop_id = tokenizer.encode(whole)[4]
    sampling = Sampling(max_tokens=30, temperature=0, stop_token_ids=(stop_id,))
    text, last, _ = complete(backend, base, TEXT, sampling)
    assert (last.finish, whole.startswith(text), len(text) < len(whole)) == ("stop", True, True)
    bias = ((tokenizer.eos_token_id, 100.0),)
    assert complete(backend, base, TEXT, Sampling(logit_bias=bias))[1].num_tokens == 1
    sampling = Sampling(max_tokens=7, logit_bias=bias, ignores_end=True)
    last = complete(backend, base, TEXT, sampling)[1]
    assert (last.finish, last.num_tokens) == ("length", 7)


def test_special_tokens_are_part_of_the_text_only_where_asked(backend, base, tokenizer):
    mark = "<|im_start|>"
    bias = ((tokenizer.convert_tokens_to_ids(mark), 100.0),)
    said = []
    for shown in ((), (mark,)):
        sampling = Sampling(max_tokens=3, temperature=0, logit_bias=bias, shows_special=shown)
        said.append(complete(backend, base, TEXT, sampling)[0])
    assert said == ["", mark * 3]


def test_a_step_that_answers_alone_would_fill_is_refused():
    with pytest.raises(ValidationError, match="raise the first above the second"):
        ServeSpec(model="a/b", max_batch_tokens=64, max_running=64)


def test_a_pool_smaller_than_the_context_bounds_it(base):
    with open_backend(base, kv_memory_bytes=2**20, max_running=1) as backend:
        wide = backend.list_models()[0].max_context
    assert wide == 512
    assert backend.describe().num_blocks == 32


def test_closing_lets_an_answer_end_and_refuses_what_comes(base):
    with open_backend(base) as backend:
        alone = ask(backend, str(base))
        reader = Reader()
        request = ChatRequest(model=str(base), messages=HELLO, sampling=GREEDY)
        backend.submit(request, reader.pieces.put)
        closing = threading.Thread(target=backend.close, args=(DEADLINE_S,))
        closing.start()
        assert reader.read_all()[0] == alone
        closing.join(DEADLINE_S)
        with pytest.raises(ServerClosing):
            ask(backend, str(base))
        with pytest.raises(ServerClosing):
            backend.embed(EmbedRequest(model=str(base), texts=("x",)))


def test_a_step_that_does_not_end_is_hung_and_a_thread_that_ended_has_failed(tokenizer):
    decoder = FakeDecoder()
    model = OpenedModel(
        decoder=decoder,
        tokenizer=tokenizer,
        end_ids=frozenset([END_ID]),
        max_positions=64,
        engine="fake/1",
        device="cpu",
        quantization="none",
        arithmetic="fake",
        digest="",
    )
    backend = NativeBackend(ServeSpec(model="./fake"), model, read_adapter)
    watchdog, clock = Watchdog(backend), backend._loop._clock
    try:
        decoder.gate.clear()
        reader = Reader()
        request = TextRequest(model="./fake", prompt=(5, 6), sampling=GREEDY)
        backend.submit(request, reader.pieces.put)
        assert decoder.is_entered.wait(DEADLINE_S)
        assert watchdog.judge() == "ok"
        backend._loop._clock = lambda: clock() + 1 + MAX_STEP_S
        assert watchdog.judge() == "hung"
        decoder.gate.set()
        reader.read_all()
        wait_for("the answer to leave", lambda: not backend.describe().num_running_now)
        assert watchdog.judge() == "ok"
    finally:
        decoder.gate.set()
        backend.close()
    assert watchdog.judge() == "failed"


def test_a_deadline_of_nothing_is_refused(backend, base):
    with pytest.raises(WaitTooLong, match="deadline of 0.0 s"):
        complete(backend, base, TEXT, deadline_s=0.0)
