"""The periodic work of serving."""

from celery import shared_task

from studio.serving import services


@shared_task
def tend_deployments() -> int:
    """Stop what is idle and end what has lost its run."""
    return services.tend_deployments()
