"""What people's runs and machines cost now, and what of it the ledger has not yet."""

from collections.abc import Collection

from studio.jobs.billing import list_run_uses
from studio.machines.charging import list_machine_uses
from studio.points.selectors import Use


def list_uses(user_ids: Collection[int]) -> dict[int, Use]:
    """Return what people's runs and machines cost now, by user id; who has none is not in it."""
    uses = list_run_uses(user_ids)
    for user_id, use in list_machine_uses(user_ids).items():
        uses[user_id] = uses.get(user_id, Use()) + use
    return uses


def get_use(user_id: int) -> Use:
    """Return what a person's runs and machines cost now."""
    return list_uses([user_id]).get(user_id, Use())
