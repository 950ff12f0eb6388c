"""Organisations: found, list, show, change and delete them; their members and invitations; their log."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from hub.api import bodies, paging
from hub.api import organization_serializers as shapes
from hub.api.base import Door
from hub.api.schema import CURSOR, LIMIT, answers
from hub.api.serializers import list_of, page_of
from hub.models import User
from hub.services import access, audit, organizations


class Listing(Door):
    """The asker's organisations."""

    @extend_schema(operation_id="list_organizations", summary="List your organisations", responses=answers({200: list_of(shapes.OrganizationItem)}))
    def get(self, request: Request) -> Response:
        """By name, with your role in each."""
        rows = organizations.of(user=access.require_login(request.user))
        return Response({"items": shapes.OrganizationItem(rows, many=True).data})

    @extend_schema(
        operation_id="create_organization",
        summary="Create an organisation",
        request=shapes.NewOrganization,
        responses=answers({201: shapes.OrganizationDetail}, 403, 409, 413, 415),
    )
    def post(self, request: Request) -> Response:
        """You are its first owner."""
        access.require_login(request.user)
        made = organizations.create(actor=request.user, **bodies.read(request, shapes.NewOrganization))
        return Response(_detail(request, made), status=201, headers={"Location": reverse("api-organization", [made.username], request=request)})


class Detail(Door):
    """One organisation."""

    @extend_schema(operation_id="get_organization", summary="Show an organisation", responses=answers({200: shapes.OrganizationDetail}, 404))
    def get(self, request: Request, organization: str) -> Response:
        """Everyone may see it. Its adapters are listed at `/adapters?owner=`."""
        return Response(_detail(request, organizations.find(name=organization)))

    @extend_schema(
        operation_id="change_organization",
        summary="Rename an organisation, or change what it says of itself",
        request=shapes.OrganizationChange,
        responses=answers({200: shapes.OrganizationDetail}, 403, 404, 409, 413, 415),
    )
    def patch(self, request: Request, organization: str) -> Response:
        """For its owners. What lay under the old name is found under both."""
        found = _owned(request, organization)
        given = bodies.read(request, shapes.OrganizationChange)
        if "about" in given:
            organizations.update(actor=request.user, organization=found, about=given["about"])
        if "name" in given:
            organizations.rename(actor=request.user, organization=found, name=given["name"])
        return Response(_detail(request, found))

    @extend_schema(operation_id="delete_organization", summary="Delete an organisation that owns nothing", responses=answers({204: None}, 403, 404, 409))
    def delete(self, request: Request, organization: str) -> Response:
        """For its owners. Hand its adapters over, or delete them for good, first."""
        organizations.delete(actor=request.user, organization=_owned(request, organization))
        return Response(status=204)


class Members(Door):
    """The members of an organisation."""

    @extend_schema(
        operation_id="list_members",
        summary="List the members of an organisation",
        parameters=[LIMIT, CURSOR],
        responses=answers({200: page_of(shapes.MemberItem)}, 404),
    )
    def get(self, request: Request, organization: str) -> Response:
        """Everyone may see them, the newest first."""
        rows, following = paging.newest_first(request, organizations.members(organization=organizations.find(name=organization)))
        return Response({"items": shapes.MemberItem(rows, many=True).data, "next": following})


class Member(Door):
    """One member."""

    @extend_schema(
        operation_id="change_role",
        summary="Change the role of a member",
        request=shapes.RoleChange,
        responses=answers({200: shapes.MemberItem}, 403, 404, 409, 413, 415),
    )
    def put(self, request: Request, organization: str, user: str) -> Response:
        """For owners. The last owner stays one."""
        found = _owned(request, organization)
        row = organizations.set_role(actor=request.user, organization=found, username=user, **bodies.read(request, shapes.RoleChange))
        return Response(shapes.MemberItem(row).data)

    @extend_schema(operation_id="remove_member", summary="Remove a member, or leave", responses=answers({204: None}, 403, 404, 409))
    def delete(self, request: Request, organization: str, user: str) -> Response:
        """Owners remove others; everyone may leave. The last owner stays."""
        access.require_login(request.user)
        organizations.remove(actor=request.user, organization=organizations.find(name=organization), username=user)
        return Response(status=204)


class Invitations(Door):
    """Who is asked to join."""

    @extend_schema(operation_id="list_invitations", summary="List the invitations of an organisation", responses=answers({200: shapes.INVITATIONS}, 403, 404))
    def get(self, request: Request, organization: str) -> Response:
        """For owners."""
        rows = organizations.invitations(actor=request.user, organization=_owned(request, organization))
        return Response({"items": shapes.InvitationItem(rows, many=True).data})

    @extend_schema(
        operation_id="invite",
        summary="Ask an account to join",
        request=shapes.NewInvitation,
        responses=answers({201: shapes.InvitationItem}, 403, 404, 409, 413, 415),
    )
    def post(self, request: Request, organization: str) -> Response:
        """For owners. It gives nothing before it is accepted; asking again changes the role."""
        found = _owned(request, organization)
        given = bodies.read(request, shapes.NewInvitation)
        row = organizations.invite(actor=request.user, organization=found, username=given["user"], role=given["role"])
        return Response(shapes.InvitationItem(row).data, status=201)


class Invitation(Door):
    """One invitation."""

    @extend_schema(operation_id="withdraw_invitation", summary="Take an invitation back", responses=answers({204: None}, 403, 404))
    def delete(self, request: Request, organization: str, user: str) -> Response:
        """For owners."""
        organizations.withdraw(actor=request.user, organization=_owned(request, organization), username=user)
        return Response(status=204)


class Log(Door):
    """The audit log of an organisation."""

    @extend_schema(
        operation_id="organization_log",
        summary="Read an organisation's log",
        parameters=[LIMIT, CURSOR],
        responses=answers({200: shapes.LOG}, 403, 404),
    )
    def get(self, request: Request, organization: str) -> Response:
        """For owners: what was done to it and to its adapters, the newest first."""
        rows, following = paging.newest_first(request, audit.of_account(account=_owned(request, organization)))
        return Response({"items": shapes.LogItem(rows, many=True).data, "next": following})


def _owned(request: Request, name: str) -> User:
    """Return an organisation that the asker owns, before the body is read."""
    access.require_login(request.user)
    found = organizations.find(name=name)
    organizations.require_owner(request.user, found)
    return found


def _detail(request: Request, organization: User) -> dict[str, object]:
    role = access.role_at(request.user, organization)
    return dict(shapes.OrganizationDetail(organization, context={"role": role}).data)
