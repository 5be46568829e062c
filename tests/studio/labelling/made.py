"""Labelling projects for tests, and a person who answers rows through the API."""

import json
from typing import Any

from rest_framework.test import APIClient

from studio.accounts.models import User
from studio.labelling.models import Project
from studio.labelling.services import NewProject, create_project
from tests.studio.hub.made import make_row, push

URL = "/api/labelling/projects/"


def talks(count: int) -> bytes:
    """Return a file of conversations."""
    return "".join(f"{make_row(f'q{i}', f'a{i}')}\n" for i in range(count)).encode()


def pairs(count: int) -> bytes:
    """Return a file of pairs to rank."""
    rows = [{"prompt": f"q{i}", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(count)]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def texts(*lines: str) -> bytes:
    """Return a file of texts to tag."""
    return "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in lines).encode()


def make_project(owner: User, content: bytes, *, people: Any = (), **wish: Any) -> Project:
    """Make a project over a new dataset of the owner's, with these annotators beside them."""
    from studio.labelling.services import invite_member

    repo_id = f"{owner.username}/{wish.pop('repo', 'talk')}"
    push(owner, repo_id, {"train.jsonl": content})
    wanted = NewProject(**{"dataset": repo_id, "kind": "review", **wish})
    project = create_project(by=owner, wanted=wanted)
    for person in people:
        invite_member(by=owner, project=project, username=person.username)
    return project


class Labelled:
    """One person at a project's rows."""

    def __init__(self, client: APIClient, project: Project) -> None:
        self.client = client
        self.url = f"{URL}{project.pk}/"

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.client.post(f"{self.url}{path}", body or {}, format="json")
        assert answer.status_code == status, answer.content
        return answer.json()

    def next(self) -> Any:
        """Return the next row, or None."""
        return self.post("next/")["work"]

    def send(self, work: Any, verdict: str, *, status: int = 200, **said: Any) -> Any:
        """Answer a row, and return what came back."""
        body = {"revision": work["revision"], "verdict": verdict, **said}
        answer = self.client.put(f"{self.url}rows/{work['row']}/", body, format="json")
        assert answer.status_code == status, answer.content
        return answer.json()

    def say(self, *verdicts: str) -> None:
        """Answer row after row."""
        for verdict in verdicts:
            self.send(self.next(), verdict)

    def get(self, path: str = "", status: int = 200) -> Any:
        answer = self.client.get(f"{self.url}{path}")
        assert answer.status_code == status, answer.content
        return answer.json()
