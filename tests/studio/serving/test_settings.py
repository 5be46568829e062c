"""What a served model is given: who may set it, what is refused, and what its server is told."""

import pytest
from pydantic import ValidationError

from engine.specs import ServeSpec
from studio.accounts.models import Membership, Organization, OrganizationMember
from studio.compute.models import Flavor
from studio.core.errors import BadInput, Conflict, Forbidden, NotFound, Unavailable
from studio.hub.models import Repo
from studio.hub.services import delete_repo
from studio.jobs.models import Run
from studio.jobs.scheduler import make_order
from studio.serving.models import Deployment, DeploymentStatus, ServingSettings
from studio.serving.services import ensure_deployment, restart_deployment, set_ready
from studio.serving.serving_settings import (
    SETTABLE,
    change_settings,
    find_outdated,
    find_settings,
    get_start_rate,
)
from tests.factories import make_user
from tests.studio.serving.deployed import push_adapter, push_model

pytestmark = pytest.mark.django_db

THRESHOLD = {"least_agreement": 0.95, "on_low_agreement": "refuse"}


@pytest.fixture
def commit(hub_dir, alice):
    """A public model of alice's."""
    return push_model(alice, "tiny")


@pytest.fixture
def repo(commit):
    return commit.repo


def ordered(deployment: Deployment) -> ServeSpec:
    """Return the spec that the node of a deployment is sent."""
    run = Run.objects.get(job=deployment.job)
    spec = make_order(run).spec
    assert isinstance(spec, ServeSpec)
    return spec


def make_flavor(name: str, num_devices: int = 0, **fields) -> Flavor:
    wanted = {"title": name, "cores": 4, "memory_bytes": 2**34, "price_mpoints_per_hour": 7}
    return Flavor.objects.create(name=name, num_devices=num_devices, **wanted | fields)


def test_a_model_without_settings_is_served_as_all_are(commit):
    deployment = ensure_deployment(commit=commit)
    assert deployment.job.flavor.name == "serve"
    usual = ServeSpec(model=f"alice/tiny@{commit.sha}", max_waiting=512, max_waiting_of_tenant=128)
    assert ordered(deployment) == usual


def test_what_an_operator_sets_reaches_the_node(commit, repo, olga):
    spec = {"max_context": 8192, "kv_precision": "int8", "max_running_of_tenant": 4}
    change_settings(by=olga, repo=repo, spec=spec, flavor_name="gpu-1")
    deployment = ensure_deployment(commit=commit)
    assert deployment.job.flavor.name == "gpu-1"
    sent = ordered(deployment)
    assert (sent.max_context, sent.kv_precision, sent.max_running_of_tenant) == (8192, "int8", 4)
    assert (sent.max_waiting, sent.max_waiting_of_tenant) == (512, 128)


@pytest.mark.parametrize(
    "spec", [{"backend": "lmdeploy"}, {"backend": "remote", "url": "http://10.0.0.5:8000/v1"}]
)
def test_another_backend_is_chosen_and_keeps_the_same_queue(commit, repo, olga, spec):
    change_settings(by=olga, repo=repo, spec=spec)
    sent = ordered(ensure_deployment(commit=commit))
    assert sent.backend == spec["backend"] and sent.url == spec.get("url")
    assert (sent.max_waiting, sent.max_waiting_of_tenant) == (512, 128)


def test_every_field_of_a_server_is_an_operators_but_those_the_studio_sets_itself():
    own = {"kind", "model", "adapters", "max_waiting", "max_waiting_of_tenant"}
    assert set(SETTABLE) == set(ServeSpec.model_fields) - own


@pytest.mark.parametrize("name", ["model", "adapters", "max_waiting", "kind"])
def test_what_the_studio_sets_itself_is_refused(repo, olga, name):
    with pytest.raises(BadInput) as refused:
        change_settings(by=olga, repo=repo, spec={name: "serve"})
    assert (refused.value.code, refused.value.field) == ("studio_sets_it", f"spec.{name}")
    assert find_settings(repo) is None


def test_an_owner_sets_the_threshold_and_what_an_operator_set_stays(commit, repo, alice, olga):
    change_settings(by=olga, repo=repo, spec={"max_context": 8192}, flavor_name="cpu-2")
    change_settings(by=alice, repo=repo, spec=THRESHOLD)
    deployment = ensure_deployment(commit=commit)
    sent = ordered(deployment)
    assert (sent.least_agreement, sent.on_low_agreement) == (0.95, "refuse")
    assert (sent.max_context, deployment.job.flavor.name) == (8192, "cpu-2")
    kept = change_settings(by=alice, repo=repo, spec={})
    assert kept is not None and kept.spec == {"max_context": 8192}
    assert kept.changed_by == alice


@pytest.mark.parametrize(
    ("field", "wish"),
    [
        ("flavor", {"spec": {}, "flavor_name": "gpu-1"}),
        ("spec.url", {"spec": {"url": "http://10.0.0.9:80/v1", "least_agreement": 0.9}}),
        ("spec.max_context", {"spec": {"max_context": 8192}}),
        ("spec.max_waiting", {"spec": {"max_waiting": 8192}}),
    ],
)
def test_an_owner_sets_no_more_than_the_threshold(repo, alice, field, wish):
    with pytest.raises(Forbidden) as refused:
        change_settings(by=alice, repo=repo, **wish)
    assert (refused.value.code, refused.value.field) == ("operator_sets_it", field)
    assert find_settings(repo) is None


def test_a_stranger_sets_nothing(repo, carol):
    with pytest.raises(NotFound):
        change_settings(by=carol, repo=repo, spec=THRESHOLD)


def test_nothing_set_is_no_row_and_a_deleted_model_leaves_none(repo, alice, olga):
    assert change_settings(by=olga, repo=repo, spec={}) is None
    change_settings(by=olga, repo=repo, spec={"max_context": 100})
    delete_repo(by=alice, repo=Repo.objects.get(pk=repo.pk))
    assert not ServingSettings.objects.exists()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"max_contxt": 10}, "max_contxt"),
        ({"max_context": 1}, "max_context"),
        ({"max_context": {"a": []}}, "max_context"),
        ({"least_agreement": float("nan")}, "least_agreement"),
        ({"backend": "vllm"}, "backend"),
        ({"backend": "remote", "url": "file:///etc/passwd"}, "url"),
        ({"url": "http://10.0.0.5:8000/v1"}, None),
        ({"max_running": 512}, None),
    ],
)
def test_a_spec_that_breaks_its_rules_is_refused_and_changes_nothing(repo, olga, spec, field):
    change_settings(by=olga, repo=repo, spec={"max_context": 100})
    with pytest.raises(ValidationError) as refused:
        change_settings(by=olga, repo=repo, spec=spec)
    where = refused.value.errors()[0]["loc"]
    assert where == ((field,) if field else ())
    assert find_settings(repo).spec == {"max_context": 100}


@pytest.mark.parametrize(
    ("num_devices", "spec", "code"),
    [
        (2, {}, "shares_not_devices"),
        (2, {"tensor_parallel": 4}, "shares_not_devices"),
        (0, {"tensor_parallel": 8}, "shares_not_cores"),
        (1, {"backend": "remote", "url": "http://10.0.0.5:8000/v1"}, "gpus_idle"),
    ],
)
def test_no_gpu_lies_idle_and_no_share_is_without_one(repo, olga, num_devices, spec, code):
    make_flavor("big", num_devices)
    with pytest.raises(BadInput) as refused:
        change_settings(by=olga, repo=repo, spec=spec, flavor_name="big")
    assert refused.value.code == code


def test_a_server_may_have_a_flavor_that_is_not_for_users_but_no_share_of_a_gpu(repo, olga):
    make_flavor("serve-gpu", 2, is_listed=False)
    make_flavor("gpu-half", 1, device_percent=50)
    spec = {"tensor_parallel": 2, "backend": "lmdeploy"}
    change_settings(by=olga, repo=repo, spec=spec, flavor_name="serve-gpu")
    with pytest.raises(BadInput, match="gpu-half"):
        change_settings(by=olga, repo=repo, spec={}, flavor_name="gpu-half")
    assert find_settings(repo).flavor.name == "serve-gpu"


def test_asking_costs_what_the_models_own_flavor_costs(repo, olga):
    Flavor.objects.filter(name="serve").update(price_mpoints_per_hour=3)
    assert get_start_rate(repo) == 3
    make_flavor("serve-big")
    change_settings(by=olga, repo=repo, spec={}, flavor_name="serve-big")
    assert get_start_rate(repo) == 7


def test_settings_of_an_older_version_are_told_of_and_start_nothing(commit, repo, olga):
    change_settings(by=olga, repo=repo, spec={"max_context": 100})
    ServingSettings.objects.update(spec={"gone": 1})
    with pytest.raises(Unavailable) as refused:
        ensure_deployment(commit=commit)
    assert refused.value.code == "settings_unusable"
    assert not Deployment.objects.exists()


def test_a_server_that_runs_is_outdated_by_a_change_until_it_is_started_anew(commit, repo, olga):
    old = ensure_deployment(commit=commit)
    set_ready(job_id=old.job_id, url="http://10.0.0.2:8000", served_name="tiny")
    old.refresh_from_db()
    assert find_outdated([old]) == set()
    change_settings(by=olga, repo=repo, spec={"max_context": 8192}, flavor_name="cpu-2")
    assert find_outdated([old]) == {old.pk}
    new = restart_deployment(by=olga, deployment=old)
    old.refresh_from_db()
    assert old.status in {DeploymentStatus.STOPPING, DeploymentStatus.STOPPED}
    assert (new.status, new.revision) == (DeploymentStatus.STARTING, commit.sha)
    assert find_outdated([old, new]) == set()
    change_settings(by=olga, repo=repo, spec={})
    assert find_outdated([new]) == {new.pk}


def test_only_operators_restart_and_only_what_is_up(commit, repo, alice, olga):
    deployment = ensure_deployment(commit=commit)
    with pytest.raises(NotFound):
        restart_deployment(by=alice, deployment=deployment)
    Deployment.objects.update(status=DeploymentStatus.STOPPING)
    deployment.refresh_from_db()
    with pytest.raises(Conflict):
        restart_deployment(by=olga, deployment=deployment)


def test_a_restart_with_settings_that_cannot_be_used_stops_nothing(commit, repo, olga):
    change_settings(by=olga, repo=repo, spec={"max_context": 100})
    deployment = ensure_deployment(commit=commit)
    ServingSettings.objects.update(spec={"gone": 1})
    with pytest.raises(Unavailable):
        restart_deployment(by=olga, deployment=deployment)
    deployment.refresh_from_db()
    assert deployment.status == DeploymentStatus.STARTING


# --- the API -------------------------------------------------------------------------------------

URL = "/api/serving/settings/"
ONE = f"{URL}alice/tiny/"


def put(client, body):
    return client.put(ONE, body, format="json")


def test_an_operator_sets_lists_and_forgets(api, commit, olga):
    shown = api(olga).get(ONE).json()
    assert (shown["flavor"], shown["spec"], shown["changed_at"]) == (None, {}, None)
    assert set(shown["schema"]["properties"]) == set(SETTABLE)
    usual = [flavor["name"] for flavor in shown["flavors"] if flavor["is_usual"]]
    assert usual == ["serve"]
    body = {"flavor": "cpu-2", "spec": {"max_context": 8192}}
    changed = put(api(olga), body).json()
    assert (changed["flavor"], changed["spec"]) == ("cpu-2", {"max_context": 8192})
    assert changed["changed_by"] == "olga"
    (line,) = api(olga).get(URL).json()["results"]
    assert line["model"] == "alice/tiny" and line["spec"] == {"max_context": 8192}
    assert api(olga).delete(ONE).json()["spec"] == {}
    assert api(olga).get(URL).json()["results"] == []


def test_an_owner_sees_and_sets_the_threshold_alone(api, commit, alice, olga):
    remote = {"backend": "remote", "url": "http://10.0.0.5:8000/v1"}
    theirs = {"backend": "lmdeploy", "max_context": 8192}
    assert put(api(olga), {"flavor": "cpu-2", "spec": theirs}).status_code == 200
    shown = put(api(alice), {"spec": {"least_agreement": 0.5}}).json()
    assert (shown["spec"], shown["flavor"], shown["flavors"]) == (
        {"least_agreement": 0.5},
        None,
        [],
    )
    assert set(shown["schema"]["properties"]) == {"least_agreement", "on_low_agreement"}
    # Nothing hides a field for the value of another that is not in the form.
    assert all("only" not in field for field in shown["schema"]["properties"].values())
    for body in ({"spec": remote}, {"flavor": "gpu-1"}):
        refused = put(api(alice), body)
        assert (refused.status_code, refused.json()["code"]) == (403, "operator_sets_it")
    assert api(alice).delete(ONE).json()["spec"] == {}
    assert find_settings(commit.repo).spec == theirs
    assert api(alice).get(URL).status_code == 404


def test_a_stranger_learns_of_nothing_and_changes_nothing(api, commit, carol):
    assert api(carol).get(ONE).status_code == 404
    assert put(api(carol), {"spec": THRESHOLD}).status_code == 404
    assert api(carol).delete(ONE).status_code == 404
    assert api(carol).get(URL).status_code == 404
    assert api().get(ONE).status_code == 401


def test_an_operator_sets_a_private_model_which_other_members_do_not_know(api, bob, carol, olga):
    push_model(bob, "secret", visibility="private")
    url = f"{URL}bob/secret/"
    assert api(olga).get(url).status_code == 200
    assert api(carol).get(url).status_code == api(carol).get(f"{URL}bob/none/").status_code == 404


def test_an_adapter_has_no_settings_of_its_own(api, commit, alice):
    push_adapter(alice, "tuned", base="alice/tiny")
    refused = api(alice).get(f"{URL}alice/tuned/")
    assert (refused.status_code, refused.json()["code"]) == (400, "adapter_served_with_base")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"spec": [1]}, "spec"),
        ({"spec": "backend"}, "spec"),
        ({"flavor": "none-such"}, "flavor"),
        ({"spec": {"max_context": "many"}}, "spec.max_context"),
        ({"spec": {"url": "http://10.0.0.5:8000/v1"}}, "spec"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_that_names_the_field(api, commit, olga, body, field):
    refused = put(api(olga), body)
    assert refused.status_code == 400
    said = refused.json()
    assert said["field"] == field and said["message"].startswith(field)


def test_a_body_that_is_no_json_is_refused(api, commit, olga):
    refused = api(olga).put(ONE, '{"spec": {', content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_json")


def test_the_list_says_what_a_change_outdates_and_an_operator_restarts_it(api, commit, alice, olga):
    deployment = ensure_deployment(commit=commit)
    put(api(olga), {"spec": {"max_context": 8192}})
    assert api(olga).get(ONE).json()["running"] == [str(deployment.pk)]
    (shown,) = api(alice).get("/api/deployments/").json()["results"]
    assert shown["is_outdated"] is True
    restart = f"/api/deployments/{deployment.pk}/restart/"
    assert api(alice).post(restart).status_code == 404
    new = api(olga).post(restart).json()
    assert (new["status"], new["is_outdated"]) == ("starting", False)
    assert new["id"] != str(deployment.pk)


def test_an_organizations_admins_set_the_threshold_of_its_models(api, commit, alice, bob):
    lab = Organization.objects.create(name="lab")
    OrganizationMember.objects.create(organization=lab, user=bob, role=Membership.ADMIN)
    Repo.objects.update(organization=lab, owner=make_user("dora"))
    assert put(api(bob), {"spec": THRESHOLD}).status_code == 200
    assert put(api(alice), {"spec": THRESHOLD}).status_code == 404
