"""Whole programs against the hub, unchanged and with their defaults: both generations of
huggingface_hub, its command line, transformers, datasets, sentence-transformers."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from studio.hub.models import Blob, Repo, XetFile

MIB = 2**20
OLD_CLIENT = "1.33.0"


@pytest.fixture(scope="session")
def old_python() -> Path:
    """An environment with the last huggingface_hub of the first generation, kept for later runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = cache / "athanor-tests" / f"hub-{OLD_CLIENT}-{sys.version_info[0]}{sys.version_info[1]}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", f"huggingface_hub=={OLD_CLIENT}"]
        subprocess.run(install, check=True)
        (home / "ready").touch()
    return python


@pytest.fixture
def run(client_of, alice, tmp_path):
    """`run(script, *arguments)` runs a program as alice and returns what it printed."""
    api = client_of(alice)

    def start(script: str, *arguments: object, python: object = sys.executable, **more: str) -> str:
        return execute([str(python), "-c", script, *map(str, arguments)], **more)

    def execute(command: list[str], **more: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": api.endpoint,
            "HF_TOKEN": str(api.token),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            **more,
        }
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=240, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
        return done.stdout.strip()

    start.execute = execute
    return start


_ROUND_TRIP = """
import sys
from huggingface_hub import HfApi, CommitOperationDelete, hf_hub_download, snapshot_download
folder, repo = sys.argv[1:]
api = HfApi()
api.create_repo(repo, private=True, exist_ok=True)
api.upload_folder(repo_id=repo, folder_path=folder)
api.upload_file(repo_id=repo, path_or_fileobj=b"more", path_in_repo="notes/more.txt")
api.create_branch(repo, branch="side")
api.create_tag(repo, tag="v1")
api.create_commit(repo, [CommitOperationDelete("notes/more.txt")], commit_message="less")
print(snapshot_download(repo))
print(sorted(api.list_repo_files(repo, revision="v1")))
print(len(api.list_repo_commits(repo)), [each.path for each in api.list_repo_tree(repo)])
"""


@pytest.mark.parametrize("way", ["new", "new lfs", "old", "old lfs"])
def test_both_generations_of_the_client_push_and_fetch(run, old_python, tmp_path, way):
    folder = tmp_path / "model"
    folder.mkdir()
    content = random.Random(way).randbytes(3 * MIB)
    (folder / "model.bin").write_bytes(content)
    (folder / "config.json").write_text("{}")
    more = {"HF_HUB_DISABLE_XET": "1"} if "lfs" in way else {}
    python = old_python if "old" in way else sys.executable
    said = run(_ROUND_TRIP, folder, "alice/model", python=python, **more).splitlines()
    got = Path(said[0])
    assert (got / "model.bin").read_bytes() == content and not (got / "notes").exists()
    assert said[1] == "['config.json', 'model.bin', 'notes/more.txt']"
    assert said[2].startswith("4 ") and "model.bin" in said[2]
    assert Blob.objects.get(xet__isnull=False).sha256 == hashlib.sha256(content).hexdigest()
    assert XetFile.objects.count() == 1


def test_the_command_line_pushes_and_fetches(run, tmp_path):
    content = random.Random(5).randbytes(2 * MIB)
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "m.bin").write_bytes(content)
    hf = str(Path(sys.executable).with_name("hf"))
    assert "alice" in run.execute([hf, "auth", "whoami"])
    run.execute([hf, "repos", "create", "alice/cli"])
    run.execute([hf, "upload", "alice/cli", str(tmp_path / "up"), "."])
    run.execute([hf, "download", "alice/cli", "--local-dir", str(tmp_path / "down")])
    assert (tmp_path / "down" / "m.bin").read_bytes() == content


_TRANSFORMERS = """
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
torch.manual_seed(1)
config = LlamaConfig(vocab_size=2000, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2)
model = LlamaForCausalLM(config)
model.push_to_hub("alice/llama")
again = AutoModelForCausalLM.from_pretrained("alice/llama")
for left, right in zip(model.parameters(), again.parameters(), strict=True):
    assert torch.equal(left, right)
print("same")
"""
_DATASETS = """
import datasets
rows = {"text": [f"row {number}" for number in range(3000)], "n": list(range(3000))}
made = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows),
                             "test": datasets.Dataset.from_dict({"text": ["x"], "n": [1]})})
made.push_to_hub("alice/rows", private=True)
made.push_to_hub("alice/rows", "second")
loaded = datasets.load_dataset("alice/rows")
assert loaded["train"].num_rows == 3000 and loaded["train"][2999]["text"] == "row 2999"
streamed = datasets.load_dataset("alice/rows", "second", split="train", streaming=True)
print(next(iter(streamed)), sorted(datasets.get_dataset_config_names("alice/rows")))
"""
_SENTENCES = """
import torch
from sentence_transformers import SentenceTransformer, models
from transformers import BertConfig, BertModel, BertTokenizer
words = "[PAD] [UNK] [CLS] [SEP] [MASK] fire gold"
open("vocab.txt", "w").write(words.replace(" ", "\\n"))
BertTokenizer("vocab.txt").save_pretrained("bert")
torch.manual_seed(1)
BertModel(BertConfig(vocab_size=7, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                     intermediate_size=64)).save_pretrained("bert")
word = models.Transformer("bert")
made = SentenceTransformer(modules=[word, models.Pooling(32)], device="cpu")
made.push_to_hub("alice/sentences", private=True)
again = SentenceTransformer("alice/sentences", device="cpu")
assert (made.encode("gold fire") == again.encode("gold fire")).all()
print("same")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said"),
    [(_TRANSFORMERS, "same"), (_DATASETS, "['default', 'second']"), (_SENTENCES, "same")],
    ids=["transformers", "datasets", "sentence-transformers"],
)
def test_libraries_push_and_load(run, script, said):
    assert run(script).endswith(said)
    repo = Repo.objects.get()
    assert repo.visibility == "private" and json.dumps(repo.tags) is not None
