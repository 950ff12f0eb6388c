"""What waits for the asker: invitations, offers, deleted adapters; and the audit log. What is done to one adapter as a whole."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hub.api import bodies, paging
from hub.api import organization_serializers as shapes
from hub.api.base import Door
from hub.api.schema import CURSOR, LIMIT, answers
from hub.api.serializers import AdapterDetail, list_of
from hub.errors import HubError, not_found
from hub.models import Adapter, Transfer
from hub.services import access, accounts, adapters, audit, lifecycle, organizations


class Invitations(Door):
    """Invitations to the asker."""

    @extend_schema(operation_id="list_my_invitations", summary="List who asks you to join", responses=answers({200: shapes.INVITATIONS}))
    def get(self, request: Request) -> Response:
        """Those that wait for your answer."""
        return Response({"items": shapes.InvitationItem(organizations.invitations_to(actor=request.user), many=True).data})


class Invitation(Door):
    """One invitation to the asker."""

    @extend_schema(
        operation_id="answer_invitation", summary="Join an organisation, or do not", request=shapes.Answer, responses=answers({204: None}, 403, 404, 413, 415)
    )
    def post(self, request: Request, organization: str) -> Response:
        """The invitation is gone either way."""
        access.require_login(request.user)
        found = next((row.organization for row in organizations.invitations_to(actor=request.user) if row.organization.username == organization), None)
        if found is None:
            raise not_found("invitation")
        organizations.answer(actor=request.user, organization=found, **bodies.read(request, shapes.Answer))
        return Response(status=204)


class Offers(Door):
    """Adapters that are offered to the asker and to organisations they own."""

    @extend_schema(operation_id="list_offers", summary="List the adapters offered to you", responses=answers({200: list_of(shapes.OfferItem)}))
    def get(self, request: Request) -> Response:
        """Those that wait for your answer."""
        return Response({"items": shapes.OfferItem(lifecycle.offers(actor=request.user), many=True).data})


class Offer(Door):
    """One offer."""

    @extend_schema(
        operation_id="answer_offer", summary="Accept an adapter, or do not", request=shapes.Answer, responses=answers({204: None}, 403, 404, 409, 413, 415)
    )
    def post(self, request: Request, account: str, name: str) -> Response:
        """The offer is gone either way. An adapter that was accepted is found under its new id and its old one."""
        access.require_login(request.user)
        offer = next((row for row in lifecycle.offers(actor=request.user) if row.adapter.repo_id == f"{account}/{name}"), None)
        if offer is None:
            raise not_found("offer")
        if bodies.read(request, shapes.Answer)["accept"]:
            lifecycle.accept(actor=request.user, offer=offer)
        else:
            lifecycle.decline(actor=request.user, offer=offer)
        return Response(status=204)


class DeletedListing(Door):
    """Deleted adapters that the asker may restore."""

    @extend_schema(operation_id="list_deleted", summary="List your deleted adapters", responses=answers({200: list_of(shapes.DeletedItem)}))
    def get(self, request: Request) -> Response:
        """Yours and your organisations', as long as they can be restored."""
        return Response({"items": shapes.DeletedItem(lifecycle.deleted(actor=request.user), many=True).data})


class Deleted(Door):
    """One deleted adapter."""

    @extend_schema(operation_id="restore_adapter", summary="Restore a deleted adapter", request=None, responses=answers({200: AdapterDetail}, 403, 404))
    def post(self, request: Request, account: str, name: str) -> Response:
        """It comes back as it was."""
        access.require_login(request.user)
        back = lifecycle.restore(actor=request.user, adapter=lifecycle.find_deleted(actor=request.user, repo_id=f"{account}/{name}"))
        return Response(_shown(request, back))

    @extend_schema(operation_id="purge_adapter", summary="Remove a deleted adapter for good", responses=answers({204: None}, 403, 404))
    def delete(self, request: Request, account: str, name: str) -> Response:
        """Its name is free again."""
        access.require_login(request.user)
        lifecycle.purge(actor=request.user, adapter=lifecycle.find_deleted(actor=request.user, repo_id=f"{account}/{name}"))
        return Response(status=204)


class MyLog(Door):
    """The asker's own log."""

    @extend_schema(operation_id="my_log", summary="Read your log", parameters=[LIMIT, CURSOR], responses=answers({200: shapes.LOG}))
    def get(self, request: Request) -> Response:
        """What was done to your account and adapters, and by you; the newest first."""
        rows, following = paging.newest_first(request, audit.of_account(account=access.require_login(request.user)))
        return Response({"items": shapes.LogItem(rows, many=True).data, "next": following})


class AdapterLog(Door):
    """The log of an adapter."""

    @extend_schema(operation_id="adapter_log", summary="Read an adapter's log", parameters=[LIMIT, CURSOR], responses=answers({200: shapes.LOG}, 403, 404))
    def get(self, request: Request, owner: str, name: str) -> Response:
        """For its owners: what was done to it, under all its names; the newest first."""
        rows, following = paging.newest_first(request, audit.of_adapter(adapter=_managed(request, owner, name)))
        return Response({"items": shapes.LogItem(rows, many=True).data, "next": following})


class Handing(Door):
    """An adapter on its way to another owner."""

    @extend_schema(
        operation_id="transfer_adapter",
        summary="Hand an adapter to another account or organisation",
        request=shapes.Receiver,
        responses=answers({200: AdapterDetail, 202: shapes.OfferItem}, 403, 404, 409, 413, 415),
    )
    def post(self, request: Request, owner: str, name: str) -> Response:
        """At once (200) where you may make adapters there; else it is an offer (202) that they have to accept."""
        adapter = _managed(request, owner, name)
        given = bodies.read(request, shapes.Receiver)["to"]
        to = accounts.find_owner(given)
        if to is None:
            raise HubError("user-not-found", f"There is no account or organisation {given[:40]!r}.", status=404, fields={"to": "There is none of this name."})
        done = lifecycle.transfer(actor=request.user, adapter=adapter, to=to)
        if isinstance(done, Transfer):
            return Response(shapes.OfferItem(done).data, status=202)
        return Response(_shown(request, done))


def _managed(request: Request, owner: str, name: str) -> Adapter:
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    access.require_manage(request.user, adapter)
    return adapter


def _shown(request: Request, adapter: Adapter) -> dict[str, object]:
    return dict(AdapterDetail(adapter, context={"request": request, "revision": adapter.head}).data)
