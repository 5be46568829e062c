"""The command line: `python -m engine VERB ...`. Parses, calls one function, words the errors.

Each verb loads its own libraries, so that `run`, `schema` and a spelling mistake answer at once.
"""

import argparse
import json
import sys
from pathlib import Path

from engine.errors import EngineError
from engine.status import Reason, Status
from engine.version import read_version

_GRACE_HELP = "time that requests under way have to end when the server is asked to stop"
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_REFUSED = 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 done, 1 failed, 2 bad input, 3 refused."""
    given = sys.argv[1:] if arguments is None else arguments
    command: list[str] = []
    if given[:1] == ["run"] and "--" in given:
        cut = given.index("--")
        given, command = given[:cut], given[cut + 1 :]
    options = _build_parser().parse_args(given)
    options.command = command
    try:
        return int(options.verb(options))
    except EngineError as error:
        print(error.message, file=sys.stderr)
        bad_input = (Reason.BAD_SPEC, Reason.BAD_DATA, Reason.BAD_MODEL)
        return EXIT_BAD_INPUT if error.reason in bad_input else EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine", description="Train, quantize, serve and chat with language models."
    )
    parser.add_argument("--version", action="version", version=read_version())
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_train(verbs)
    _add_quantize(verbs)
    _add_serve(verbs)
    _add_chat(verbs)
    _add_ways_to_serve(verbs)
    _add_tools(verbs)
    _add_run_verbs(verbs)
    return parser


def _add_train(verbs: argparse._SubParsersAction) -> None:
    train = verbs.add_parser("train", help="finetune a model from a spec file")
    train.add_argument("spec", type=Path, help="YAML file with the fields of a TrainSpec")
    train.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="go on from a checkpoint")
    _add_run_options(train)
    train.set_defaults(verb=_train)


def _add_quantize(verbs: argparse._SubParsersAction) -> None:
    quantize = verbs.add_parser("quantize", help="hold a model's weights in 4 or 8 bits")
    quantize.add_argument("spec", type=Path, help="YAML file with the fields of a QuantizeSpec")
    _add_run_options(quantize)
    quantize.set_defaults(verb=_quantize)


def _add_serve(verbs: argparse._SubParsersAction) -> None:
    serve = verbs.add_parser("serve", help="serve a model and its adapters from a spec file")
    serve.add_argument("spec", type=Path, help="YAML file with the fields of a ServeSpec")
    serve.add_argument("--host", default="127.0.0.1", help="address to bind to")
    serve.add_argument("--port", type=int, default=8000, help="port to bind to; 0 takes a free one")
    serve.add_argument("--grpc-port", type=int, help="answer gRPC too; 0 takes a free port")
    serve.add_argument("--grace", type=float, default=2.0, metavar="SECONDS", help=_GRACE_HELP)
    serve.add_argument("--lmdeploy", type=Path, metavar="DIR", help="environment of LMDeploy")
    serve.add_argument(
        "--token-file", type=Path, help="file with the token that callers must send as bearer"
    )
    serve.add_argument(
        "--remote-token-file", type=Path, help="file with the token for a remote backend"
    )
    _add_run_options(serve)
    serve.set_defaults(verb=_serve)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run-dir", type=Path, help="new folder for the run (default: below runs/)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of the spec"
    )
    _add_place_options(parser)


def _add_place_options(parser: argparse.ArgumentParser) -> None:
    _add_hub(parser)
    parser.add_argument("--devices", default="", metavar="0,1", help="GPUs to use (default: none)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads to use")


def _add_hub(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hub", metavar="URL", help="address of the hub that models come from")


def _add_chat(verbs: argparse._SubParsersAction) -> None:
    chat = verbs.add_parser("chat", help="chat with a model in the terminal")
    chat.add_argument("model", help="folder or namespace/name of the model; its name at a URL")
    chat.add_argument("--adapter", help="folder or namespace/name of an adapter")
    chat.add_argument("--prompt", help="answer this once and end")
    chat.add_argument("--url", help="OpenAI-compatible address to ask instead, up to /v1")
    chat.add_argument("--api-key", metavar="KEY", help="token for that address")
    _add_place_options(chat)
    chat.set_defaults(verb=_chat)


def _add_ways_to_serve(verbs: argparse._SubParsersAction) -> None:
    page = verbs.add_parser("gradio", help="show a chat page in the browser, by Gradio")
    page.add_argument("where", help="address of a server up to /v1, or a serve spec file")
    page.add_argument("--host", default="127.0.0.1", help="address to bind to")
    page.add_argument("--port", type=int, default=7860, help="port to bind to; 0 takes a free one")
    page.add_argument("--api-key", metavar="KEY", help="token for the address")
    page.add_argument("--model", help="the address's model, where it has several")
    _add_place_options(page)
    page.set_defaults(verb=_gradio)
    triton = verbs.add_parser("triton-repo", help="write a model repository for Triton")
    triton.add_argument("spec", type=Path, help="YAML file with the fields of a ServeSpec")
    triton.add_argument("out", type=Path, help="new folder for the repository")
    triton.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of the spec"
    )
    _add_hub(triton)
    triton.set_defaults(verb=_triton)
    lmdeploy = verbs.add_parser("lmdeploy", help="LMDeploy as a backend").add_subparsers(
        required=True, metavar="VERB"
    )
    install = lmdeploy.add_parser("install", help="make its environment in a new folder")
    install.add_argument("folder", type=Path, metavar="DIR")
    install.add_argument("--package", help="what pip is asked for (default: the version we know)")
    install.set_defaults(verb=_install_lmdeploy)


def _add_tools(verbs: argparse._SubParsersAction) -> None:
    schema = verbs.add_parser("schema", help="print the JSON Schema of a spec")
    schema.add_argument("kind", help="train, quantize, serve or script")
    schema.set_defaults(verb=_schema)
    gguf = verbs.add_parser("import-gguf", help="turn a GGUF file into a safetensors folder")
    gguf.add_argument("file", type=Path)
    gguf.add_argument("out", type=Path)
    gguf.set_defaults(verb=_import_gguf)
    merge = verbs.add_parser("merge", help="put an adapter into its base model's weights")
    merge.add_argument("base", type=Path, help="folder of the model that it was trained on")
    merge.add_argument("adapter", type=Path, help="folder of the adapter")
    merge.add_argument("out", type=Path, help="new folder for the merged model")
    merge.set_defaults(verb=_merge)
    data = verbs.add_parser("data", help="look at a dataset").add_subparsers(
        required=True, metavar="VERB"
    )
    inspect = data.add_parser("inspect", help="check a file and show what is learnt from it")
    what = inspect.add_mutually_exclusive_group(required=True)
    what.add_argument("path", nargs="?", help="file, folder, or namespace/name of a dataset")
    what.add_argument("--sources", type=Path, metavar="YAML", help="file that lists a mixture")
    inspect.add_argument("--model", required=True, help="model whose chat template renders it")
    inspect.add_argument("--stage", default="sft", help="stage of training that it is for")
    inspect.add_argument("--format", default="auto", help="format of the rows (default: look)")
    inspect.add_argument("--split", default="", help="split whose files are read")
    inspect.add_argument("--max-length", type=int, metavar="TOKENS", help="cut longer samples")
    inspect.add_argument("--rows", type=int, default=3, help="samples to show of each file")
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    _add_hub(inspect)
    inspect.set_defaults(verb=_inspect)
    tokenizer = data.add_parser("tokenizer", help="train a tokenizer on a dataset's words")
    tokenizer.add_argument("path", help="file, folder, or namespace/name of a dataset")
    tokenizer.add_argument("out", type=Path, help="new folder for the tokenizer")
    tokenizer.add_argument(
        "--options", type=Path, metavar="YAML", help="fields of TokenizerOptions"
    )
    tokenizer.add_argument("--vocab-size", type=int, metavar="TOKENS", help="most tokens it has")
    tokenizer.add_argument("--format", default="auto", help="format of the rows (default: look)")
    tokenizer.add_argument("--split", default="", help="split whose files are read")
    _add_hub(tokenizer)
    tokenizer.set_defaults(verb=_train_tokenizer)


def _add_run_verbs(verbs: argparse._SubParsersAction) -> None:
    run = verbs.add_parser("run", help="record the run in a run directory (for nodes)")
    run.add_argument("run_dir", type=Path)
    run.set_defaults(verb=_run)
    work = verbs.add_parser("work", help="do the work of a run (started by `run`)")
    work.add_argument("run_dir", type=Path)
    work.set_defaults(verb=_work)
    close = verbs.add_parser("close", help="end a run whose recorder is gone (for nodes)")
    close.add_argument("run_dir", type=Path)
    close.add_argument("--reason", type=Reason, default=Reason.NODE_LOST, choices=list(Reason))
    close.add_argument("--message", default="")
    close.set_defaults(verb=_close)


def _train(options: argparse.Namespace) -> int:
    return _launch(options, "train", resume_from=options.resume and options.resume.resolve())


def _quantize(options: argparse.Namespace) -> int:
    return _launch(options, "quantize")


def _serve(options: argparse.Namespace) -> int:
    return _launch(
        options,
        "serve",
        host=options.host,
        port=options.port,
        grpc_port=options.grpc_port,
        grace_s=options.grace,
        lmdeploy_dir=options.lmdeploy and options.lmdeploy.resolve(),
        server_token=_read_secret(options.token_file, "--token-file"),
        remote_token=_read_secret(options.remote_token_file, "--remote-token-file"),
    )


def _read_secret(path: Path | None, flag: str) -> str | None:
    """Read a secret from a file: on the command line everybody on the machine would see it."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(Reason.BAD_SPEC, f"{flag}: {path} cannot be read: {error}.") from error
    if not text:
        raise EngineError(Reason.BAD_SPEC, f"{flag}: {path} is empty; write the token into it.")
    return text


def _launch(options: argparse.Namespace, kind: str, **placement: object) -> int:
    from engine.launch import launch_here

    return _exit_status(launch_here(options, kind, placement))


def _chat(options: argparse.Namespace) -> int:
    from engine.chat import ChatOptions, run_chat
    from engine.launch import read_placement

    place = read_placement(options, Path())
    chat = ChatOptions(options.model, options.adapter, options.url, options.api_key, place)
    run_chat(chat, options.prompt)
    return 0


def _gradio(options: argparse.Namespace) -> int:
    from engine.launch import read_placement

    place = read_placement(options, Path(), host=options.host, port=options.port)
    from engine.gradio_page import run_page  # says that Gradio is missing, where it is

    run_page(options.where, place, api_key=options.api_key, model=options.model)
    return 0


def _triton(options: argparse.Namespace) -> int:
    from engine.triton_repo import write_repository

    write_repository(options.spec, options.out, options.set, hub_url=options.hub)
    return 0


def _install_lmdeploy(options: argparse.Namespace) -> int:
    from engine.lmdeploy_install import install_lmdeploy

    install_lmdeploy(options.folder, options.package)
    return 0


def _schema(options: argparse.Namespace) -> int:
    from engine.specs import QuantizeSpec, ScriptSpec, ServeSpec, Spec, TrainSpec

    specs: dict[str, type[Spec]] = {
        "train": TrainSpec,
        "quantize": QuantizeSpec,
        "serve": ServeSpec,
        "script": ScriptSpec,
    }
    if options.kind not in specs:
        raise EngineError(
            Reason.BAD_SPEC, f"kind: {options.kind} is not one of {', '.join(specs)}."
        )
    print(json.dumps(specs[options.kind].model_json_schema(), indent=2, ensure_ascii=False))
    return 0


def _import_gguf(options: argparse.Namespace) -> int:
    from engine.console import show_import

    show_import(options.file, options.out)
    return 0


def _merge(options: argparse.Namespace) -> int:
    from engine.models.merge import merge_adapter
    from engine.runtime import prepare_process

    prepare_process(0)
    merge_adapter(options.base, options.adapter, options.out)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from engine.data.inspect import inspect_options

    return inspect_options(options)


def _train_tokenizer(options: argparse.Namespace) -> int:
    from engine.data.new_tokenizer import make_from_options

    make_from_options(options)
    return 0


def _run(options: argparse.Namespace) -> int:
    from engine.journal import JournalFull, RunBusy
    from engine.recorder import record_run

    _check_folder(options.run_dir)
    try:
        return _exit_status(record_run(options.run_dir.resolve(), options.command))
    except RunBusy as refusal:
        print(refusal, file=sys.stderr)
        return EXIT_REFUSED
    except JournalFull as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED


def _work(options: argparse.Namespace) -> int:
    from engine.runtime import leave
    from engine.work import work

    leave(work(options.run_dir.resolve()))


def _close(options: argparse.Namespace) -> int:
    from engine.journal import RunBusy
    from engine.recorder import close_abandoned

    _check_folder(options.run_dir)
    try:
        close_abandoned(options.run_dir, options.reason, options.message)
    except RunBusy as refusal:
        print(refusal, file=sys.stderr)
        return EXIT_REFUSED
    return 0


def _check_folder(run_dir: Path) -> None:
    if not run_dir.is_dir():
        raise EngineError(Reason.BAD_SPEC, f"{run_dir} is no folder: make the run first.")


def _exit_status(status: Status) -> int:
    return EXIT_FAILED if status == Status.FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
