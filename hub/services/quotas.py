"""How much each account stores, and how much it may.

An account is charged for every blob that some revision of its adapters holds, once, whoever else holds it too; deleted adapters count until they are removed.
What a person sent ahead of a commit is bounded by itself (`check_pending`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, Sum

from hub import storage
from hub.errors import HubError
from hub.models import Adapter, Blob, DirectUpload, Holding, RevisionFile, Upload, Usage, User
from hub.services import access, texts

MAX_PENDING = 16  # times the largest file: what one person may have sent that no commit names yet
BATCH = 1000


@dataclass(frozen=True)
class Account:
    """What an account stores and may store; None is no limit."""

    used: int
    limit: int | None

    @property
    def left(self) -> int | None:
        """How many bytes more it may store."""
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def percent(self) -> int:
        """How full it is; 0 without a limit."""
        return min(100, round(100 * self.used / self.limit)) if self.limit else 0


class Room:
    """What still fits into an account while the files of one commit come in; what it holds already costs nothing."""

    def __init__(self, account: User | None) -> None:
        self._account = account
        self._left = of(account).left if account else None
        self._taken: dict[str, int] = {}

    def take(self, stored: storage.Stored) -> None:
        """Count one file, or refuse it before it is kept."""
        if self._account is None or self._left is None or Holding.objects.filter(account=self._account, blob=stored.sha256).exists():
            return
        self._taken[stored.sha256] = stored.size
        if sum(self._taken.values()) > self._left:
            raise exceeded(self._account, sum(self._taken.values()))


def of(account: User) -> Account:
    """Return what an account stores and may store."""
    row = Usage.objects.filter(account=account).first()
    return Account(row.bytes if row else 0, _limit(account, row))


def pending(user: User) -> int:
    """Return the bytes that a person has sent, or is sending to the bucket, and that no revision of anybody holds."""
    held = Exists(Holding.objects.filter(blob=OuterRef("blob")))
    sent = Upload.objects.filter(~held, user=user).aggregate(size=Sum("blob__size"))["size"] or 0
    under_way = DirectUpload.objects.filter(user=user).aggregate(size=Sum("size"))["size"] or 0
    return int(sent + under_way)


def check_pending(user: User, size: int) -> None:
    """Refuse more bytes ahead of a commit than anybody could commit: staging is no place to keep files."""
    waiting, allowed = pending(user), MAX_PENDING * access.largest_file(user)
    accounts = access.publishers(user=user)
    rows = {row.account_id: row for row in Usage.objects.filter(account__in=accounts)}
    limits = [limit for account in accounts if (limit := _limit(account, rows.get(account.pk))) is not None]
    if len(limits) == len(accounts):
        allowed = min(allowed, max(limits))
    if waiting + size > allowed:
        text = f"You have sent {texts.size(waiting)} that no commit names yet, and {texts.size(allowed)} may wait. Commit them, or try again in a day."
        raise HubError("too-much-pending", text, status=413)


def check_announced(account: User | None, sizes: Iterable[int]) -> None:
    """Refuse an upload that cannot fit, before a byte is sent. A file of just the size of one that the account holds may be that one, and passes."""
    wanted = list(sizes)
    if account is None:
        return
    found = of(account)
    if found.left is None or sum(wanted) <= found.left:
        return
    held = set(Holding.objects.filter(account=account, blob__size__in=set(wanted)).values_list("blob__size", flat=True))
    if (new := sum(size for size in wanted if size not in held)) > found.left:
        raise exceeded(account, new)


def check_objects(account: User | None, objects: Iterable[storage.Stored]) -> None:
    """Refuse objects that are known by their hashes and cannot fit, before a byte is sent."""
    room = Room(account)
    for one in objects:
        room.take(one)


def require_room(account: User) -> None:
    """Refuse to begin something whose result could not be kept."""
    found = of(account)
    if found.left == 0:
        raise exceeded(account, 0)


def locked(account: User) -> Usage:
    """Return the row of an account, which nobody else changes before this transaction ends. Verbs that change what an account holds take it first."""
    row, _ = Usage.objects.select_for_update(of=("self",)).get_or_create(account=account)
    return row


def charge(account: User, stored: Iterable[storage.Stored]) -> None:
    """Count what a new revision holds, or refuse it; in the transaction that writes it. Two that race for the last room wait for each other here."""
    row = locked(account)
    sizes = {one.sha256: one.size for one in stored}
    for sha256 in Holding.objects.filter(account=account, blob__in=sizes).values_list("blob_id", flat=True):
        del sizes[sha256]
    if not sizes:
        return
    new, limit = sum(sizes.values()), _limit(account, row)
    if limit is not None and row.bytes + new > limit:
        raise exceeded(account, new)
    Holding.objects.bulk_create([Holding(account=account, blob_id=sha256) for sha256 in sizes], BATCH)
    Usage.objects.filter(pk=row.pk).update(bytes=F("bytes") + new)


def held_by(adapter: Adapter) -> list[storage.Stored]:
    """Return what the revisions of an adapter hold, each blob once."""
    rows = Blob.objects.filter(pk__in=RevisionFile.objects.filter(revision__adapter=adapter).values("blob"))
    return [storage.Stored(row.sha256, row.size) for row in rows]


def release(account: User, stored: Iterable[storage.Stored]) -> None:
    """Stop counting what no revision of the account holds any more; in the transaction that took the adapter away, which has the account's row."""
    names = [one.sha256 for one in stored]
    still = RevisionFile.objects.filter(blob=OuterRef("blob"), revision__adapter__owner=account)
    gone = Holding.objects.filter(~Exists(still), account=account, blob__in=names)
    size = gone.aggregate(size=Sum("blob__size"))["size"] or 0
    gone.delete()
    Usage.objects.filter(account=account).update(bytes=F("bytes") - size)


def nearly_full() -> int:
    """Return how many accounts store more than nine tenths of what they may."""
    rows = Q(quota_mb__gt=0, bytes__gt=F("quota_mb") * 900_000)
    for organization, megabytes in ((False, settings.QUOTA_MB), (True, settings.QUOTA_ORGANIZATION_MB)):
        if megabytes:
            rows |= Q(quota_mb=None, bytes__gt=megabytes * 900_000, account__is_organization=organization, account__is_staff=False, account__is_namespace=False)
    return Usage.objects.filter(rows).count()


def differences() -> Iterator[tuple[User, int, int]]:
    """Yield the accounts whose count is not what follows from their revisions: what it says, and what it should say."""
    true: dict[int, int] = {}
    pairs = RevisionFile.objects.order_by().values_list("revision__adapter__owner", "blob", "blob__size").distinct()
    for owner, _, size in pairs.iterator(BATCH):
        true[owner] = true.get(owner, 0) + size
    said = dict(Usage.objects.values_list("account", "bytes"))
    held = dict(Holding.objects.order_by().values_list("account").annotate(size=Sum("blob__size")))
    wrong = sorted(pk for pk in {*true, *said, *held} if not true.get(pk, 0) == said.get(pk, 0) == held.get(pk, 0))
    for account in User.objects.filter(pk__in=wrong).order_by("pk"):
        yield account, said.get(account.pk, 0), true.get(account.pk, 0)


def mend() -> int:
    """Count anew the accounts whose count is wrong, and return how many they were: a process of an older version may have written revisions."""
    mended = 0
    for account, _, _ in list(differences()):
        mended += _recount(account)
    return mended


@transaction.atomic
def _recount(account: User) -> int:
    row = locked(account)
    mine = RevisionFile.objects.filter(revision__adapter__owner=account)
    Holding.objects.filter(account=account).exclude(blob__in=mine.values("blob")).delete()
    lacking = Blob.objects.filter(pk__in=mine.values("blob")).exclude(pk__in=Holding.objects.filter(account=account).values("blob"))
    Holding.objects.bulk_create([Holding(account=account, blob=blob) for blob in lacking], BATCH)
    row.bytes = Holding.objects.filter(account=account).aggregate(size=Sum("blob__size"))["size"] or 0
    row.save(update_fields=["bytes"])
    return 1


def exceeded(account: User, new: int) -> HubError:
    """Say that it does not fit, and what helps."""
    found = of(account)
    more = f" and {texts.size(new)} more would not fit" if new else " and is full"
    text = f"{account.username} stores {texts.size(found.used)} of the {texts.size(found.limit)} that it may{more}."
    return HubError("quota-exceeded", f"{text} Delete adapters for good, or ask for more room.", status=413)


def _limit(account: User, row: Usage | None) -> int | None:
    """Return the bytes that an account may store. Operators, and the names under which they host base models, have a limit only where one is set for them."""
    if row is not None and row.quota_mb is not None:
        megabytes = row.quota_mb
    elif account.is_staff or account.is_namespace:
        return None
    else:
        megabytes = settings.QUOTA_ORGANIZATION_MB if account.is_organization else settings.QUOTA_MB
    return megabytes * 1_000_000 or None
