"""A hub with many repos and very many files, made in the database at once.

Of the bytes only the one card is there that all repos have. All is drawn from a seed, so that a
search finds the same in each run.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from itertools import islice

from django.db import connection
from django.utils import timezone

from studio.accounts.models import User
from studio.hub.blobs import store_blob
from studio.hub.catalogue.words import cut_for_keeping
from studio.hub.models import (
    Blob,
    CatalogueEntry,
    Commit,
    CommitFile,
    Kind,
    Repo,
    RepoLabel,
    Role,
    Visibility,
)

_WORDS = tuple(
    re.findall(
        r"\w+",
        """
    chat model instruct tiny large reward math code vision speech medical law poem story wiki
    translate summary news dialogue tool agent preference finetune distilled base
""",
    )
)
_HAN = tuple(
    re.findall(
        r"\w+",
        """
    对话 模型 数学 代码 医疗 法律 诗歌 故事 翻译 摘要 新闻 工具 智能体 偏好 微调 中文 语音 图像
""",
    )
)
_CARD = "---\nlicense: mit\n---\n# A repo\n\n一个仓库。It holds files.\n".encode()
_LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "llama3", "")
_TASKS = ("text-generation", "question-answering", "image-classification", "translation", "")
_LANGUAGES = ("zh", "en", "fr", "de", "ja")
_FORMATS = ("safetensors", "gguf", "parquet", "jsonl", "csv")
_ROWS_AT_ONCE = 5000


def make_crowd(num_repos: int, files_each: int, *, num_people: int = 20, seed: int = 7) -> None:
    """Add public, private and class repos of many people, each with that many files."""
    chance = random.Random(seed)
    names = [f"person-{number}" for number in range(num_people)]
    User.objects.bulk_create([User(username=name) for name in names], ignore_conflicts=True)
    people = list(User.objects.filter(username__in=names).order_by("username"))
    blobs = [_blob(number) for number in range(1000)]
    Blob.objects.bulk_create(blobs, ignore_conflicts=True, batch_size=500)
    repos = [_repo(number, chance, people) for number in range(num_repos)]
    Repo.objects.bulk_create(repos, batch_size=500)
    commits = [Commit(repo=repo, sha=_hex(repo.pk, 40), message="Push") for repo in repos]
    Commit.objects.bulk_create(commits, batch_size=500)
    for repo, commit in zip(repos, commits, strict=True):
        repo.head = commit
    Repo.objects.bulk_update(repos, ["head"], batch_size=200)
    blobs.insert(0, store_blob(source=BytesIO(_CARD)))
    _bulk(CommitFile, (f for c in commits for f in _files(c, files_each, blobs, chance)))
    _bulk(CatalogueEntry, (_entry(repo, chance) for repo in repos))
    _bulk(RepoLabel, (label for repo in repos for label in _labels(repo, chance)))
    if connection.vendor == "postgresql":  # as autovacuum does: else plans are for empty tables
        with connection.cursor() as cursor:
            for model in (User, Blob, Repo, Commit, CommitFile, CatalogueEntry, RepoLabel):
                cursor.execute(f"ANALYZE {model._meta.db_table}")


def _hex(value: object, length: int) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()[:length]


def _blob(number: int) -> Blob:
    name = _hex(f"blob {number}", 64)
    return Blob(sha256=name, git_oid=name[:40], size_bytes=1000 + number)


def _repo(number: int, chance: random.Random, people: list[User]) -> Repo:
    owner = chance.choice(people)
    is_model = chance.random() < 0.6
    return Repo(
        kind=Kind.MODEL if is_model else Kind.DATASET,
        namespace=owner.username,
        name=f"{chance.choice(_WORDS)}-{chance.choice(_WORDS)}-{number}",
        owner=owner,
        visibility=chance.choices(Visibility.values, (8, 1, 1))[0],
        summary=f"{chance.choice(_HAN)}{chance.choice(_HAN)} {chance.choice(_WORDS)}",
        role=chance.choice((Role.BASE, Role.ADAPTER)) if is_model else Role.DATASET,
        license=chance.choice(_LICENSES),
        size_bytes=int(10 ** chance.uniform(3, 11)),
        num_rows=None if is_model else int(10 ** chance.uniform(1, 7)),
        downloads=int(10 ** chance.uniform(0, 5)),
        updated_at=timezone.now() - timedelta(hours=chance.randrange(20_000)),
    )


def _files(
    commit: Commit, num: int, blobs: list[Blob], chance: random.Random
) -> Iterator[CommitFile]:
    for number in range(num):
        path = f"data/part-{number // 20:03d}/file-{number:05d}.bin" if number else "README.md"
        blob = blobs[chance.randrange(1, len(blobs)) if number else 0]
        yield CommitFile(commit=commit, path=path, blob=blob)


def _entry(repo: Repo, chance: random.Random) -> CatalogueEntry:
    text = " ".join(chance.choices(_WORDS + _HAN, k=120))
    is_model = repo.kind == Kind.MODEL
    return CatalogueEntry(
        repo=repo,
        words=cut_for_keeping(f"{repo.namespace} {repo.name}", repo.summary, text),
        task=chance.choice(_TASKS),
        library="transformers" if is_model else "",
        num_params=int(10 ** chance.uniform(7, 11)) if is_model else None,
        num_likes=int(10 ** chance.uniform(0, 3)),
    )


def _labels(repo: Repo, chance: random.Random) -> Iterator[RepoLabel]:
    for language in chance.sample(_LANGUAGES, 2):
        yield RepoLabel(repo=repo, kind="language", value=language)
    yield RepoLabel(repo=repo, kind="format", value=chance.choice(_FORMATS))
    yield RepoLabel(repo=repo, kind="modality", value=chance.choice(("text", "image", "audio")))
    for tag in chance.sample(_WORDS, 3):
        yield RepoLabel(repo=repo, kind="tag", value=tag)


def _bulk(model: type, rows: Iterator) -> None:
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        model.objects.bulk_create(batch, batch_size=500)
