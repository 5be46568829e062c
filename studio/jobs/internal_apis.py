"""The door that nodes post runs' news to. It takes run tokens and nothing else."""

import json
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.events import Event
from studio.core.errors import BadInput, NotFound
from studio.core.inputs import read_body
from studio.jobs.models import Run
from studio.jobs.run_tokens import BadRunToken, read_any_run_token
from studio.jobs.services import Post, claim_run, ingest_events, refuse_run

_Shape = TypeVar("_Shape", bound=BaseModel)


_FIELD = r"^[^\x00-\x1f\x7f]{1,200}$"


class EventsInput(BaseModel):
    """What a reporter posts."""

    model_config = ConfigDict(extra="ignore")

    now: float = Field(ge=0, lt=2**40, allow_inf_nan=False)
    alive: bool
    events: list[Event] = []


class RefusalInput(BaseModel):
    """What a node posts that cannot read a run's order."""

    model_config = ConfigDict(extra="ignore")

    fields: list[Annotated[str, Field(pattern=_FIELD)]] = Field(default=[], max_length=20)


class RunDoor(APIView):
    """What the doors share: the caller is the run its token speaks for."""

    authentication_classes: list[type[BaseAuthentication]] = []
    permission_classes = [AllowAny]

    def get_caller(self, request: Request, run_id: object) -> tuple[Run, int]:
        """Return the run and the placement its token was made for.

        Raises:
            BadRunToken: no token, or a forged one.
            NotFound: the token of another run.
        """
        words = get_authorization_header(request).decode("latin-1").split()
        if len(words) != 2 or words[0].lower() != "bearer":
            raise BadRunToken("Send the run's token: Authorization: Bearer run_...")
        run, placement_number = read_any_run_token(words[1])
        if run.pk != run_id:
            raise NotFound
        return run, placement_number


class RunClaimApi(RunDoor):
    """A node asks whether it may start the run."""

    def post(self, request: Request, run_id: object) -> Response:
        """Answer start, and why not."""
        run, placement_number = self.get_caller(request, run_id)
        claim = claim_run(run=run, placement_number=placement_number)
        return Response({"start": claim.start, "reason": claim.reason})


class RunRefuseApi(RunDoor):
    """A node says that it cannot read the run's order."""

    def post(self, request: Request, run_id: object) -> Response:
        """Answer whether the run has ended by this."""
        run, placement_number = self.get_caller(request, run_id)
        given = _read(RefusalInput, read_body(request._request))
        is_taken = refuse_run(run=run, placement_number=placement_number, fields=given.fields)
        return Response({"is_taken": is_taken})


class RunPostApi(RunDoor):
    """A reporter posts what is new."""

    def post(self, request: Request, run_id: object) -> Response:
        """Answer the next seq wanted, and the wish to stop."""
        run, placement_number = self.get_caller(request, run_id)
        if placement_number != run.placement_number:
            raise BadRunToken("This run was given to another node.")
        given = read_events_input(read_body(request._request))
        post = Post(now=given.now, alive=given.alive, events=given.events)
        receipt = ingest_events(run=run, post=post)
        stop = receipt.stop and {"reason": receipt.stop[0], "message": receipt.stop[1]}
        return Response({"next_seq": receipt.next_seq, "stop": stop})


def read_events_input(body: bytes) -> EventsInput:
    """Read a reporter's post.

    Raises:
        BadInput: malformed; the sentence names the field, and the event's seq where it has one.
    """
    return _read(EventsInput, body)


def _read(shape: type[_Shape], body: bytes) -> _Shape:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
    where = [str(part) for part in problem["loc"]]
    seq = _find_seq(body, where)
    named = f"event {seq} ({'.'.join(where)})" if seq is not None else ".".join(where) or "body"
    raise BadInput(f"{named}: {problem['msg']}.", field=".".join(where) or None, seq=seq)


def _find_seq(body: bytes, where: list[str]) -> int | None:
    """Return the seq of the event that a problem is in."""
    if len(where) < 2 or where[0] != "events":
        return None
    try:
        event = json.loads(body)["events"][int(where[1])]
    except (ValueError, LookupError, TypeError):
        return None
    seq = event.get("seq") if isinstance(event, dict) else None
    return seq if isinstance(seq, int) else None
