"""The one data plane: models and datasets come from, and artifacts go to, a Hugging Face Hub.

A reference that is a path is used as it is. While the hub is away, both ways wait for it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from tqdm import tqdm  # type: ignore[import-untyped]

from engine.emitter import ArtifactRole, Emitter, measure_folder
from engine.errors import EngineError
from engine.specs import Placement, split_ref
from engine.status import Reason

RepoKind = Literal["model", "dataset"]
T = TypeVar("T")

_NO_WEIGHTS_BUT_SAFETENSORS = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.onnx", "*.h5"]
_RETRY_FOR_S = 300.0
_LONGEST_WAIT_S = 15.0
_RETRIED_CODES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Resolved:
    """A model or dataset on this machine."""

    ref: str
    """As the spec names it."""
    path: Path
    repo: str | None = None
    """`namespace/name` in the hub; None for a path."""
    revision: str | None = None
    """Commit of the hub that was fetched, 40 hex digits."""


def fetch_repo(
    ref: str,
    kind: RepoKind,
    placement: Placement,
    emitter: Emitter,
    *,
    wants_weights: bool = True,
    takes_gguf: bool = False,
) -> Resolved:
    """Return where a model or dataset lies, fetching it from the placement's hub first.

    Without weights, the tokenizer and the configuration of a model come alone. With `takes_gguf` a
    model that has no safetensors comes as its GGUF files.

    Raises:
        EngineError: there is no such path or repo, or the hub stays away.
    """
    if given := placement.fetched.get(f"{kind} {ref}"):
        return Resolved(ref=ref, path=given.path, repo=given.repo, revision=given.revision)
    if ref.startswith((".", "/")):
        return _resolve_path(ref, kind)
    repo, revision = split_ref(ref)
    print(f"Fetching {kind} {ref}", flush=True)

    ignored = None if kind == "dataset" else list(_NO_WEIGHTS_BUT_SAFETENSORS)
    if ignored is not None and not wants_weights:
        ignored.append("*.safetensors")

    def download() -> str:
        return snapshot_download(
            repo,
            repo_type=kind,
            revision=revision,
            endpoint=placement.hub_url,
            token=_token(placement),
            cache_dir=placement.cache_dir,
            ignore_patterns=ignored,
            tqdm_class=_make_bar(emitter),
        )

    purpose = _Purpose(f"{kind}: {ref}", placement.hub_url, _bad(kind))
    path = Path(_insist(download, purpose))
    if takes_gguf and ignored and not any(path.glob("*.safetensors")):
        api = HfApi(endpoint=placement.hub_url, token=_token(placement))
        files = _insist(lambda: api.list_repo_files(repo, revision=path.name), purpose)
        _check_one_gguf(ref, files)  # before some hundred GB are here
        ignored.remove("*.gguf")
        path = Path(_insist(download, purpose))
    return Resolved(ref=ref, path=path, repo=repo, revision=path.name)


def _check_one_gguf(ref: str, files: list[str]) -> None:
    found = sorted(name for name in files if name.endswith(".gguf"))
    if found[1:]:
        raise EngineError(
            Reason.BAD_MODEL,
            f"model: {ref} cannot be served: {ref} has several GGUF files ({', '.join(found)}); "
            "give the path of one.",
        )


def push_folder(
    folder: Path, role: ArtifactRole, placement: Placement, emitter: Emitter
) -> str | None:
    """Send a folder to the repo that the placement names and return the revision; None without one.

    Raises:
        EngineError: artifact_lost, when the hub refuses it or stays away; the folder stays here.
    """
    repo = placement.push_to
    if repo is None:
        return None
    size_bytes = measure_folder(folder)
    print(f"Pushing {folder.name}/ ({size_bytes / 2**20:.1f} MiB) to {repo}", flush=True)
    emitter.progress("push", 0, size_bytes, unit="byte")
    api = HfApi(endpoint=placement.hub_url, token=_token(placement))

    def upload() -> str:
        api.create_repo(repo, repo_type="model", exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=_describe(placement, role)
        )
        return str(commit.oid)

    purpose = _Purpose(f"output: {repo}", placement.hub_url, Reason.ARTIFACT_LOST)
    revision = _insist(upload, purpose)
    emitter.progress("push", size_bytes, size_bytes, unit="byte")
    emitter.artifact(
        repo.rpartition("/")[2], role, repo=repo, revision=revision, size_bytes=size_bytes
    )
    print(f"Pushed {repo}@{revision}", flush=True)
    return revision


@dataclass(frozen=True)
class _Purpose:
    """What a call to the hub is for, to say so when it fails."""

    subject: str
    hub_url: str | None
    refused: Reason
    """The reason when the hub says no."""


def _token(placement: Placement) -> str | bool | None:
    """A hub of our own never gets the token that somebody's Hugging Face login left here."""
    return placement.hub_token or (False if placement.hub_url else None)


def _resolve_path(ref: str, kind: RepoKind) -> Resolved:
    path = Path(ref).resolve()
    if not path.exists():
        raise EngineError(_bad(kind), f"{kind}: {ref} does not exist; give an existing path.")
    return Resolved(ref=ref, path=path)


def _insist(call: Callable[[], T], purpose: _Purpose) -> T:
    """Call the hub until it answers, for minutes; a refusal is final at once."""
    deadline = time.monotonic() + _RETRY_FOR_S
    wait_s = 1.0
    while True:
        try:
            return call()
        except (OSError, httpx2.TransportError) as error:
            answer = _find_answer(error)
            if answer is not None and answer.status_code not in _RETRIED_CODES:
                raise _refusal(answer, purpose) from error
            if answer is None and not _is_network(error):
                if isinstance(error, LocalEntryNotFoundError):
                    raise _strangeness(error, purpose) from error
                raise
            if time.monotonic() + wait_s > deadline:
                raise _absence(purpose) from error
            print(f"The hub does not answer; trying again in {wait_s:.0f} s", flush=True)
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _find_answer(error: BaseException | None) -> httpx2.Response | None:
    """Return the hub's answer in an error or in what caused it."""
    while error is not None:
        if isinstance(error, HfHubHTTPError):
            return error.response
        error = error.__cause__
    return None


def _is_network(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError):
            return True
        error = error.__cause__
    return False


def _refusal(answer: httpx2.Response, purpose: _Purpose) -> EngineError:
    if answer.status_code in (401, 403, 404):
        return EngineError(
            purpose.refused,
            f"{purpose.subject} does not exist in the hub, or this run may not use it; check the "
            "name.",
        )
    said = answer.text.strip()[:200]
    return EngineError(
        purpose.refused,
        f"{purpose.subject} is refused by the hub ({answer.status_code}: {said}); check the name.",
    )


def _strangeness(error: OSError, purpose: _Purpose) -> EngineError:
    said = " ".join(str(error).split())[:200]
    return EngineError(purpose.refused, f"{purpose.subject} cannot be fetched: {said}")


def _absence(purpose: _Purpose) -> EngineError:
    is_push = purpose.refused == Reason.ARTIFACT_LOST
    reason = Reason.ARTIFACT_LOST if is_push else Reason.LAUNCH_FAILED
    where = purpose.hub_url or "the Hugging Face Hub"
    minutes = f"{_RETRY_FOR_S / 60:.0f} minutes"
    return EngineError(
        reason, f"{purpose.subject}: {where} did not answer for {minutes}; retry the run."
    )


def _bad(kind: RepoKind) -> Reason:
    return Reason.BAD_MODEL if kind == "model" else Reason.BAD_DATA


def _describe(placement: Placement, role: ArtifactRole) -> str:
    run = placement.provenance.get("run")
    return f"Add {role} of run {run}" if run else f"Add {role}"


def _make_bar(emitter: Emitter) -> type[tqdm]:
    """Return a progress bar class that draws nothing and emits the bytes fetched."""

    class _EventBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self._counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})

        def display(self, *args: Any, **kwargs: Any) -> None:
            if self._counts_bytes and self.n:
                emitter.progress("fetch", self.n, max(self.n, self.total or 0), unit="byte")

    return _EventBar


class _Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> None:
        return

    def flush(self) -> None:
        return
