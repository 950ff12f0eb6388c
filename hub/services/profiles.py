"""The verbs of weight profiles: expect, claim, finish, fail, ring; and which adapters are alike.

The row is the queue, as with compositions. Similar profiles are looked up when one is measured, and kept as pairs; who may see which adapter is asked
when they are read. A profile looks among public adapters and among the others apart, so that hidden ones take no place from those that everybody sees.
"""

import heapq
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import transaction
from django.db.models import F, Q, QuerySet

from hub import celery
from hub.adapter_format import CONFIG, WEIGHTS
from hub.models import Adapter, Neighbour, Profile, Revision, RevisionFile
from hub.models.adapters import HEAVY
from hub.services import audit, clock

if TYPE_CHECKING:
    from hub.models.adapters import Actor

Status = Profile.Status
Packed = bytes | memoryview
Candidate = tuple[int, bool, Packed]  # key of the profile, whether its adapter is private, fingerprint
NEAR = 0.95  # of the starter adapters no two are above 0.25; one of them cut to half its rank, or rounded to 8 bits, stays above 0.98
ALIKE = 0.15  # three times the error of the estimate
KEPT = 20  # neighbours of each kind
SHOWN = 6
STALE = timedelta(minutes=15)  # no measuring takes so long
QUIET = timedelta(minutes=1)  # between two rings for one row
RINGS = 20  # at once: compositions wait in the same queue
ATTEMPTS = 3
BATCH = 1000
LARGE = ("matrices", "values", "fingerprint")  # columns that are read only where they are shown
LAYERS = 48  # digits of a change by layer
MATRICES = 4096  # listed of one profile
PASSING = ("internal", "storage-unavailable")  # failures that another attempt may mend
REASONS = {
    "module-unsupported": "There is more in it than plain LoRA, which alone has one update for each matrix.",
    "module-mismatch": "Its weights and its config do not fit together.",
    "module-unreadable": "Its files cannot be read.",
    "module-not-finite": "Its numbers are not finite, or too large to measure.",
    "worker-lost": "The worker died more than once while it measured these weights. The hub's operator finds more in its log.",
    "storage-unavailable": "The file store did not answer. The hub's operator finds more in the log.",
    "internal": "Something broke on our side. It is logged.",
}


def expect(revision: Revision, files: Mapping[str, str]) -> None:
    """Give a revision its profile, and have it measured where nobody has had these weights with this config; called when its rows are written."""
    if not revision.facts or revision.facts["peft_type"] != "LORA":
        return
    wanted = {"base_model": revision.facts["base_model"][:200], "rung_at": clock.now()}
    row, is_new = Profile.objects.get_or_create(weights_id=files[WEIGHTS], config_id=files[CONFIG], defaults=wanted)
    Revision.objects.filter(pk=revision.pk).update(profile=row)
    revision.profile = row
    if is_new:
        transaction.on_commit(lambda: celery.ring_profile(row.pk), robust=True)


def catch_up() -> int:
    """Expect the profiles of adapters that came before there were any; say of how many."""
    rows = Revision.objects.filter(adapter__head=F("pk"), adapter__peft_type="LORA", profile=None, facts__isnull=False)
    waiting = {row.pk: row for row in rows.order_by("pk")[:BATCH]}
    files: dict[int, dict[str, str]] = {}
    for pk, path, blob in RevisionFile.objects.filter(revision__in=waiting, path__in=(CONFIG, WEIGHTS)).values_list("revision_id", "path", "blob_id"):
        files.setdefault(pk, {})[path] = blob
    for pk, row in waiting.items():
        with transaction.atomic():
            expect(row, files[pk])
    return len(waiting)


def ring() -> int:
    """Ring for profiles that wait or were left behind and were not rung for lately; say for how many."""
    now = clock.now()
    ids = list(_takeable(now).filter(Q(rung_at=None) | Q(rung_at__lt=now - QUIET)).order_by("rung_at", "pk").values_list("pk", flat=True)[:RINGS])
    Profile.objects.filter(pk__in=ids).update(rung_at=now)
    for pk in ids:
        celery.ring_profile(pk)
    return len(ids)


def claim(*, profile_id: int) -> Profile | None:
    """Take a profile that waits, or that a worker left behind; None when there is nothing to take."""
    now, token = clock.now(), uuid.uuid4().hex
    if not _takeable(now).filter(pk=profile_id).update(status=Status.RUNNING, claim=token, claimed_at=now, attempts=F("attempts") + 1):
        return None
    row = Profile.objects.filter(pk=profile_id, claim=token).first()
    if row is not None and row.attempts > ATTEMPTS:
        fail(profile=row, code="worker-lost")
        return None
    return row


def finish(*, profile: Profile, matrices: Sequence[Sequence[Any]], values: Sequence[float], fingerprint: Sequence[float]) -> bool:
    """Keep what was measured and find the neighbours; return whether the claim still held."""
    listed = sorted(heapq.nlargest(MATRICES, range(len(matrices)), key=lambda place: matrices[place][3]))
    packed = np.asarray(fingerprint, np.float16).tobytes()
    measured: dict[str, Any] = {
        "matrices": [matrices[place] for place in listed],
        "left_out": len(matrices) - len(listed),
        "values": list(values),
        "fingerprint": packed,
    }
    measured["by_layer"] = by_layer(matrices)
    if not _held(profile).update(**measured):
        return False
    # The fingerprint is there for all to see before others are looked at: of two at the same time, one at least meets the other.
    profile.fingerprint = packed
    pairs = _neighbours(profile)
    with transaction.atomic():
        if not _held(profile).update(status=Status.DONE, error_code="", error_message=""):
            return False
        Neighbour.objects.bulk_create(pairs, ignore_conflicts=True)
        audit.record(None, "profile.end", profile)
    return True


def by_layer(matrices: Iterable[Sequence[Any]]) -> str:
    """Return the change by layer as digits, 9 for the largest; of very many layers, neighbours together. Empty where there are no layers."""
    squares: dict[int, float] = {}
    for _, layer, _, norm, *_ in matrices:
        if layer is not None:
            squares[layer] = squares.get(layer, 0.0) + norm**2
    if not squares or not max(squares.values()):
        return ""
    group = -(-(max(squares) + 1) // LAYERS)
    heights = [max(squares.get(layer, 0.0) for layer in range(first, first + group)) for first in range(0, max(squares) + 1, group)]
    return "".join(str(round(9 * math.sqrt(height / max(heights)))) for height in heights)


def fail(*, profile: Profile, code: str) -> None:
    """Keep why nothing was measured; what may pass is tried again a few times."""
    again = code in PASSING and profile.attempts < ATTEMPTS
    message = "" if again else REASONS.get(code, REASONS["internal"])
    with transaction.atomic():
        status = Status.WAITING if again else Status.FAILED
        if _held(profile).update(status=status, error_code=code[:40], error_message=message, rung_at=clock.now()) and not again:
            audit.record(None, "profile.end", profile)


def of(revision: Revision | None) -> Profile | None:
    """Return the profile of a revision, or None where it has no LoRA."""
    return revision.profile if revision else None


def status(*, profile_id: int) -> str:
    """Return where the measuring stands; a profile goes with its bytes, when nobody has them any more."""
    return Profile.objects.filter(pk=profile_id).values_list("status", flat=True).first() or "gone"


def similar(*, actor: "Actor", adapter: Adapter, profile: Profile, limit: int = SHOWN) -> list[Adapter]:
    """Return the adapters whose newest revision is like `profile`, as far as the actor sees them, the most similar first, each with its `similarity`."""
    rows = Adapter.objects.adapters().visible_to(actor).exclude(pk=adapter.pk).filter(head__profile__near__profile=profile)
    ranked = rows.annotate(similarity=F("head__profile__near__similarity")).order_by("-similarity", "-downloads", "pk")
    return list(ranked.select_related("owner", "head").defer(*HEAVY, "card_text", "head__recipe", "head__scores")[:limit])


def cosine(one: Profile, other: Profile) -> float | None:
    """Return how alike two updates are, from -1 to 1; None where one is not measured, or zero."""
    if not one.fingerprint or not other.fingerprint:
        return None
    return float(_unpacked([one.fingerprint])[0] @ _unpacked([other.fingerprint])[0])


def _takeable(now: datetime) -> QuerySet[Profile]:
    return Profile.objects.filter(Q(status=Status.WAITING) | Q(status=Status.RUNNING, claimed_at__lt=now - STALE))


def _held(profile: Profile) -> QuerySet[Profile]:
    return Profile.objects.filter(pk=profile.pk, status=Status.RUNNING, claim=profile.claim)


def _neighbours(profile: Profile) -> list[Neighbour]:
    """Return the pairs of a profile with those most like it, in both directions, and with itself."""
    pairs = [Neighbour(profile=profile, other=profile, similarity=1.0)]
    if profile.fingerprint and profile.base_model:
        for pk, similarity in _most_like(profile).items():
            pairs += [
                Neighbour(profile=profile, other_id=pk, similarity=similarity),
                Neighbour(profile_id=pk, other=profile, similarity=similarity),
            ]
    return pairs


def _most_like(profile: Profile) -> dict[int, float]:
    rows = Adapter.objects.adapters().filter(base_model=profile.base_model, head__profile__fingerprint__isnull=False).exclude(head__profile=profile)
    heads = rows.order_by().values_list("head__profile_id", "private", "head__profile__fingerprint").iterator(chunk_size=BATCH)
    own = _unpacked([profile.fingerprint or b""])[0]
    best: dict[bool, dict[int, float]] = {False: {}, True: {}}
    for batch in _batches((pk, private, packed) for pk, private, packed in heads if packed):
        similarities = _unpacked(row[2] for row in batch) @ own
        for place in np.flatnonzero(similarities >= ALIKE):
            pk, private, _ = batch[place]
            best[private][pk] = round(float(similarities[place]), 4)
        best = {private: dict(heapq.nlargest(KEPT, found.items(), key=lambda item: item[1])) for private, found in best.items()}
    return best[True] | best[False]


def _batches(rows: Iterable[Candidate]) -> Iterable[list[Candidate]]:
    batch: list[Candidate] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _unpacked(fingerprints: Iterable[Packed]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    packed = list(fingerprints)
    rows = np.frombuffer(b"".join(packed), np.float16).astype(np.float32).reshape(len(packed), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
