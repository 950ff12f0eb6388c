"""What a listing of adapters is narrowed by, and the rows that are left."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Exists, OuterRef, Q

from hub.errors import HubError
from hub.models import Adapter, Facet, Membership, Parent, User
from hub.models.adapters import belongs_to
from hub.services import accounts, fulltext, index, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

FACETS = ("made", "base_model", "task", "tag", "licence", "language", "peft_type", "rank")  # what lists are narrowed by and show counts of
EVERY = frozenset(["tag"])  # an adapter has several: all that were chosen must be there; of the other facets, any
MAX_CHOICES = 20
PARENT = "base_model:merge:"  # as Hugging Face labels a model made from others


@dataclass(frozen=True)
class Wanted:
    """What a listing is narrowed by. `facets` holds values by the names in FACETS, `labelled` words as Hugging Face clients filter by."""

    q: str = ""
    owner: str = ""
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    composable: bool | None = None
    labelled: Sequence[str] = ()
    with_base_models: bool = False
    gated: bool | None = None
    archived: bool | None = None
    readable: bool = False  # only those whose files the asker may have

    @property
    def everything(self) -> bool:
        """Whether nothing is narrowed."""
        return (
            not (self.q or self.owner or self.labelled or any(self.facets.values()))
            and self.composable is self.gated is self.archived is None
            and not self.readable
        )

    @property
    def by_words_and_facets(self) -> bool:
        """Whether nothing but words and facets narrows."""
        return not self.with_base_models and replace(self, q="", facets={}).everything

    @property
    def is_same_for_all(self) -> bool:
        """Whether what fits is the same public adapters for everybody; labels and gates are answered by who asks."""
        return not (self.labelled or self.readable)


def wanted(
    *,
    q: str = "",
    owner: str = "",
    composable: bool | None = None,
    gated: bool | None = None,
    archived: bool | None = None,
    readable: bool = False,
    labelled: Iterable[str] = (),
    with_base_models: bool = False,
    facets: Mapping[str, Sequence[str]] | None = None,
    **one: str,
) -> Wanted:
    """Gather what a listing is narrowed by; a facet may be given by its name with one value, or in `facets` with several."""
    chosen = {name: [value for value in dict.fromkeys(values) if value] for name, values in (facets or {}).items()}
    for name, value in one.items():
        if value:
            chosen[name] = [*chosen.get(name, []), value]
    if unknown := sorted(chosen.keys() - set(FACETS)):
        raise HubError("filter-invalid", f"There is no filter {unknown[0][:40]!r}. Filter by: {', '.join(FACETS)}.")
    if sum(map(len, chosen.values())) > MAX_CHOICES:
        raise HubError("too-many-filters", f"A list takes at most {MAX_CHOICES} filters at once.")
    chosen["tag"] = [value.lower() for value in chosen.get("tag", ())]
    return Wanted(q.strip(), owner and accounts.name_now(owner), chosen, composable, tuple(labelled), with_base_models, gated, archived, readable)


def narrowed(actor: "Actor", what: Wanted) -> Any:
    """Return the adapters that the actor may see and that fit."""
    seen = Adapter.objects.readable_by(actor) if what.readable else Adapter.objects.visible_to(actor)
    rows = seen.filter(Q(head__isnull=False) | belongs_to(actor))
    if not what.with_base_models:
        rows = rows.adapters()
    if what.q:
        rows = rows.filter(fulltext.matching(what.q))
    if what.owner:
        rows = rows.filter(owner__in=accounts.named(what.owner))
    if what.composable is not None:
        rows = rows.filter(composable=what.composable)
    if what.gated is not None:
        rows = rows.exclude(gated="") if what.gated else rows.filter(gated="")
    if what.archived is not None:
        rows = rows.filter(archived_at__isnull=not what.archived)
    for name, values in what.facets.items():
        chosen = [texts.storable(value, 250) for value in values]
        for group in [[value] for value in chosen] if name in EVERY else [chosen] if chosen else []:
            rows = rows.filter(Exists(Facet.objects.filter(adapter=OuterRef("pk"), name=name, value__in=group)))
    for label in what.labelled:
        rows = rows.filter(_labelled(actor, texts.storable(label, 250)))
    return rows


def everyones(what: Wanted) -> Any:
    """Return the adapters that everybody may see and that fit."""
    return narrowed(AnonymousUser(), what)


def own(actor: "Actor", what: Wanted) -> Any:
    """Return the adapters that fit and that the actor sees but not everybody: private and empty ones of theirs and of their organisations."""
    organizations = Membership.objects.filter(user=actor.pk).order_by().values("organization")
    # One list of accounts, and no "or": so the database goes by the index of owners.
    accounts_of_theirs = organizations.union(User.objects.filter(pk=actor.pk or 0).order_by().values("pk"), all=True)
    return narrowed(actor, what).filter(Q(private=True) | Q(head=None), owner__in=accounts_of_theirs)


def _labelled(actor: "Actor", label: str) -> Q:
    """Match one label: computed from the files, given by the owner, or the name of a parent of a composed adapter."""
    here = Q(Exists(Facet.objects.filter(adapter=OuterRef("pk"), name=index.LABEL, value=" ".join(label.lower().split()))))
    if label.startswith(PARENT):
        parents = Parent.objects.filter(repo_id=label.removeprefix(PARENT)).filter(
            Q(adapter=None, closed=False) | Q(adapter__in=Adapter.objects.visible_to(actor))
        )
        here |= Q(head__in=parents.values("revision"))
    return here
