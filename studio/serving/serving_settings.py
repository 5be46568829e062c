"""How a model is served where it is not as all others: on which flavor, and by which fields of its
spec. What is set here holds from the next start of its server on.

An operator sets everything; who manages the model, its threshold alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from pydantic import ValidationError as SpecValidationError

from engine.specs import ServeSpec
from studio.accounts.models import User
from studio.compute.models import Flavor
from studio.compute.rooms import WHOLE
from studio.core import audit
from studio.core.errors import BadInput, Forbidden, NotFound, Unavailable
from studio.hub.access import Reader, may_manage
from studio.hub.models import Kind, Repo, Role
from studio.hub.selectors import get_repo
from studio.jobs.previews import FLAVOR as LOOKS
from studio.serving.models import OPEN, Deployment, ServingSettings

FLAVOR = "serve"
THRESHOLD = ("least_agreement", "on_low_agreement")
"""What the owner of a model may say of it."""
# One person alone does not fill the queue, and has room for the most answers to one request.
_QUEUE = {"max_waiting": 512, "max_waiting_of_tenant": 128}
_OWN = frozenset({"kind", "model", "adapters", *_QUEUE})
SETTABLE = tuple(name for name in ServeSpec.model_fields if name not in _OWN)


@dataclass(frozen=True)
class Plan:
    """What the next server of a model is started with."""

    flavor: str
    spec: Mapping[str, Any]
    """Beside `kind` and `model`."""


def find_settable(viewer: User, namespace: str, name: str) -> Repo:
    """Return a base model whose settings a person may see: an operator, or who manages it.

    Raises:
        NotFound: there is none, or it is none of theirs.
        BadInput: it is an adapter, which is served with its base.
    """
    is_operator = viewer.has_role("operator")
    eyes = Reader(viewer, reads_all=True) if is_operator else viewer
    repo = get_repo(eyes, Kind.MODEL, namespace, name)
    if not is_operator and not may_manage(viewer, repo):
        raise NotFound
    if repo.role == Role.ADAPTER:
        raise BadInput(
            f"{repo.repo_id} is an adapter: it is served with its base, which has the settings.",
            code="adapter_served_with_base",
        )
    return repo


def list_settable(viewer: User) -> tuple[str, ...]:
    """Return the fields of a spec that a person may set of a model that `find_settable` gave."""
    return SETTABLE if viewer.has_role("operator") else THRESHOLD


def find_settings(repo: Repo) -> ServingSettings | None:
    """Return what is set of a model; None where it is served as all are."""
    return _with_names().filter(repo=repo).first()


def list_settings(viewer: User) -> QuerySet[ServingSettings]:
    """Return all there are, by model.

    Raises:
        NotFound: the viewer does not operate.
    """
    if not viewer.has_role("operator"):
        raise NotFound
    return _with_names().order_by("repo__namespace", "repo__name")


def list_serving_flavors() -> list[Flavor]:
    """Return the flavors that a server may be started on: unlisted ones too, and no shares."""
    flavors = Flavor.objects.filter(is_active=True, device_percent=WHOLE).exclude(name=LOOKS)
    return list(flavors.order_by("price_mpoints_per_hour", "name"))


@transaction.atomic
def change_settings(
    *, by: User, repo: Repo, spec: Mapping[str, Any], flavor_name: str | None = None
) -> ServingSettings | None:
    """Set how a model is served from its next start on; return what is set now.

    What is not named goes back to how all models are served. Of an owner that is the threshold
    alone: the rest stays as an operator has set it.

    Raises:
        NotFound: the model is not theirs to set.
        Forbidden: an owner names more than the threshold.
        BadInput: there is no such flavor, or the studio sets the field itself.
        SpecValidationError: the spec breaks its own rules.
    """
    is_operator = by.has_role("operator")
    if not is_operator and not may_manage(by, repo):
        raise NotFound
    old = _lock(repo)
    flavor = old.flavor
    if is_operator:
        flavor = _find_flavor(flavor_name) if flavor_name else None
    else:
        _check_own(spec, flavor_name)
        spec = {k: v for k, v in old.spec.items() if k not in THRESHOLD} | dict(spec)
    old.flavor, old.spec, old.changed_by = flavor, _check_spec(repo, spec, flavor), by
    audit.record(
        "serving.settings_changed",
        actor=by,
        subject=repo.repo_id,
        flavor=flavor.name if flavor else None,
        spec=old.spec,
    )
    if flavor is None and not old.spec:
        old.delete()
        return None
    old.full_clean(validate_constraints=False)
    old.save()
    return old


def plan_server(repo: Repo) -> Plan:
    """Return what the next server of a model is started with.

    Raises:
        Unavailable: what was set of it cannot be used any more.
    """
    return _plan(repo.repo_id, find_settings(repo))


def get_start_rate(repo: Repo) -> int:
    """Return what the next server of a model costs, in milli-points an hour."""
    found = find_settings(repo)
    return found.flavor.price_mpoints_per_hour if found and found.flavor else get_usual_rate()


def get_usual_rate() -> int:
    """Return what a server costs of a model with no flavor of its own, in milli-points an hour."""
    rates = Flavor.objects.filter(name=FLAVOR).values_list("price_mpoints_per_hour", flat=True)
    return int(rates.first() or 0)


def find_outdated(deployments: Sequence[Deployment]) -> set[UUID]:
    """Return the ids of the deployments that would be started otherwise now."""
    going = [
        each for each in deployments if each.status in OPEN and each.job and not each.is_retiring
    ]
    names = {each.model.partition("/")[2] for each in going}
    found = {each.repo.repo_id: each for each in _with_names().filter(repo__name__in=names)}
    return {each.pk for each in going if _is_outdated(each, found.get(each.model))}


def _with_names() -> QuerySet[ServingSettings]:
    return ServingSettings.objects.select_related("repo", "flavor", "changed_by")


def _lock(repo: Repo) -> ServingSettings:
    """Return a model's row locked, made where it had none."""
    ServingSettings.objects.get_or_create(repo=repo)
    locked = ServingSettings.objects.select_for_update(of=("self",))
    return locked.select_related("flavor").get(repo=repo)


def _find_flavor(name: str) -> Flavor:
    flavors = {flavor.name: flavor for flavor in list_serving_flavors()}
    if name not in flavors:
        raise BadInput(
            f"flavor: there is no flavor {name!r}; pick one of {', '.join(flavors)}.",
            field="flavor",
            code="unknown_flavor",
            name=name,
        )
    return flavors[name]


def _check_own(spec: Mapping[str, Any], flavor_name: str | None) -> None:
    """Refuse an owner whatever is an operator's to set."""
    more = [f"spec.{name}" for name in spec if name not in THRESHOLD]
    for field in ["flavor"] * bool(flavor_name) + more:
        raise Forbidden(
            f"{field}: an operator sets it; of your model you set {' and '.join(THRESHOLD)}.",
            field=field,
            code="operator_sets_it",
            name=field.removeprefix("spec."),
        )


def _check_spec(repo: Repo, spec: Mapping[str, Any], flavor: Flavor | None) -> dict[str, Any]:
    """Return the fields as they are kept."""
    for name in spec:
        if name in _OWN:
            raise BadInput(
                f"spec.{name}: the studio sets it by itself: leave it out.",
                field=f"spec.{name}",
                code="studio_sets_it",
                name=name,
            )
    read = _read_spec(repo.repo_id, spec)
    _check_devices(read, flavor or Flavor.objects.get(name=FLAVOR))
    return read.model_dump(mode="json", include=set(spec))


def _read_spec(repo_id: str, spec: Mapping[str, Any]) -> ServeSpec:
    return ServeSpec.model_validate({"model": repo_id, **_QUEUE, **spec})


def _check_devices(spec: ServeSpec, flavor: Flavor) -> None:
    """Refuse GPUs that would lie idle, and shares of a model with no GPU or core of their own."""
    has, wanted = flavor.num_devices, spec.tensor_parallel
    if spec.backend == "remote" and has:
        raise BadInput(
            f"flavor: {flavor.title} has {has} GPUs, and another server answers: pick one without.",
            field="flavor",
            code="gpus_idle",
            has=has,
        )
    if has and wanted != has:
        raise BadInput(
            f"spec.tensor_parallel: {wanted} devices share the model and {flavor.title} has {has} "
            f"GPUs: set it to {has}, or pick another flavor.",
            field="spec.tensor_parallel",
            code="shares_not_devices",
            wanted=wanted,
            has=has,
        )
    if not has and wanted > flavor.cores:
        raise BadInput(
            f"spec.tensor_parallel: {wanted} processes share the model and {flavor.title} has "
            f"{flavor.cores} cores: lower it, or pick another flavor.",
            field="spec.tensor_parallel",
            code="shares_not_cores",
            wanted=wanted,
            has=flavor.cores,
        )


def _plan(repo_id: str, found: ServingSettings | None) -> Plan:
    if found is None:
        return Plan(FLAVOR, _QUEUE)
    try:
        _read_spec(repo_id, found.spec)
    except SpecValidationError as error:  # set before an upgrade
        raise Unavailable(
            f"{repo_id} cannot be served: its settings are of another version; an operator sets "
            "them anew.",
            code="settings_unusable",
            model=repo_id,
        ) from error
    return Plan(found.flavor.name if found.flavor else FLAVOR, {**_QUEUE, **found.spec})


def _is_outdated(deployment: Deployment, found: ServingSettings | None) -> bool:
    assert deployment.job is not None
    given = {k: v for k, v in deployment.job.spec.items() if k not in ("kind", "model")}
    try:
        plan = _plan(deployment.model, found)
    except Unavailable:
        return True
    return (deployment.job.flavor.name, given) != (plan.flavor, dict(plan.spec))
