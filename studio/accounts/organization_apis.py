"""Organizations at the API: parse, call one service, shape the answer."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts import organizations as service
from studio.accounts.models import Membership, Organization, User
from studio.core.inputs import read_input


class OrganizationMemberOutput(serializers.Serializer):
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    role = serializers.ChoiceField(choices=Membership.values)
    joined_at = serializers.DateTimeField()


class OrganizationOutput(serializers.Serializer):
    name = serializers.CharField(help_text="The namespace of its repos.")
    display_name = serializers.CharField(allow_blank=True)
    about = serializers.CharField(allow_blank=True)
    num_members = serializers.IntegerField()
    my_role = serializers.ChoiceField(choices=[*Membership.values, ""], allow_blank=True)
    created_at = serializers.DateTimeField()


class OrganizationDetailOutput(OrganizationOutput):
    members = OrganizationMemberOutput(many=True)


class OrganizationInput(serializers.Serializer):
    name = serializers.CharField(max_length=40)
    display_name = serializers.CharField(max_length=80, allow_blank=True, default="")
    about = serializers.CharField(max_length=500, allow_blank=True, default="")


class OrganizationUpdateInput(serializers.Serializer):
    display_name = serializers.CharField(
        max_length=80, allow_blank=True, required=False, default=None
    )
    about = serializers.CharField(max_length=500, allow_blank=True, required=False, default=None)


class OrganizationMemberInput(serializers.Serializer):
    username = serializers.CharField(max_length=40)
    role = serializers.ChoiceField(choices=Membership.values, default=Membership.MEMBER)


class OrganizationListApi(APIView):
    @extend_schema(responses=OrganizationOutput(many=True))
    def get(self, request: Request) -> Response:
        caller = _caller(request)
        found = list(service.list_organizations(caller))
        roles = dict(caller.memberships.values_list("organization_id", "role"))
        shown = [_show(each, roles.get(each.pk, "")) for each in found]
        return Response(OrganizationOutput(shown, many=True).data)

    @extend_schema(request=OrganizationInput, responses={201: OrganizationDetailOutput})
    def post(self, request: Request) -> Response:
        wish = read_input(OrganizationInput, request.data)
        made = service.create_organization(by=_caller(request), **wish)
        return _answer(request, made.name, status=201)


class OrganizationApi(APIView):
    @extend_schema(responses=OrganizationDetailOutput)
    def get(self, request: Request, name: str) -> Response:
        return _answer(request, name)

    @extend_schema(request=OrganizationUpdateInput, responses=OrganizationDetailOutput)
    def patch(self, request: Request, name: str) -> Response:
        organization = service.get_organization(_caller(request), name)
        wish = read_input(OrganizationUpdateInput, request.data)
        service.update_organization(by=_caller(request), organization=organization, **wish)
        return _answer(request, name)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        organization = service.get_organization(_caller(request), name)
        service.delete_organization(by=_caller(request), organization=organization)
        return Response(status=204)


class OrganizationMembersApi(APIView):
    @extend_schema(request=OrganizationMemberInput, responses=OrganizationDetailOutput)
    def post(self, request: Request, name: str) -> Response:
        organization = service.get_organization(_caller(request), name)
        wish = read_input(OrganizationMemberInput, request.data)
        service.set_member(by=_caller(request), organization=organization, **wish)
        return _answer(request, name)


class OrganizationMemberApi(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str, username: str) -> Response:
        organization = service.get_organization(_caller(request), name)
        service.remove_member(by=_caller(request), organization=organization, username=username)
        return Response(status=204)


def _caller(request: Request) -> User:
    assert isinstance(request.user, User), "the permission class lets only people in"
    return request.user


def _answer(request: Request, name: str, *, status: int = 200) -> Response:
    organization = service.get_organization(_caller(request), name)
    members = [
        {
            "username": member.user.username,
            "display_name": member.user.display_name,
            "role": member.role,
            "joined_at": member.joined_at,
        }
        for member in service.list_members(organization)
    ]
    shown = _show(organization, service.find_role(_caller(request), organization))
    body = OrganizationDetailOutput(shown | {"members": members}).data
    return Response(body, status=status)


def _show(organization: Organization, role: str) -> dict[str, Any]:
    return {
        "name": organization.name,
        "display_name": organization.display_name,
        "about": organization.about,
        "num_members": getattr(organization, "num_members", 0),
        "my_role": role,
        "created_at": organization.created_at,
    }
