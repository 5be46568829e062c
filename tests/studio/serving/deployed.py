"""A deployment whose server is a `FakeServer`, and models for it to serve."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from studio.accounts.models import User
from studio.accounts.selectors import get_platform_user
from studio.hub.blobs import store_blob
from studio.hub.models import Commit, Repo, Visibility
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo
from studio.jobs.models import Run
from studio.serving.models import Deployment, DeploymentStatus
from studio.serving.services import get_server_token
from tests.factories import make_job
from tests.studio.asgi import run_app
from tests.studio.hub.weights import ADAPTER_FILES, MODEL_FILES
from tests.studio.serving.upstream import FakeServer


def push_model(
    owner: User,
    name: str,
    *,
    files: dict[str, bytes] | None = None,
    visibility: str = Visibility.PUBLIC,
) -> Commit:
    """Push a base model, or a new state of it."""
    wanted = RepoName("model", owner.username, name)
    repo = Repo.objects.filter(kind="model", namespace=owner.username, name=name).first()
    repo = repo or create_repo(by=owner, wanted=wanted, visibility=visibility)
    added = {
        path: store_blob(source=io.BytesIO(content))
        for path, content in (files or MODEL_FILES).items()
    }
    return commit_files(by=owner, repo=repo, changes=Changes(added), words=Words("Push"))


def push_adapter(
    owner: User, name: str, *, base: str, visibility: str = Visibility.PRIVATE
) -> Commit:
    """Push an adapter that names its base."""
    card = f"---\nbase_model: {base}\n---\n\n# {name}\n".encode()
    files = {path: data for path, data in ADAPTER_FILES.items() if path != "athanor.json"}
    return push_model(owner, name, files=files | {"README.md": card}, visibility=visibility)


@contextmanager
def deployed(commit: Commit) -> Iterator[FakeServer]:
    """Serve a base model's commit by a fake server until the block ends."""
    repo_id = commit.repo.repo_id
    deployment = Deployment.objects.create(
        model=repo_id,
        revision=commit.sha,
        status=DeploymentStatus.READY,
        served_name=f"{repo_id}@{commit.sha}",
    )
    server = FakeServer(get_server_token(deployment.pk), base=deployment.served_name)
    with run_app(server.app()) as url:
        deployment.url = url
        deployment.save()
        yield server


def priced(deployment: Deployment, rate_mpoints_per_hour: int) -> None:
    """Have the deployment's server cost something, by a run of its own."""
    if deployment.job is None:
        deployment.job = make_job(owner=get_platform_user(), kind="serve", flavor="serve")
        deployment.save()
    Run.objects.filter(job=deployment.job).update(rate_mpoints_per_hour=rate_mpoints_per_hour)
