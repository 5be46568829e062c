"""`python -m engine gradio URL_OR_SPEC`: a chat page in the browser, in English and Chinese.

Gradio is an extra (`pip install 'athanor[gradio]'`). At an address nothing else of the engine's
libraries is needed, so the page can live in an environment of its own.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.serve.backend import Backend, ChatRequest, Piece, RequestRefused, Sampling
from engine.spec_file import read_spec
from engine.specs import Placement, ServeSpec
from engine.status import Reason

try:
    import gradio as gr
except ImportError as error:
    raise EngineError(
        Reason.BAD_SPEC, "Gradio is not installed here: pip install 'gradio>=6.31,<7'."
    ) from error

_ANY_CONTEXT = 1_000_000  # of a server that does not tell its own
_WORDS = {
    "en": {
        "title": "Chat",
        "model": "Model or adapter",
        "system": "System prompt",
        "temperature": "Temperature",
        "top_p": "Top p",
        "max_tokens": "Longest answer, in tokens",
        "question": "Your message",
        "send": "Send",
        "stop": "Stop",
        "clear": "New conversation",
    },
    "zh-CN": {
        "title": "对话",
        "model": "模型或适配器",
        "system": "系统提示词",
        "temperature": "温度",
        "top_p": "Top p",
        "max_tokens": "回答最多的 token 数",
        "question": "输入消息",
        "send": "发送",
        "stop": "停止",
        "clear": "新对话",
    },
}
Turns = list[dict[str, Any]]


def run_page(
    where: str, place: Placement, *, api_key: str | None = None, model: str | None = None
) -> None:
    """Show the page until Ctrl-C. `where` is an address up to /v1, or the file of a serve spec.

    `place` has the page's own address, and devices, threads and hub of a model that is loaded here.

    Raises:
        EngineError: the address does not answer, or the spec's model cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = place.model_copy(update={"run_dir": Path(folder)})
        backend = _open(where, here, api_key, model)
        try:
            page, words = build_page(backend)
            page.launch(server_name=place.host, server_port=place.port or None, i18n=words)
        finally:
            backend.close()


def build_page(backend: Backend) -> tuple[gr.Blocks, gr.I18n]:
    """Make the page and its words, which `launch` wants."""
    words = gr.I18n(en=_WORDS["en"], **{"zh-CN": _WORDS["zh-CN"], "zh": _WORDS["zh-CN"]})
    names = [model.name for model in backend.list_models()]
    with gr.Blocks(title="Athanor") as page:
        gr.Markdown(words("title"))
        with gr.Row():
            with gr.Column(scale=1):
                settings = [
                    gr.Dropdown(names, value=names[0], label=words("model")),
                    gr.Textbox(label=words("system"), lines=3),
                    gr.Slider(0, 2, value=0.7, step=0.05, label=words("temperature")),
                    gr.Slider(0.05, 1, value=0.95, step=0.05, label=words("top_p")),
                    gr.Slider(1, 4096, value=512, step=1, label=words("max_tokens")),
                ]
            with gr.Column(scale=3):
                talk = gr.Chatbot(label=words("title"), height=520)
                question = gr.Textbox(label=words("question"), lines=2)
                with gr.Row():
                    send = gr.Button(words("send"), variant="primary")
                    stop = gr.Button(words("stop"), variant="stop")
                    clear = gr.Button(words("clear"))

        async def answer(text: str, turns: Turns, *chosen: Any) -> AsyncIterator[tuple[str, Turns]]:
            async for state in _answer(backend, text, turns, *chosen):
                yield state

        inputs, outputs = [question, talk, *settings], [question, talk]
        sent = [
            send.click(answer, inputs, outputs, api_name="chat"),
            question.submit(answer, inputs, outputs, api_name=False),
        ]
        stop.click(None, cancels=sent)
        clear.click(lambda: [], None, talk, cancels=sent, api_name=False)
        page.load(lambda: gr.Dropdown([m.name for m in backend.list_models()]), None, settings[0])
    return page, words


async def _answer(
    backend: Backend,
    text: str,
    turns: Turns,
    model: str,
    system: str,
    temperature: float,
    top_p: float,
    max_tokens: float,
) -> AsyncIterator[tuple[str, Turns]]:
    """Yield the emptied question and the conversation, which grows; leaving it ends the answer."""
    if not text.strip():
        yield "", turns
        return
    turns = [*turns, {"role": "user", "content": text}]
    told = [{"role": "system", "content": system}] if system.strip() else []
    request = ChatRequest(
        model=model,
        messages=(*told, *({"role": t["role"], "content": _read_text(t)} for t in turns)),
        sampling=Sampling(max_tokens=int(max_tokens), temperature=temperature, top_p=top_p),
    )
    said = ""
    async with aclosing(_read_pieces(backend, request)) as pieces:
        async for piece in pieces:
            said += piece.text
            yield "", [*turns, {"role": "assistant", "content": said}]
            if piece.finish == "error":
                raise gr.Error(piece.message or "The model failed.", print_exception=False)


async def _read_pieces(backend: Backend, request: ChatRequest) -> AsyncGenerator[Piece, None]:
    """Yield an answer's pieces without holding a thread, so that Stop is heard at any time."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[Piece] = asyncio.Queue()

    def pass_on(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to read
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    try:
        generation = await asyncio.to_thread(backend.submit, request, pass_on)
    except RequestRefused as refusal:
        raise gr.Error(refusal.message, print_exception=False) from refusal
    try:
        finish = None
        while finish is None:
            piece = await pieces.get()
            yield piece
            finish = piece.finish
    finally:
        generation.abort()


def _read_text(turn: dict[str, Any]) -> str:
    """Return a turn's text; Gradio gives back parts, whatever it was given."""
    content = turn["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _open(where: str, place: Placement, api_key: str | None, model: str | None) -> Backend:
    if where.startswith(("http://", "https://")):
        from engine.serve.backends.remote import open_url

        return open_url(where, model or "", api_key, max_context=_ANY_CONTEXT)
    from engine.runtime import prepare_process
    from engine.serve.backends import open_backend

    spec = read_spec(Path(where), "serve", [])
    assert isinstance(spec, ServeSpec)
    prepare_process(place.num_threads)
    return open_backend(spec, place, Emitter())
