"""What runs hold of nodes, and what becomes of them when a node is emptied or removed."""

from collections.abc import Collection, Iterator

from django.db import transaction
from django.db.models import QuerySet

from engine.status import Reason, Status
from studio.compute.holdings import Holding
from studio.compute.models import Node
from studio.core.sentences import say
from studio.jobs.models import LIVE, Run
from studio.jobs.moves import Move, move_run
from studio.jobs.services import stop_job


class RunHolder:
    """The runs of nodes; see `studio.compute.holdings.Holder`."""

    def list_holdings(self, node_ids: Collection[int]) -> Iterator[Holding]:
        """Return the live runs on these nodes."""
        held = Run.objects.filter(status__in=LIVE, node_id__in=node_ids)
        for run in held.select_related("job__owner", "job__flavor"):
            assert run.node_id is not None
            yield Holding(
                node_id=run.node_id,
                kind="server" if run.job.kind == "serve" else "run",
                id=str(run.job_id),
                name=run.job.name,
                owner=run.job.owner.username,
                status=run.status,
                is_going=True,
                flavor=run.job.flavor,
                device_indexes=run.device_indexes,
            )

    def warn(self, node: Node) -> None:
        """Tell nobody: a run that goes on to its end needs no warning."""

    def drain(self, node: Node) -> None:
        """Stop the platform's servers, and the others where the drain says so."""
        runs = _live_on(node).exclude(status=Status.STOPPING.value).select_related("job")
        for run in runs if node.drain_stops_runs else runs.filter(job__is_platform=True):
            stop_job(by=None, job=run.job, reason=Reason.STOPPED_BY_OPERATOR, message=_say(node))

    @transaction.atomic
    def let_go(self, node: Node) -> None:
        """Give every run of the node up: it is lost, and its points are back."""
        message = say("run_node_removed", node=node)
        locked = Run.objects.select_for_update(of=("self",))
        for run_id in _live_on(node).values_list("pk", flat=True):
            run = locked.select_related("job__owner", "job__flavor").get(pk=run_id)
            if run.status == Status.QUEUED and run.claimed_at is None:  # it waits for another
                run.node, run.device_indexes = None, []
                run.placement_number += 1
                run.save(update_fields=["node", "device_indexes", "placement_number"])
            elif not run.is_final:
                move_run(run, Move(Status.FAILED, Reason.NODE_LOST, message))


def _live_on(node: Node) -> QuerySet[Run]:
    return Run.objects.filter(status__in=LIVE, node=node)


def _say(node: Node) -> str:
    if node.drain_reason:
        return say("run_drained_why", node=node, why=node.drain_reason)
    return say("run_drained", node=node)
