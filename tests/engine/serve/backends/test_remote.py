"""Another server as a backend, over real HTTP: what goes over, what comes back, what breaks."""

import json
import queue
import select
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.serve.backend import (
    ChatRequest,
    Constraint,
    Departure,
    EmbedFailed,
    EmbedRequest,
    ModelUnknown,
    Piece,
    QueueFull,
    RequestRefused,
    Sampling,
    TextRequest,
)
from engine.serve.backends import open_backend
from engine.specs import Placement, ServeSpec
from tests.engine.serve.scripted import FULL_SEED, Scripted, embed_text
from tests.engine.serve.tiny_models import DEADLINE_S, Reader, serve_backend

HI = ({"role": "user", "content": "Hi"},)
NOW = {"type": "function", "function": {"name": "now"}}
CALL = '<tool_call>\n{"name": "now", "arguments": {"zone": 1}}\n</tool_call>'


def script(request):
    if request.sampling.seed == 7:
        return [Piece("a", 1)]
    if request.sampling.seed == 8:
        return [Piece("a", 1), Piece("", 1, "error", message="Bad luck.")]
    return CALL if getattr(request, "tools", ()) else "Hello"


@pytest.fixture(scope="module")
def there():
    return Scripted(script, template="<tool_call>", adapters=["me/red"], base="their/model")


@pytest.fixture(scope="module")
def url(there):
    with serve_backend(there, token="secret") as url:
        yield f"{url}/v1"


def open_url(url, tmp_path, *, token="secret", **options):
    spec = ServeSpec(**{"model": "my/name", "backend": "remote", "url": url} | options)
    return open_backend(spec, Placement(run_dir=tmp_path, remote_token=token), Emitter())


@pytest.fixture
def backend(url, tmp_path):
    backend = open_url(url, tmp_path)
    yield backend
    backend.close()


def read(backend, request):
    reader = Reader()
    backend.submit(request, reader.pieces.put)
    pieces = [reader.next()]
    while pieces[-1].finish is None:
        pieces.append(reader.next())
    return pieces


def test_its_only_model_answers_under_our_name(backend, there):
    assert [(m.name, m.base) for m in backend.list_models()] == [
        ("my/name", None),
        ("me/red", "my/name"),
    ]
    pieces = read(backend, ChatRequest(model="my/name", messages=HI))
    assert "".join(piece.text for piece in pieces) == "Hello"
    assert there.asked[-1].model == "their/model"
    assert pieces[-1].usage.num_prompt_tokens == 2
    assert pieces[-1].usage.num_cached_tokens == 2
    assert pieces[-1].num_tokens == 5
    read(backend, ChatRequest(model="me/red", messages=HI))
    assert there.asked[-1].model == "me/red"
    with pytest.raises(ModelUnknown):
        backend.submit(ChatRequest(model="nobody", messages=HI), print)


def test_every_setting_goes_over(backend, there):
    sampling = Sampling(
        max_tokens=4,
        temperature=0.5,
        top_k=3,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.1,
        frequency_penalty=0.2,
        presence_penalty=0.3,
        logit_bias=((5, 1.0),),
        stop=("x",),
        stop_token_ids=(9,),
        ignores_end=True,
        seed=1,
        num_logprobs=2,
        constraint=Constraint("json_schema", '{"type": "object"}'),
    )
    pieces = read(backend, ChatRequest(model="my/name", messages=HI, sampling=sampling))
    assert there.asked[-1].sampling == sampling
    assert pieces[0].logprobs[0].token == "H"
    assert [top[1] for top in pieces[0].logprobs[0].top] == ["H", "I"]
    assert pieces[-1].finish == "length"
    text = TextRequest(model="my/name", prompt=(72, 105), sampling=Sampling(num_logprobs=1))
    pieces = read(backend, text)
    assert there.asked[-1].prompt == (72, 105)
    assert [piece.logprobs[0].token for piece in pieces[:-1]] == list("Hello")


def test_what_has_no_common_word_is_refused(backend):
    sampling = Sampling(constraint=Constraint("regex", "a"))
    with pytest.raises(RequestRefused, match="regex has no common word"):
        backend.submit(ChatRequest(model="my/name", messages=HI, sampling=sampling), print)


def test_tool_calls_go_over_and_come_back_through_both_servers(backend, there):
    with serve_backend(backend) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="x")
        choice = client.chat.completions.create(
            model="my/name", messages=HI, tools=[NOW], tool_choice="required"
        ).choices[0]
        said = choice.message.model_dump()
        result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "noon"}
        client.chat.completions.create(model="my/name", messages=[*HI, said, result])
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"zone": 1}
    assert there.asked[-2].tool_choice == "required"
    assert there.asked[-2].sampling.constraint.kind == "grammar"
    turns = there.asked[-1].messages
    assert turns[1]["tool_calls"][0]["function"]["arguments"] == {"zone": 1}
    assert turns[2]["content"] == "noon"


def test_the_small_doors_go_over(backend, there):
    vectors = backend.embed(EmbedRequest("my/name", ("a", "bc")))
    assert vectors[1].vector == pytest.approx(embed_text("bc"))
    assert backend.tokenize(TextRequest(model="my/name", prompt="ab")) == [97, 98]
    assert backend.detokenize("my/name", [97]) == "a"
    backend.load_adapter("me/new", "me/new")
    assert "me/new" in {model.name for model in backend.list_models()}
    backend.unload_adapter("me/new")
    assert "me/new" not in {model.name for model in backend.list_models()}
    with pytest.raises(RequestRefused) as refused:
        backend.unload_adapter("me/new")
    assert refused.value.status == 404


def test_refusals_keep_their_status_and_words(backend):
    full = ChatRequest(model="my/name", messages=HI, sampling=Sampling(seed=FULL_SEED))
    with pytest.raises(QueueFull) as refused:
        backend.submit(full, print)
    assert refused.value.retry_after_s == 7
    assert "4 requests are waiting" in refused.value.message
    bad = ChatRequest(model="my/name", messages=HI, sampling=Sampling(temperature=9))
    with pytest.raises(RequestRefused) as refused:
        backend.submit(bad, print)
    assert (refused.value.status, refused.value.field) == (400, "temperature")


def test_an_answer_that_fails_there_fails_here(backend):
    last = read(backend, ChatRequest(model="my/name", messages=HI, sampling=Sampling(seed=8)))[-1]
    assert (last.finish, last.message) == ("error", "Bad luck.")
    assert backend.describe().num_failed == 1


def test_an_abort_hangs_up_and_frees_the_place_there(backend, there):
    there.aborted.clear()
    reader = Reader()
    request = ChatRequest(model="my/name", messages=HI, sampling=Sampling(seed=7))
    answer = backend.submit(request, reader.pieces.put)
    assert reader.next().text == "a"
    answer.abort()
    assert reader.next().finish == "abort"
    assert there.aborted.wait(DEADLINE_S)


def test_closing_waits_for_answers_as_long_as_it_may(url, there, tmp_path):
    backend = open_url(url, tmp_path)
    reader = Reader()
    request = ChatRequest(model="my/name", messages=HI, sampling=Sampling(seed=7))
    answer = backend.submit(request, reader.pieces.put)
    closing = threading.Thread(target=backend.close, args=(DEADLINE_S,))
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    answer.abort()
    closing.join(DEADLINE_S)
    assert not closing.is_alive()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "wrong"}, "asks for another token"),
        ({"adapters": ("me/one", "me/two"), "token": None}, "token"),
        ({"url": "http://127.0.0.1:9/v1"}, "url: http://127.0.0.1:9/v1"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_at_the_start(url, tmp_path, options, words):
    with pytest.raises(EngineError, match=words):
        open_url(**{"url": url, "tmp_path": tmp_path} | options)


@contextmanager
def serve_bytes(models: dict, stream: bytes):
    """Serve a list of models and one stream, byte for byte."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(json.dumps(models).encode())

        def do_POST(self):
            self.answer(stream)

        def answer(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ONE = {"data": [{"id": "m"}]}


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b'data: {"choices": [{"text": "a"}]}\n\n', "before it was done"),
        (b"data: {nonsense\n\n", "makes no sense"),
        (b'data: {"error": {"message": "Out of luck."}}\n\n', "Out of luck."),
        (b'data: {"choices": 5}\n\n', "makes no sense"),
        (b"", "before it was done"),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_in_words(tmp_path, stream, message):
    with serve_bytes(ONE, stream) as url:
        backend = open_url(url, tmp_path)
        last = read(backend, TextRequest(model="my/name", prompt="a"))[-1]
        backend.close()
    assert last.finish == "error"
    assert message in last.message


def test_a_node_asks_only_the_servers_that_it_is_told_of(url, tmp_path):
    spec = ServeSpec(model="my/name", backend="remote", url=url)
    placement = Placement(run_dir=tmp_path, remote_token="secret", remote_urls=(f"{url}/",))
    open_backend(spec, placement, Emitter()).close()
    closed = placement.model_copy(update={"remote_urls": ()})
    with pytest.raises(EngineError, match="ATHANOR_MODEL_SERVERS"):
        open_backend(spec, closed, Emitter())


def test_several_models_must_be_told_apart(tmp_path):
    models = {"data": [{"id": "one"}, {"id": "two"}]}
    with serve_bytes(models, b"") as url, pytest.raises(EngineError, match="one, two"):
        open_url(url, tmp_path)


@contextmanager
def serve_slowly():
    """Serve streams that move for ever, and embeddings that never come; gives who hung up, too.

    A stream tells nothing at all where `silent` is in its prompt, and no head where `headless` is.
    """
    gone = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(ONE).encode())

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = asked.get("prompt", "")
            try:
                if self.path.endswith("/embeddings") or "headless" in prompt:
                    self.wait_until_left()
                self.send_response(200)
                self.end_headers()
                if "silent" in prompt:
                    self.wait_until_left()
                while True:
                    self.wfile.write(b'data: {"choices": [{"text": "a"}]}\n\n')
                    self.wfile.flush()
                    if select.select([self.connection], [], [], 0.001)[0]:
                        raise BrokenPipeError
            except OSError:
                gone.put(self.path)

        def wait_until_left(self):
            assert self.connection.recv(1) == b""
            raise BrokenPipeError

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", gone
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def slow(tmp_path):
    with serve_slowly() as (url, gone):
        backend = open_url(url, tmp_path, max_waiting=3, max_waiting_of_tenant=2)
        yield backend, gone
        backend.close()


PASSED = "The deadline of this request has passed."


@pytest.mark.parametrize("prompt", ["a", "silent"])
def test_an_answer_ends_at_its_deadline_whether_its_stream_moves_or_not(slow, prompt):
    backend, gone = slow
    pieces = read(backend, TextRequest(model="my/name", prompt=prompt, deadline_s=0.2))
    assert (pieces[-1].finish, pieces[-1].message) == ("abort", PASSED)
    assert bool(pieces[:-1]) == (prompt == "a")
    assert gone.get(timeout=DEADLINE_S).endswith("/completions")


def test_a_request_that_is_not_taken_by_its_deadline_is_refused(slow):
    backend, gone = slow
    with pytest.raises(RequestRefused, match=PASSED) as refused:
        backend.submit(TextRequest(model="my/name", prompt="headless", deadline_s=0.2), print)
    assert refused.value.status == 503
    assert gone.get(timeout=DEADLINE_S)
    assert backend.describe().num_waiting_now == 0


def test_an_answer_that_ends_in_time_leaves_no_timer(backend):
    read(backend, ChatRequest(model="my/name", messages=HI, deadline_s=DEADLINE_S))
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert [timer for timer in timers if not timer.finished.is_set()] == []


def test_embeddings_end_at_their_deadline(slow):
    backend, gone = slow
    with pytest.raises(EmbedFailed, match=PASSED):
        backend.embed(EmbedRequest("my/name", ("a",), deadline_s=0.2))
    assert gone.get(timeout=DEADLINE_S).endswith("/embeddings")


@pytest.mark.parametrize("is_early", [True, False])
def test_embeddings_end_when_their_caller_leaves(slow, is_early):
    backend, gone = slow
    departure = Departure()
    if is_early:
        departure.leave()
    else:
        timer = threading.Timer(0.1, departure.leave)
        timer.start()
    with pytest.raises(EmbedFailed, match="has left"):
        backend.embed(EmbedRequest("my/name", ("a",)), departure)
    if not is_early:
        assert gone.get(timeout=DEADLINE_S).endswith("/embeddings")
    assert backend.describe().num_waiting_now == 0


def test_those_whose_answer_has_not_begun_wait_and_only_so_many_may(slow):
    backend, _ = slow
    silent = {"model": "my/name", "prompt": "silent"}
    answers = [backend.submit(TextRequest(**silent, tenant="a"), print) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests are waiting"):
        backend.submit(TextRequest(**silent, tenant="a"), print)
    answers.append(backend.submit(TextRequest(**silent, tenant="b"), print))
    with pytest.raises(QueueFull, match="3 requests are waiting") as refused:
        backend.submit(TextRequest(**silent, tenant="c"), print)
    assert refused.value.status == 429
    facts = backend.describe()
    assert (facts.num_waiting_now, facts.num_running_now) == (3, 0)
    reader = Reader()
    answers.pop().abort()
    while backend.describe().num_waiting_now == 3:
        time.sleep(0.001)
    moving = TextRequest(model="my/name", prompt="a", tenant="b")
    answers.append(backend.submit(moving, reader.pieces.put))
    assert reader.next().text == "a"
    assert backend.describe().num_running_now == 1
    answers.append(backend.submit(TextRequest(**silent, tenant="b"), print))
    for answer in answers:
        answer.abort()


def test_health_follows_the_other_side(tmp_path, monkeypatch):
    with serve_bytes(ONE, b"") as url:
        backend = open_url(url, tmp_path)
        assert backend.is_healthy()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert not backend.is_healthy()
    backend.close()
