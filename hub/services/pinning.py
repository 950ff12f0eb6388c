"""Which adapters may take part in a composition, each at one revision, and what may be made of them for whom."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from compose_worker.engine import catalogue
from compose_worker.engine.errors import ComposeError
from hub.errors import HubError
from hub.models import Adapter, BaseModel, Composition, Revision, User
from hub.services import access, adapters, queue, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

AUTO = "auto"


def pin(
    user: User, account: User, base_model: str, modules: Sequence[str] | str, method: str, *, private: bool, anywhere: bool
) -> list[tuple[Adapter, Revision]]:
    if not base_model or not isinstance(base_model, str):
        raise HubError("base-model-missing", "Name the base model, such as HuggingFaceTB/SmolLM2-135M-Instruct.", fields={"base_model": "Required."})
    known = base_model == texts.storable(base_model) and Adapter.objects.adapters().visible_to(user).filter(base_model=base_model).exists()
    if not known:
        text = f"No adapter here was trained on {base_model[:200]!r}. See GET /api/v1/base-models for those that are."
        raise HubError("base-model-unknown", text, fields={"base_model": text})
    if (hosted := BaseModel.objects.filter(name=base_model, repository__isnull=False).select_related("repository__owner").first()) and hosted.repository:
        access.require_file(user, hosted.repository)
    if isinstance(modules, str):
        if modules != AUTO:
            raise HubError("modules-invalid", 'Modules are a list of adapter ids, or "auto".', fields={"modules": "A list, or auto."})
        if not catalogue.method(method).needs_examples:
            text = f"The method {method!r} takes the adapters that you name: it measures nothing by which to find them."
            raise HubError("modules-invalid", text, fields={"modules": text})
        return suggest(actor=user, base_model=base_model, private=private, owner=account, anywhere=anywhere)
    if not isinstance(modules, Sequence):
        raise HubError("modules-invalid", 'Modules are a list of adapter ids, or "auto".', fields={"modules": "A list, or auto."})
    if not modules:
        raise HubError("modules-missing", 'Choose at least one adapter, or "auto".', fields={"modules": "Choose at least one."})
    if len(modules) > catalogue.MAX_MODULES:
        text = f"A composition takes at most {catalogue.MAX_MODULES} adapters; there are {len(modules)}."
        raise HubError("too-many-modules", text, fields={"modules": text})
    pinned = [_pin_one(user, base_model, str(ref)) for ref in modules]
    seen: set[int] = set()
    for adapter, _ in pinned:
        if adapter.pk in seen:
            text = f"{adapter.repo_id} is listed twice. List each adapter once."
            raise HubError("module-duplicate", text, fields={"modules": text})
        seen.add(adapter.pk)
    _refuse_to_show(user, account, [adapter for adapter, _ in pinned], private=private)
    if anywhere and (closed := next((a for a, _ in pinned if a.private or a.gated), None)):
        what = "private" if closed.private else "gated"
        text = f"{closed.repo_id} is {what}, so lent machines do not get it. Leave it out, or keep the job on the hub's own machines."
        raise HubError("anywhere-closed", text, fields={"modules": text})
    return pinned


def suggest(*, actor: "Actor", base_model: str, private: bool = False, owner: User | None = None, anywhere: bool = False) -> list[tuple[Adapter, Revision]]:
    """Return the modules that "auto" tries: every composable adapter for the base, the most downloaded first, as far as the limit goes."""
    found = Adapter.objects.readable_by(actor).filter(fit_to_show(actor, owner or actor, private=private), archived_at__isnull=True)
    if anywhere:
        found = found.filter(queue.fits_anywhere())
    rows = found.filter(base_model=base_model, composable=True, head__isnull=False).select_related("owner", "head").order_by("-downloads", "pk")
    best = list(rows.filter(composed=False)[: catalogue.MAX_AUTO_MODULES])
    best += rows.filter(composed=True)[: catalogue.MAX_AUTO_MODULES - len(best)]  # an index has either in this order, but not one after the other
    pinned = [(a, a.head) for a in best if a.head is not None]
    if not pinned:
        text = f"No adapter for {base_model} can be composed yet. Upload one first."
        raise HubError("modules-missing", text, fields={"modules": text})
    return pinned


def fit_to_show(user: "Actor", account: "Actor", *, private: bool, path: str = "") -> Q:
    """Match adapters of which the user may make a result that others see: everyone, or in a private one the members of the organisation `account`."""
    if private and account == user:
        return Q(**{f"{path}pk__isnull": False})
    is_open = Q(**{f"{path}private": False, f"{path}taken_down": False}) & (Q(**{f"{path}gated": ""}) | Q(**{f"{path}owner__in": [user.pk, account.pk]}))
    return is_open | Q(**{f"{path}owner": account.pk}) if private else is_open


def again(*, actor: "Actor", job: Composition) -> tuple[list[str], list[str]]:
    """Return how to name the job's modules for another job, at the same revisions, and the ids of those that can no longer be had."""
    readable = set(Adapter.objects.readable_by(actor).filter(revisions__in=job.ingredients.values("revision")).values_list("pk", flat=True))
    refs, gone = [], []
    for row in job.ingredients.select_related("revision__adapter__owner"):
        if row.revision is None or row.revision.adapter_id not in readable:
            gone.append(row.repo_id)
        else:
            adapter = row.revision.adapter
            refs.append(adapter.repo_id if adapter.head_id == row.revision_id else f"{adapter.repo_id}@{row.sha}")
    return refs, gone


def check_weights(user: User, values: dict[str, Any], pinned: Sequence[tuple[Adapter, Revision]]) -> None:
    """Refuse weights for adapters that do not take part; those that do may be spelled as modules may be, and are kept by their ids."""
    ids = {adapter.pk: adapter.repo_id for adapter, _ in pinned}
    named: dict[str, float] = {}
    for given, weight in values.get("weights", {}).items():
        name = given if given in ids.values() else _id_of(user, given, ids)
        if name in named:
            text = f"There are two weights for {name}. Remove one of them."
            raise HubError("setting-invalid", text, fields={"settings": text})
        named[name] = weight
    try:
        catalogue.check_weights({"weights": named}, list(ids.values()))
    except ComposeError as error:
        raise HubError(error.code, error.message, fields={"settings": error.message}) from error
    if "weights" in values:
        values["weights"] = named


def _refuse_to_show(user: User, account: User, used: Sequence[Adapter], *, private: bool) -> None:
    """Refuse a result for everyone, or for the members of an organisation, where it is made of what is not for them."""
    open_ones = {a.pk for a in Adapter.objects.filter(pk__in=[a.pk for a in used]).filter(fit_to_show(user, account, private=private))}
    closed = next((a for a in used if a.pk not in open_ones), None)
    if closed is None:
        return
    instead = "Make the result private" if account == user else "Publish it under your own name, private"
    what, code = ("private, and the recipe of the result names it", "private") if closed.private else ("gated, and the result holds its weights", "gated")
    text = f"{closed.repo_id} is {what}. {instead}, or leave this adapter out."
    raise HubError(f"module-{code}", text, fields={"modules": text})


def _pin_one(user: User, base_model: str, ref: str) -> tuple[Adapter, Revision]:
    repo_id, _, sha = ref.partition("@")
    try:
        adapter = adapters.find(actor=user, repo_id=repo_id)
        access.require_file(user, adapter)
        revision = adapters.find_revision(adapter=adapter, ref=sha or "main")
    except HubError as error:
        text = f"The module {ref[:200]!r} cannot be used: {error.message}"
        code = "module-gated" if error.code == "gated" else "module-not-found"
        raise HubError(code, text, fields={"modules": text}) from error
    facts = revision.facts_or_empty
    if adapter.is_base_model:
        text = f"{adapter.repo_id} is a base model. Name adapters that were trained on it."
        raise HubError("module-other-base", text, fields={"modules": text})
    if facts.get("base_model") != base_model:
        trained = facts.get("base_model") or "an unnamed base model"
        text = f"{adapter.repo_id} was trained on {trained}, not on {base_model}. Adapters only mix on the base they were made for."
        raise HubError("module-other-base", text, fields={"modules": text})
    if not facts.get("composable"):
        text = f"{adapter.repo_id} cannot be composed: {facts.get('refusal') or 'it holds no weights.'}"
        raise HubError("module-unsupported", text, fields={"modules": text})
    return adapter, revision


def _id_of(user: User, given: str, ids: Mapping[int, str]) -> str:
    try:
        return ids.get(adapters.find(actor=user, repo_id=given.partition("@")[0]).pk, given)
    except HubError:
        return given
