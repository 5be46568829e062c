"""Organizations: who makes them, who runs them, what a stranger hears."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from studio.accounts.models import Organization, OrganizationMember, User
from studio.accounts.organizations import create_organization
from studio.accounts.services import create_user
from studio.core.errors import StudioError
from studio.hub.models import Repo
from tests.factories import make_user
from tests.studio.hub.made import push


@pytest.fixture
def camp(olga, alice):
    """olga's course, to which alice belongs."""
    organization = Organization.objects.create(name="Camp")
    for user, role in ((olga, "admin"), (alice, "member")):
        OrganizationMember.objects.create(organization=organization, user=user, role=role)
    return organization


def test_an_operator_makes_one_and_takes_people_in(api, olga, alice):
    made = api(olga).post(
        "/api/organizations/", {"name": "camp-1", "about": "A course"}, format="json"
    )
    assert made.status_code == 201 and made.json()["my_role"] == "admin"
    taken = api(olga).post(
        "/api/organizations/camp-1/members/",
        {"username": "Alice", "role": "contributor"},
        format="json",
    )
    assert [each["username"] for each in taken.json()["members"]] == ["alice", "olga"]
    (seen,) = api(alice).get("/api/organizations/").json()
    assert (seen["name"], seen["my_role"], seen["num_members"]) == ("camp-1", "contributor", 2)


def test_members_make_none(api, alice):
    refused = api(alice).post("/api/organizations/", {"name": "mine"}, format="json")
    assert refused.status_code == 403 and not Organization.objects.exists()


@pytest.mark.parametrize("name", ["ALICE", "camp", "CAMP", "athanor"])
def test_a_name_is_one_persons_or_one_organizations(api, camp, olga, name):
    answer = api(olga).post("/api/organizations/", {"name": name}, format="json")
    assert answer.status_code == 409 and answer.json()["field"] == "name"


@pytest.mark.parametrize("name", ["api", "a b", "-x", "", "x" * 41])
def test_what_is_no_namespace_is_no_name(api, olga, name):
    answer = api(olga).post("/api/organizations/", {"name": name}, format="json")
    assert answer.status_code == 400 and answer.json()["field"] == "name"


def test_nobody_is_named_like_an_organization(api, camp, adam):
    answer = api(adam).post("/api/users/", {"username": "camp"}, format="json")
    assert answer.status_code == 400 and answer.json()["field"] == "username"


def test_a_stranger_hears_nothing_of_it(api, camp, carol):
    assert api(carol).get("/api/organizations/").json() == []
    for method, path in [
        ("get", "/api/organizations/camp/"),
        ("patch", "/api/organizations/camp/"),
        ("delete", "/api/organizations/camp/"),
        ("post", "/api/organizations/camp/members/"),
        ("delete", "/api/organizations/camp/members/alice/"),
    ]:
        assert (
            getattr(api(carol), method)(path, {"username": "carol"}, format="json").status_code
            == 404
        )


def test_a_member_looks_and_may_leave_and_no_more(api, camp, alice):
    assert api(alice).get("/api/organizations/camp/").json()["name"] == "Camp"
    assert (
        api(alice).patch("/api/organizations/camp/", {"about": "x"}, format="json").status_code
        == 403
    )
    assert api(alice).delete("/api/organizations/camp/members/olga/").status_code == 403
    assert api(alice).delete("/api/organizations/camp/members/alice/").status_code == 204
    assert api(alice).get("/api/organizations/camp/").status_code == 404


def test_somebody_is_always_left_to_run_it(api, camp, olga):
    gone = api(olga).delete("/api/organizations/camp/members/olga/")
    demoted = api(olga).post(
        "/api/organizations/camp/members/", {"username": "olga", "role": "member"}, format="json"
    )
    assert (gone.status_code, demoted.status_code) == (409, 409)
    assert gone.json()["code"] == "last_admin"


def test_one_with_repos_is_not_deleted(api, camp, olga):
    OrganizationMember.objects.update(role="admin")
    push(olga, "Camp/base", {"a": b"x"}, kind="model")
    assert Repo.objects.get().organization == camp
    assert api(olga).delete("/api/organizations/camp/").status_code == 409
    Repo.objects.all().delete()
    assert api(olga).delete("/api/organizations/camp/").status_code == 204


def test_a_list_of_many_takes_as_many_queries_as_of_one(
    api, camp, olga, django_assert_max_num_queries
):
    for number in range(10):
        organization = Organization.objects.create(name=f"c{number}")
        OrganizationMember.objects.create(organization=organization, user=olga, role="admin")
        member = make_user(f"m{number}")
        OrganizationMember.objects.create(organization=camp, user=member)
    for path in ("/api/organizations/", "/api/organizations/camp/"):
        client = api(olga)
        with django_assert_max_num_queries(8):
            assert client.get(path).status_code == 200


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_name_goes_to_a_person_or_an_organization_and_never_to_both(olga, adam):
    def make(what: str) -> str:
        try:
            if what == "user":
                create_user(by=adam, username="camp-9")
            else:
                create_organization(by=olga, name="Camp-9")
        except (StudioError, ValidationError):
            return "refused"
        finally:
            connections.close_all()
        return what

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, ["user", "organization"] * 4))
    assert sorted(set(made)) in (["organization", "refused"], ["refused", "user"])
    people = User.objects.filter(username__iexact="camp-9").count()
    assert people + Organization.objects.filter(name__iexact="camp-9").count() == 1
