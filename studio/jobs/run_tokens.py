"""Run tokens: what a node shows for one run. Signed, not stored; each door says what it lets in."""

from uuid import UUID

from django.core import signing

from studio.core.errors import StudioError
from studio.jobs.models import Run

PREFIX = "run_"
_SIGNER = signing.Signer(salt="athanor.run-token")


class BadRunToken(StudioError):
    """Not a token of any run, or of a run that was since given to another node."""

    code = "not_signed_in"
    status = 401


def make_run_token(run: Run) -> str:
    """Return the token of the run's present placement."""
    return PREFIX + _SIGNER.sign(f"{run.pk.hex}.{run.placement_number}")


def read_run_token(raw: str) -> Run:
    """Return the run a token speaks for, with its job and owner.

    Raises:
        BadRunToken: forged, malformed, or of an earlier placement.
    """
    run, placement_number = read_any_run_token(raw)
    if placement_number != run.placement_number:
        raise BadRunToken("This run was given to another node.")
    return run


def read_any_run_token(raw: str) -> tuple[Run, int]:
    """Return the run and the placement a token was made for, an earlier one too.

    Raises:
        BadRunToken: forged or malformed.
    """
    try:
        run_hex, _, number = _SIGNER.unsign(raw.removeprefix(PREFIX)).partition(".")
        runs = Run.objects.select_related("job__owner", "job__flavor", "node")
        return runs.get(pk=UUID(run_hex)), int(number)
    except (signing.BadSignature, ValueError, Run.DoesNotExist) as error:
        raise BadRunToken("This is not the token of a run.") from error
