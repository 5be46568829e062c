"""Hears from serve runs, inside the transaction that stores what they said."""

from engine.events import Endpoint
from studio.jobs.models import Run
from studio.serving.models import Deployment
from studio.serving.services import get_server_token, set_ended, set_ready


class ServeListener:
    """Keeps a deployment in step with its run."""

    def on_endpoint(self, run: Run, event: Endpoint) -> None:
        """The run's server is up."""
        name = event.models[0] if event.models else str(run.job.spec["model"])
        set_ready(job_id=run.job_id, url=event.url, served_name=name)

    def on_end(self, run: Run) -> None:
        """The run's server is gone."""
        set_ended(job_id=run.job_id, status=run.status, message=run.message)

    def get_server_token(self, run: Run) -> str | None:
        """Return what the run's server shall ask of its callers."""
        deployment = Deployment.objects.filter(job_id=run.job_id).first()
        return get_server_token(deployment.pk) if deployment else None
