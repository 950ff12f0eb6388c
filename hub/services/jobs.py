"""The verbs people have over compositions: submit, find, cancel. What the worker does with them is in `runs`."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from compose_worker.engine import catalogue
from compose_worker.engine.errors import ComposeError
from hub import celery
from hub.errors import HubError, not_found
from hub.models import Adapter, Composition, Ingredient, LogLine, Revision, User
from hub.services import access, audit, names, pinning, queue, quotas, texts

if TYPE_CHECKING:
    from hub.models.adapters import Actor

MAX_KEY = 200


def submit(
    *,
    actor: "Actor",
    base_model: str,
    modules: Sequence[str] | str,
    examples: Sequence[Mapping[str, Any]],
    name: str,
    method: str = catalogue.DEFAULT_METHOD,
    method_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    private: bool = False,
    description: str = "",
    idempotency_key: str = "",
    owner: User | None = None,
    anywhere: bool = False,
) -> Composition:
    """Queue a composition with every module pinned to a revision; its result goes under the actor's name, or under an organisation's (`owner`).

    One that may run `anywhere` may be given to machines that people lend to the hub, with its examples and public adapters.

    The same idempotency key with the same request returns the same job; with another request it raises `idempotency-conflict` (409).
    """
    user = access.require_login(actor)
    account = access.require_create(user, owner)
    request = [base_model, modules, examples, name, method, method_settings or {}, seed, private, description]
    if account != user:
        request.append(account.username)
    if anywhere:
        request.append({"anywhere": True})
    request_hash = hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()
    if known := _same_request(user, idempotency_key, request_hash):
        return known
    values = _check_settings(method, {} if method_settings is None else method_settings)
    _check_seed(seed)
    rows = check_examples(examples, method)
    names.check_adapters(account, name)  # a composition that will take the name is found by the constraint in the database
    quotas.require_room(account)
    _check_anywhere(private=private, anywhere=anywhere)
    pinned = pinning.pin(user, account, base_model, modules, method, private=private, anywhere=anywhere)
    pinning.check_weights(user, values, pinned)
    if Composition.objects.active().filter(owner=user).count() >= settings.JOB_MAX_ACTIVE:
        raise HubError("too-many-jobs", f"You have {settings.JOB_MAX_ACTIVE} compositions waiting or running. Wait for one to end, or cancel one.", status=429)
    try:
        with transaction.atomic():
            job = Composition.objects.create(
                owner=user,
                organization=None if account == user else account,
                name=name,
                private=private,
                anywhere=anywhere,
                description=texts.storable(description).strip()[:1000],
                base_model=base_model,
                auto=modules == pinning.AUTO,
                examples=rows,
                method=method,
                settings=values,
                seed=seed,
                idempotency_key=idempotency_key or None,
                request_hash=request_hash,
                rung_at=timezone.now(),
            )
            Ingredient.objects.bulk_create(
                [Ingredient(composition=job, position=i, revision=r, repo_id=a.repo_id, sha=r.sha) for i, (a, r) in enumerate(pinned)]
            )
            LogLine.objects.create(
                composition=job,
                sentence=f"Queued with {len(rows) or 'no'} examples and {len(pinned)} {'adapter' if len(pinned) == 1 else 'adapters'}.",
            )
            audit.record(user, "composition.submit", job, method=method, modules=len(pinned))
            transaction.on_commit(lambda: celery.ring(job.pk), robust=True)
    except IntegrityError:
        if known := _same_request(user, idempotency_key, request_hash):
            return known
        names.refuse_claimed(account, name)
        raise
    return job


def problems(
    *,
    actor: "Actor",
    base_model: str | None,
    modules: Sequence[str] | str | None,
    examples: Sequence[Mapping[str, Any]] | None,
    name: str | None,
    method: str | None,
    method_settings: Mapping[str, Any],
    private: bool = False,
    owner: User | None = None,
    anywhere: bool = False,
) -> dict[str, str]:
    """Return a sentence by field for everything that `submit` would refuse, where `submit` tells of the first alone.

    What is None could not be read, and is passed over. The field of a setting is called "settings." and its name.
    """
    user = access.require_login(actor)
    account = access.require_create(user, owner)
    found: dict[str, str] = {}
    if method is not None:
        found |= {f"settings.{setting}": said for setting, said in catalogue.problems(method, method_settings).items()}
    if examples is not None:
        with _noted(found):
            check_examples(examples, method or catalogue.DEFAULT_METHOD)
    if name is not None:
        with _noted(found):
            names.check_adapters(account, name)
            names.refuse_claimed(account, name)
    with _noted(found):
        quotas.require_room(account)
    with _noted(found):
        _check_anywhere(private=private, anywhere=anywhere)
    if base_model is None or modules is None or method is None:
        return found
    unfit: dict[str, str] = {}
    for ref in () if isinstance(modules, str) else modules[: catalogue.MAX_MODULES]:
        with _noted(unfit):
            pinning.pin(user, account, base_model, [ref], method, private=private, anywhere=anywhere)
    if not unfit:  # each may take part: may all together?
        with _noted(unfit):
            pinned = pinning.pin(user, account, base_model, modules, method, private=private, anywhere=anywhere)
            if "settings.weights" not in found:
                found |= _strange_weights(user, method_settings, pinned)
    _add(found, unfit)
    return found


@contextmanager
def _noted(found: dict[str, str]) -> Iterator[None]:
    """Note what is refused instead of raising it."""
    try:
        yield
    except HubError as error:
        _add(found, error.fields or {"": error.message})


def _add(found: dict[str, str], more: Mapping[str, str]) -> None:
    """Add sentences to those of their fields, each once."""
    for field, said in more.items():
        if said not in found.get(field, ""):
            found[field] = f"{found.get(field, '')} {said}".strip()


def _strange_weights(user: User, given: Mapping[str, Any], pinned: Sequence[tuple[Adapter, Revision]]) -> dict[str, str]:
    try:
        pinning.check_weights(user, {"weights": given.get("weights", {})}, pinned)
    except HubError as error:
        return {"settings.weights": error.message}
    return {}


def find(*, actor: "Actor", job_id: int) -> Composition:
    """Return the actor's job, or "not found"."""
    job = Composition.objects.visible_to(actor).select_related("owner", "organization", "result__adapter__owner").filter(pk=job_id).first()
    if job is None:
        raise not_found("composition")
    return job


def cancel(*, actor: "Actor", job: Composition) -> Composition:
    """Cancel a waiting job at once, or ask the worker to stop a running one within a step."""
    user = access.require_login(actor)
    if job.owner_id != user.pk:
        raise not_found("composition")
    with transaction.atomic():
        # The wish first: a job that moves between waiting and running meanwhile keeps it, and ends at its next claim.
        asked = Composition.objects.active().filter(pk=job.pk).update(cancel_requested=True)
        waiting = Composition.objects.filter(pk=job.pk, status=Composition.Status.QUEUED)
        if waiting.update(status=Composition.Status.CANCELLED, finished_at=timezone.now()):
            LogLine.objects.create(composition=job, sentence="Cancelled while it waited.")
        if asked:
            audit.record(user, "composition.cancel", job)
    job.refresh_from_db()
    if not asked and job.status != Composition.Status.CANCELLED:
        raise _over(job)
    return job


def prioritise(*, actor: "Actor", job: Composition, priority: Composition.Priority) -> None:
    """Let a job be served before or after others; for operators."""
    user = access.require_login(actor)
    if not user.is_staff:
        raise not_found("composition")
    with transaction.atomic():
        Composition.objects.filter(pk=job.pk).update(priority=priority)
        audit.record(user, "composition.prioritise", job, priority=priority.label)


def finish_now(*, actor: "Actor", job: Composition) -> Composition:
    """Ask the worker to end the search of a running job and to publish the best so far."""
    user = access.require_login(actor)
    if job.owner_id != user.pk:
        raise not_found("composition")
    with transaction.atomic():
        asked = Composition.objects.active().filter(pk=job.pk, started_at__isnull=False, cancel_requested=False).update(finish_requested=True)
        if asked:
            if not job.finish_requested:
                LogLine.objects.create(composition=job, sentence="Asked to end the search with the best so far.")
            audit.record(user, "composition.finish", job)
    job.refresh_from_db()
    if not asked:
        if job.is_over:
            raise _over(job)
        if job.cancel_requested:
            raise HubError("already-over", "This composition is being cancelled.", status=409)
        raise HubError("not-started", "This composition has not measured anything yet. Cancel it, or wait until it runs.", status=409)
    return job


def _over(job: Composition) -> HubError:
    ended = "was already cancelled" if job.status == Composition.Status.CANCELLED else f"has already {job.status}"
    return HubError("already-over", f"This composition {ended}.", status=409)


def queue_place(job: Composition) -> int:
    """Return how many jobs are ahead of a waiting one, if nobody comes or goes."""
    return max(0, queue.place(job) - 1)


def check_examples(examples: Sequence[Mapping[str, Any]], method: str = catalogue.DEFAULT_METHOD) -> list[dict[str, str]]:
    """Return the examples as plain rows, or name every row that is wrong under `fields`. A method with given weights needs none."""
    if not isinstance(examples, Sequence) or isinstance(examples, str):
        raise HubError("examples-invalid", 'Examples are a list of {"input": "...", "output": "..."}.', fields={"examples": "Not a list."})
    count = len(examples)
    if not count and not catalogue.method(method).needs_examples:
        return []
    if not catalogue.MIN_EXAMPLES <= count <= catalogue.MAX_EXAMPLES:
        text = f"A composition takes {catalogue.MIN_EXAMPLES} to {catalogue.MAX_EXAMPLES} examples; there are {count}."
        raise HubError("examples-count", text, fields={"examples": text})
    rows: list[dict[str, str]] = []
    problems: dict[str, str] = {}
    for number, example in enumerate(examples, 1):
        problem = _example_problem(example, number)
        if problem:
            problems[f"examples.{number}"] = problem
        else:
            rows.append({"input": example["input"], "output": example["output"]})
    if problems:
        first = next(iter(problems.values()))
        more = f" {len(problems) - 1} more rows need mending." if len(problems) > 1 else ""
        raise HubError("examples-invalid", first + more, fields=problems)
    return rows


def _example_problem(example: Any, number: int) -> str:
    if not isinstance(example, Mapping):
        return f'Row {number} is not an object with "input" and "output".'
    if strange := sorted(str(key) for key in set(example) - {"input", "output"}):
        return f'Row {number} has a key {strange[0][:40]!r}. A row has "input" and "output" alone; remove it, or rename it.'
    for key in ("input", "output"):
        value = example.get(key)
        if not isinstance(value, str):
            return f'Row {number} has no "{key}" text.'
        if not value.strip():
            return f"Row {number} has no {key}. Write one, or remove the row."
        if "\x00" in value:
            return f"Row {number} holds a NUL character. Remove it."
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"Row {number} holds half of a surrogate pair. Remove it."
    size = len(example["input"]) + len(example["output"])
    if size > catalogue.MAX_EXAMPLE_CHARACTERS:
        return f"Row {number} has {size:,} characters; at most {catalogue.MAX_EXAMPLE_CHARACTERS:,} are allowed. Shorten it."
    return ""


def _same_request(user: User, key: str, request_hash: str) -> Composition | None:
    if not key:
        return None
    if len(key) > MAX_KEY or not key.isprintable():
        text = f"The Idempotency-Key has up to {MAX_KEY} printable characters, a UUID for example."
        raise HubError("idempotency-key-invalid", text)
    known = Composition.objects.filter(owner=user, idempotency_key=key).select_related("owner").first()
    if known is not None and known.request_hash != request_hash:
        raise HubError("idempotency-conflict", "This Idempotency-Key was used for another request. Use a new key.", status=409)
    return known


def _check_settings(method: str, given: Mapping[str, Any]) -> dict[str, catalogue.Value]:
    if not isinstance(given, Mapping):
        raise HubError("setting-invalid", "Settings are an object with a value by name.", fields={"settings": "Not an object."})
    try:
        return catalogue.check(method, given)
    except ComposeError as error:
        field = "method" if error.code == "unknown-method" else "settings"
        raise HubError(error.code, error.message, fields={field: error.message}) from error


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise HubError("seed-invalid", "The seed is a whole number from 0 to 4294967295.", fields={"seed": "0 to 4294967295."})


def _check_anywhere(*, private: bool, anywhere: bool) -> None:
    if private and anywhere:
        text = "A private result is not made on lent machines, whose owners see what they compute. Make it public, or keep the job on the hub's own machines."
        raise HubError("anywhere-private", text, fields={"anywhere": text})
