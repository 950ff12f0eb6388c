"""The machines that work for the hub: tokens for those elsewhere, which of them are here now, and which base models each serves.

A token is a machine's, not a person's: it opens the worker's door of the API and nothing else, and no person's token opens that door.
"""

import fnmatch
import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction

from hub.errors import HubError
from hub.models import BaseModel, Composition, User, Worker, WorkerToken
from hub.services import audit, clock, hosted, runs

if TYPE_CHECKING:
    from hub.models.adapters import Actor

PREFIX = "mwk_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
MAX_BASES = 100  # patterns of one token or worker, and folders that one announces
MAX_BASE = 200  # characters of each
FORGOTTEN = timedelta(hours=1)  # after which a silent worker is no longer listed


def create_token(*, actor: "Actor | None", name: str, bases: Iterable[str] = (), trusted: bool = False) -> tuple[WorkerToken, str]:
    """Make a worker token for the operator, at the command line (no actor) or on the admin pages; the second value is its text, which is kept nowhere."""
    user = _require_operator(actor)
    if not NAME.fullmatch(name):
        raise HubError("worker-name-invalid", "The name of a worker token has 1 to 40 letters, digits and ._- and begins with a letter or digit.")
    patterns = clean_bases(bases)
    text = PREFIX + secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            token = WorkerToken.objects.create(name=name, digest=_digest(text), bases=patterns, trusted=trusted, created_by=user)
            audit.record(user, "workertoken.create", token, name=name, trusted=trusted, bases=patterns)
    except IntegrityError as error:
        raise HubError("worker-name-taken", f"There is a worker token called {name}. Revoke it, or choose another name.", status=409) from error
    return token, text


def clean_bases(bases: Iterable[str]) -> list[str]:
    """Return names and patterns of base models as they are kept, or refuse them."""
    found = list(dict.fromkeys(pattern.strip() for pattern in bases if pattern.strip()))
    if len(found) > MAX_BASES or any(len(pattern) > MAX_BASE or not pattern.isprintable() for pattern in found):
        raise HubError("worker-bases-invalid", f"Base models are at most {MAX_BASES} names or patterns such as acme/*, of at most {MAX_BASE} characters each.")
    return found


def find_token(*, text: str) -> WorkerToken | None:
    """Return the worker token that was sent; None for any other text."""
    return WorkerToken.objects.filter(digest=_digest(text)).first() if text.startswith(PREFIX) else None


def revoke_token(*, actor: "Actor | None", token: WorkerToken) -> None:
    """Shut a machine out at once; what it was computing goes back to the queue."""
    user = _require_operator(actor)
    with transaction.atomic():
        held = list(Composition.objects.filter(worker_token=token, status=Composition.Status.RUNNING))
        audit.record(user, "workertoken.revoke", token, name=token.name, running=len(held))
        token.delete()
    for job in held:
        try:
            runs.release(job=job, why=f"Taken back: the worker token of {token.name} was revoked.")
        except runs.LostClaim:
            continue  # it ended, or was taken over, a moment ago


def seen(*, name: str, device: str, bases: Sequence[str], folders: Sequence[str], warm: str, token: WorkerToken | None = None) -> Worker:
    """Keep that a worker is here and what it has."""
    columns = {"token": token, "device": device, "bases": list(bases), "folders": list(folders), "warm": warm, "seen_at": clock.now()}
    return Worker.objects.update_or_create(name=name, defaults=columns)[0]


def beat(*, name: str) -> None:
    """Keep that a worker is still here."""
    Worker.objects.filter(name=name).update(seen_at=clock.now())


def gone(*, name: str) -> None:
    """Forget a worker that said good-bye."""
    Worker.objects.filter(name=name).delete()


def forget_silent() -> int:
    """Forget workers that have been silent for long."""
    return Worker.objects.filter(seen_at__lt=clock.now() - FORGOTTEN).delete()[0]


def serves(worker: Worker, base_model: str) -> bool:
    """Say whether a worker takes jobs on the base model: its lists name it, it finds it, and is fit for its size."""
    lists = [worker.bases, *([worker.token.bases] if worker.token else [])]
    if not all(matches(patterns, base_model) for patterns in lists):
        return False
    if base_model in worker.folders:
        return True
    found = hosted.open_revision(base_model) if worker.token else hosted.revision(base_model)
    return found is not None and (worker.has_gpu or is_light(hosted.weight(found)))


def matches(patterns: Sequence[str], base_model: str) -> bool:
    """Say whether a list of names and patterns, of which none means all, holds the base model."""
    return not patterns or any(fnmatch.fnmatchcase(base_model, pattern) for pattern in patterns)


def is_light(size: int) -> bool:
    """Say whether weights of so many bytes are for workers without a GPU too."""
    return not settings.CPU_MAX_BASE_BYTES or size <= settings.CPU_MAX_BASE_BYTES


def announce(names: Iterable[str]) -> None:
    """Keep that a machine elsewhere has these base models; names that no adapter here speaks of are not kept."""
    BaseModel.objects.filter(name__in=list(names)).update(available_at=clock.now())


def lent_exist() -> bool:
    """Whether there are machines that run only what its owner lets run anywhere."""
    return WorkerToken.objects.filter(trusted=False).exists()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _require_operator(actor: "Actor | None") -> User | None:
    if actor is None:
        return None
    if not isinstance(actor, User) or not actor.is_active or not actor.is_staff:
        raise HubError("forbidden", "Only the hub's operators make and revoke worker tokens.", status=403)
    return actor
