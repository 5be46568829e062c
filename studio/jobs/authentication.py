"""How a run signs in: `Authorization: Bearer run_...`."""

from dataclasses import dataclass

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from studio.accounts.models import User
from studio.jobs.models import Run
from studio.jobs.run_tokens import PREFIX, read_run_token


@dataclass(frozen=True)
class RunAuth:
    """What `request.auth` is for a run."""

    run: Run

    def allows(self, scope: str) -> bool:
        """Refuse: a run may only pass doors that ask for its run by themselves."""
        return False


class RunTokenAuthentication(BaseAuthentication):
    """Takes run tokens and leaves any other to the next class."""

    def authenticate(self, request: Request) -> tuple[User, RunAuth] | None:
        """Return the owner of the run's job, without any role above member, and the run."""
        words = get_authorization_header(request).decode("latin-1").split()
        if len(words) != 2 or words[0].lower() != "bearer" or not words[1].startswith(PREFIX):
            return None
        run = read_run_token(words[1])
        run.job.owner.is_limited = True
        return run.job.owner, RunAuth(run)

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a refusal is 401."""
        return "Bearer"
