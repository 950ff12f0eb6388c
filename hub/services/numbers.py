"""Numbers of the whole public catalogue; while it is large they are kept for a while (`services.kept`), and the clock counts them ahead."""

from collections.abc import Mapping
from functools import partial

from django.db.models import Count, Q, Sum, Value
from django.db.models.functions import Coalesce

from hub.models import Adapter, Blob, Facet
from hub.models.adapters import AdapterQuerySet
from hub.services import kept, tallies

COUNTED = ("tag", "base_model")  # facets whose values are counted, all of them


def everyones() -> AdapterQuerySet:
    """Return the adapters that everybody sees in lists."""
    found: AdapterQuerySet = Adapter.objects.adapters().filter(private=False, taken_down=False).published()
    return found


def totals(*, ahead: bool = False) -> dict[str, int]:
    """Count what everyone may see: adapters, the composed ones among them, and their bytes."""
    return kept.number("catalogue", _totals, lambda found: found["adapters"], ahead=ahead)


def of(facet: str, *, ahead: bool = False) -> Mapping[str, int]:
    """Count the adapters that everyone may see by the values of a facet."""
    return kept.number(f"facet-{facet}", partial(_by_value, facet), lambda found: sum(found.values()), ahead=ahead)


def store(*, ahead: bool = False) -> dict[str, int]:
    """Count the blobs and their bytes, all adapters, and what the heads of each kind of repository hold."""
    return kept.number("store", _store, lambda found: found["blobs"], ahead=ahead)


def count_ahead() -> None:
    """Count anew what will be too old soon; for the clock."""
    totals(ahead=True)
    store(ahead=True)
    tallies.everything(ahead=True)
    for facet in COUNTED:
        of(facet, ahead=True)


def _totals() -> dict[str, int]:
    return everyones().aggregate(adapters=Count("pk"), composed=Count("pk", filter=Q(composed=True)), size=Coalesce(Sum("size"), Value(0)))


def _by_value(facet: str) -> dict[str, int]:
    rows = Facet.objects.filter(name=facet, adapter__in=everyones()).order_by()
    return dict(rows.values_list("value").annotate(n=Count("pk")))


def _store() -> dict[str, int]:
    size = Coalesce(Sum("size"), Value(0))
    found = Blob.objects.aggregate(blobs=Count("pk"), bytes=size, condemned=Coalesce(Sum("size", filter=Q(condemned_at__isnull=False)), Value(0)))
    heads = dict(Adapter.objects.order_by().values_list("kind").annotate(size=size))
    deleted = Adapter.with_deleted.exclude(deleted_at=None).aggregate(size=size)["size"]
    by_kind = {f"{kind} heads": heads.get(kind, 0) for kind in Adapter.Kind.values}
    return found | by_kind | {"deleted heads": deleted, "adapters": Adapter.objects.adapters().count()}
