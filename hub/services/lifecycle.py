"""What happens to adapters as a whole: rename, hand over, archive, delete, restore, and remove what was deleted long enough ago."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from hub.errors import HubError, not_found
from hub.models import AccessRequest, Adapter, Composition, Facet, FormerName, Ingredient, Membership, Notification, Parent, Role, SearchText, Transfer, User
from hub.services import access, audit, gates, hosted, index, names, notifications, quotas

if TYPE_CHECKING:
    from hub.models.adapters import Actor


def rename(*, actor: "Actor", adapter: Adapter, name: str) -> Adapter:
    """Give an adapter another name; the old one leads to it until somebody uses it again."""
    return move(actor=actor, adapter=adapter, name=name)


def move(*, actor: "Actor", adapter: Adapter, name: str, to: User | None = None) -> Adapter:
    """Give an adapter another name, and hand it to an account or organisation under which the actor makes adapters."""
    user, receiver = access.require_manage(actor, adapter), to or adapter.owner
    if (receiver.pk, name) == (adapter.owner_id, adapter.name):
        return adapter
    if receiver.pk != adapter.owner_id:
        access.require_create(user, receiver)
        _check_receiver(adapter, receiver)
    names.check(receiver, name, but=adapter)
    return _move(user, adapter, receiver, name)


def transfer(*, actor: "Actor", adapter: Adapter, to: User) -> Adapter | Transfer:
    """Hand an adapter to another account or organisation: at once where the actor may create there, else as an offer that it has to accept."""
    user = access.require_manage(actor, adapter)
    _check_receiver(adapter, to)
    if access.may_create(user, to):
        return move(actor=user, adapter=adapter, name=adapter.name, to=to)
    with transaction.atomic():
        offer, is_new = Transfer.objects.update_or_create(adapter=adapter, defaults={"to": to, "by": user})
        audit.record(user, "adapter.offer", adapter, to=to.username)
        for person in notifications.readers(to, [Role.OWNER]) if is_new else []:  # which one it is stands where it can be taken, and may be private
            text = f"{user.username} offers {'you' if person.pk == to.pk else to.username} an adapter."
            notifications.notify(user=person, kind=Notification.Kind.INVITATION, actor=user, data={"text": text, "path": "/settings/deleted"})
    return offer


def offers(*, actor: "Actor") -> QuerySet[Transfer]:
    """List the adapters that the actor may accept, for themselves or for organisations that they own."""
    owned = Membership.objects.filter(user=access.require_login(actor), role=Role.OWNER).values("organization")
    rows = Transfer.objects.select_related("adapter__owner", "to", "by").filter(adapter__deleted_at__isnull=True, adapter__taken_down=False)
    return rows.filter(Q(to=actor.pk) | Q(to__in=owned))


def accept(*, actor: "Actor", offer: Transfer) -> Adapter:
    """Take an adapter that is offered. An offer of somebody who may no longer make it is void."""
    user = _receiver(actor, offer)
    adapter = offer.adapter
    if not offer.by.is_active or not access.may_manage(offer.by, adapter):
        offer.delete()
        raise HubError("offer-void", f"{offer.by.username} may no longer hand over {adapter.repo_id}.", status=409)
    _check_receiver(adapter, offer.to)
    try:
        names.check(offer.to, adapter.name)
    except HubError as error:
        here = f"{offer.to.username}/{adapter.name}"
        text = f"{here} is there already, or waits among the deleted ones. Rename that one or remove it for good, then accept."
        if names.is_claimed(offer.to, adapter.name):
            text = f"A composition that waits or runs will become {here}. Rename its result when it is there, then accept."
        raise HubError("name-taken", text, status=409) from error
    return _move(user, adapter, offer.to, adapter.name)


@transaction.atomic
def decline(*, actor: "Actor", offer: Transfer) -> None:
    """Turn an offer down, or take one's own back."""
    user = access.require_login(actor)
    if not access.may_manage(user, offer.adapter):
        _receiver(actor, offer)
    audit.record(user, "adapter.decline", offer.adapter, to=offer.to.username)
    offer.delete()


def set_archived(*, actor: "Actor", adapter: Adapter, archived: bool) -> Adapter:
    """Keep an adapter as it is: it is seen and downloaded as before, takes no commits, and is not suggested. Or take it out of the archive."""
    user = access.require_manage(actor, adapter)
    with transaction.atomic():
        rows = Adapter.objects.filter(pk=adapter.pk, archived_at__isnull=archived)
        if rows.update(archived_at=timezone.now() if archived else None):
            audit.record(user, "adapter.archive" if archived else "adapter.unarchive", adapter)
    adapter.refresh_from_db(fields=["archived_at"])
    return adapter


@transaction.atomic
def delete(*, actor: "Actor", adapter: Adapter) -> None:
    """Take an adapter out of everyone's sight, its owner's too, and keep it and its name for DELETED_DAYS; a base model goes at once.

    What was composed from it keeps its name and sha as lineage.
    """
    user = access.require_manage(actor, adapter)
    audit.record(user, f"{adapter.kind}.delete", adapter, head=adapter.head.sha if adapter.head else None)
    hosted.forget(adapter)
    _close(adapter)
    if adapter.is_base_model or settings.DELETED_DAYS <= 0:
        _remove(adapter)
        return
    results = Composition.objects.filter(result__adapter=adapter)
    detached = [list(pair) for pair in results.values_list("pk", "result_id")]
    if Adapter.objects.filter(pk=adapter.pk).update(deleted_at=timezone.now(), detached=detached) == 0:
        raise not_found()
    results.update(result=None)
    Parent.objects.filter(adapter=adapter).update(adapter=None)
    Ingredient.objects.filter(revision__adapter=adapter).update(revision=None)
    Transfer.objects.filter(adapter=adapter).delete()
    SearchText.objects.filter(adapter=adapter).delete()
    Facet.objects.filter(adapter=adapter).delete()


def deleted(*, actor: "Actor") -> QuerySet[Adapter]:
    """List the deleted adapters that the actor may restore, the last first; `until` is when each goes for good.

    What was taken down is the moderators' matter: it is neither restored nor removed, so that its name stays taken.
    """
    user = access.require_login(actor)
    owned = Membership.objects.filter(user=user, role=Role.OWNER).values("organization")
    rows = Adapter.with_deleted.filter(Q(owner=user) | Q(owner__in=owned), deleted_at__isnull=False, taken_down=False)
    return rows.annotate(until=F("deleted_at") + timedelta(days=settings.DELETED_DAYS)).select_related("owner", "head").order_by("-deleted_at")


def find_deleted(*, actor: "Actor", repo_id: str) -> Adapter:
    """Return a deleted adapter that the actor may restore, or "not found"."""
    owner, _, name = repo_id.partition("/")
    found = deleted(actor=actor).filter(owner__username=owner.lower(), name__iexact=name).first()
    if found is None:
        raise not_found("deleted adapter")
    return found


@transaction.atomic
def restore(*, actor: "Actor", adapter: Adapter) -> Adapter:
    """Bring a deleted adapter back as it was, lineage and results of compositions included."""
    user = access.require_manage(actor, adapter)
    detached = adapter.detached
    if Adapter.with_deleted.filter(pk=adapter.pk, deleted_at__isnull=False, taken_down=False).update(deleted_at=None, detached=[]) == 0:
        raise not_found("deleted adapter")
    back = Adapter.objects.select_related("owner", "head").get(pk=adapter.pk)
    for composition, revision in detached:
        Composition.objects.filter(pk=composition, result=None).update(result=revision)
    revisions = dict(back.revisions.values_list("sha", "pk"))
    Parent.objects.filter(adapter=None, sha__in=revisions).update(adapter=back, closed=False)
    for sha, revision in revisions.items():
        Ingredient.objects.filter(revision=None, sha=sha).update(revision=revision, closed=False)
    index.refresh(back)
    audit.record(user, "adapter.restore", back)
    return back


@transaction.atomic
def purge(*, actor: "Actor", adapter: Adapter) -> None:
    """Remove a deleted adapter for good before its time; its name is free again."""
    user = access.require_manage(actor, adapter)
    quotas.locked(adapter.owner)
    if not Adapter.with_deleted.select_for_update(of=("self",)).filter(pk=adapter.pk, deleted_at__isnull=False, taken_down=False).exists():
        raise not_found("deleted adapter")
    audit.record(user, "adapter.purge", adapter)
    _remove(adapter)


def purge_old() -> int:
    """Remove for good what was deleted DELETED_DAYS ago, and return how many adapters that were."""
    limit = timezone.now() - timedelta(days=settings.DELETED_DAYS)
    removed = 0
    due = Adapter.with_deleted.filter(deleted_at__lt=limit, taken_down=False)
    for pk, owner in list(due.values_list("pk", "owner")):
        with transaction.atomic():
            quotas.locked(User.objects.get(pk=owner))
            adapter = due.select_for_update(of=("self",)).select_related("owner").filter(pk=pk).first()
            if adapter is not None:
                audit.record(None, "adapter.purge", adapter)
                _remove(adapter)
                removed += 1
    return removed


def _close(adapter: Adapter) -> None:
    """Remember of an adapter that is not for everyone what others made of it: that stays private when nobody can ask the adapter any more."""
    if not (adapter.private or adapter.gated or adapter.taken_down):
        return
    owner = adapter.owner_id
    Parent.objects.filter(adapter=adapter).exclude(revision__adapter__owner=owner).update(closed=True)
    own = Q(composition__organization=owner) | Q(composition__organization=None, composition__owner=owner)
    Ingredient.objects.filter(revision__adapter=adapter).exclude(own).update(closed=True)


def _remove(adapter: Adapter) -> None:
    quotas.locked(adapter.owner)
    held = quotas.held_by(adapter)
    adapter.delete()
    quotas.release(adapter.owner, held)


def _receiver(actor: "Actor", offer: Transfer) -> User:
    user = access.require_login(actor)
    if access.role_at(user, offer.to) != Role.OWNER:
        raise not_found("offer")
    return user


def _check_receiver(adapter: Adapter, to: User) -> None:
    if to.pk == adapter.owner_id:
        raise HubError("transfer-same", f"{adapter.repo_id} belongs to {to.username} already.", fields={"to": "It belongs there already."})
    if adapter.is_base_model or adapter.owner.is_namespace:
        raise HubError("transfer-base-model", f"{adapter.repo_id} is a base model: adapters carry its name, so it keeps it.", status=409)
    if adapter.private:
        gates.refuse_to_reveal(adapter, to=to)


def _move(user: User, adapter: Adapter, owner: User, name: str) -> Adapter:
    """Put an adapter under another name, another owner or both; its old id leads to it."""
    before, old_owner, old_name = adapter.repo_id, adapter.owner, adapter.name
    try:
        with transaction.atomic():
            if owner.pk != old_owner.pk:
                for account in sorted((owner, old_owner), key=lambda account: account.pk):  # in one order everywhere
                    quotas.locked(account)
            names.refuse_claimed(owner, name)
            FormerName.objects.filter(owner=owner, name__iexact=name).delete()
            if Adapter.objects.filter(pk=adapter.pk, owner=old_owner, name=old_name, taken_down=False).update(owner=owner, name=name) == 0:
                raise not_found()
            if (owner.pk, name.lower()) != (old_owner.pk, old_name.lower()):
                FormerName.objects.create(owner=old_owner, name=old_name, adapter=adapter)
            moved = Adapter.objects.select_related("owner", "head").get(pk=adapter.pk)
            AccessRequest.objects.filter(adapter=moved, user=owner).delete()
            index.refresh(moved)
            if owner.pk != old_owner.pk:
                Transfer.objects.filter(adapter=moved).delete()
                held = quotas.held_by(moved)
                quotas.charge(owner, held)
                quotas.release(old_owner, held)
                audit.record(user, "adapter.hand-over", adapter, to=moved.repo_id)  # in the log of whoever had it
            audit.record(user, "adapter.rename" if owner.pk == old_owner.pk else "adapter.transfer", moved, before=before)
    except IntegrityError as error:
        raise names.taken(owner, name) from error
    adapter.name, adapter.owner = name, moved.owner
    if adapter.is_base_model:
        hosted.announce(adapter)
    return adapter
