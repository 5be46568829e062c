"""Makes a commit of an import's files, in a repo that is made where it is missing."""

import io
from functools import partial

from studio.hub.blobs import store_blob
from studio.hub.importing import find_repo
from studio.hub.models import Blob, Commit, Repo
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo
from studio.importing.cards import write_card
from studio.importing.gathering import Piece
from studio.importing.gguf import read_gguf
from studio.importing.models import Import, ImportState
from studio.importing.progress import Progress
from studio.importing.sources import DrivePlace, GgufAddress, Place

_CARD = "README.md"


def store(item: Import, place: Place, pieces: list[Piece], progress: Progress) -> Commit:
    """Store the files and return the commit. Of a repo or a folder, nothing of before stays; a
    GGUF file comes beside what is there, for a repo may hold several.

    Raises:
        NotFound, Forbidden: the owner may no longer write there.
        NoGguf: the file is none.
        Cancelled, Lost: it is to end.
    """
    is_gguf = isinstance(place, GgufAddress) or (isinstance(place, DrivePlace) and place.is_gguf)
    card = _make_card(pieces[0]) if is_gguf else None
    num_bytes = sum(piece.size_bytes for piece in pieces)
    progress.begin(ImportState.STORING, num_files=len(pieces), num_bytes=num_bytes)
    added = {piece.path: _store_piece(piece, progress) for piece in pieces}
    progress.finish(len(pieces))
    wanted = RepoName(item.kind, item.namespace, item.name)
    repo = find_repo(wanted)
    if card is not None and not (repo and _has_card(repo)):
        added[_CARD] = store_blob(source=io.BytesIO(card.encode()))
    repo = repo or create_repo(by=item.owner, wanted=wanted, visibility=item.visibility)
    changes = Changes(added, replaces_all=not is_gguf)
    return commit_files(by=item.owner, repo=repo, changes=changes, words=Words(_say(item, place)))


def _make_card(piece: Piece) -> str:
    with piece.open() as file:
        return write_card(piece.path, read_gguf(file))


def _store_piece(piece: Piece, progress: Progress) -> Blob:
    progress.advance(piece.path, 0)
    with piece.open() as file:
        return store_blob(source=file, on_bytes=partial(progress.advance, piece.path))


def _has_card(repo: Repo) -> bool:
    return repo.head is not None and repo.head.files.filter(path=_CARD).exists()


def _say(item: Import, place: Place) -> str:
    # Where something lay in somebody's drive is nobody else's to read.
    is_drive = isinstance(place, DrivePlace)
    return "Import from a drive" if is_drive else f"Import {item.source}"
