"""Repos in the hub for tests about jobs, made through the hub's own services."""

import io
import json
import struct

from studio.accounts.models import User
from studio.hub.blobs import store_blob
from studio.hub.models import Commit, Repo
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo
from tests.factories import make_user

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49_152,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
NUM_ROWS = 300


def make_model(repo_id: str) -> Commit:
    """Make a public base model with the shape of SmolLM2-135M and one small weight."""
    namespace = repo_id.partition("/")[0]
    owner = User.objects.filter(username=namespace).first() or make_user(namespace)
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights}
    return push_files(owner, "model", repo_id, files)


def make_dataset(repo_id: str, *, owner: User, num_bad: int = 0) -> Commit:
    """Make the owner's private dataset of about 30 000 tokens, or push a new state of it."""
    rows = [json.dumps(_make_row(index)) for index in range(NUM_ROWS)] + ["{"] * num_bad
    return push_files(owner, "dataset", repo_id, {"train.jsonl": "\n".join(rows).encode()})


def make_unclear_dataset(repo_id: str, *, owner: User) -> Commit:
    """Push two files of rows, neither of which is meant for training."""
    rows = json.dumps(_make_row(0)).encode()
    return push_files(owner, "dataset", repo_id, {"test.jsonl": rows, "dev.jsonl": rows})


def _make_row(index: int) -> dict[str, object]:
    question = f"Question {index}: what does the furnace say? " * 4
    answer = f"Answer {index}: it feeds itself and keeps its fire. " * 4
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def push_files(owner: User, kind: str, repo_id: str, files: dict[str, bytes]) -> Commit:
    namespace, _, name = repo_id.partition("/")
    repo = Repo.objects.filter(kind=kind, namespace=namespace, name=name).first()
    if repo is None:
        visibility = "public" if kind == "model" else "private"
        wanted = RepoName(kind, namespace, name)
        repo = create_repo(by=owner, wanted=wanted, visibility=visibility)
    blobs = {path: store_blob(source=io.BytesIO(content)) for path, content in files.items()}
    changes = Changes(added=blobs)
    return commit_files(by=owner, repo=repo, changes=changes, words=Words("A new state"))
