"""What a person has done of the first steps. Apart from `selectors`, which other apps import."""

from studio.accounts.models import User
from studio.hub import models as hub
from studio.jobs.selectors import has_jobs
from studio.playground.models import Conversation


def get_onboarding(user: User) -> dict[str, bool]:
    """Return which first steps are done, in four existence queries."""
    repos = hub.Repo.objects.filter(owner=user)
    return {
        "has_dataset": repos.filter(kind=hub.Kind.DATASET).exists(),
        "has_job": has_jobs(user),
        "has_adapter": repos.filter(role=hub.Role.ADAPTER).exists(),
        "has_conversation": Conversation.objects.filter(owner=user).exists(),
    }
