"""Makes a catalogue larger: copies of what benchmarks/catalogue_filler.py made, written by the database itself, and jobs that wait."""

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from django.db import connection
from django.db.models import Max, Model
from django.utils import timezone

from benchmarks import catalogue_filler
from benchmarks.catalogue_filler import RARE
from compose_worker.engine import catalogue
from hub.adapter_format import CONFIG, WEIGHTS
from hub.models import (
    Adapter,
    Blob,
    Composition,
    Download,
    Event,
    Facet,
    Ingredient,
    Neighbour,
    Profile,
    Revision,
    RevisionFile,
    SearchText,
    User,
)

SEED = 1000  # adapters that are made one by one; all others are copies of these
PEOPLE = 1000


def grow(before: int, after: int) -> None:
    """Bring the catalogue from so many adapters to so many; both are SEED times a power of ten, or less than SEED at first."""
    if before == 0:
        first = min(after, SEED)
        catalogue_filler.fill(first)
        add_profiles()
        before = first
    if after > before:
        if connection.vendor != "postgresql":
            raise RuntimeError("Only PostgreSQL copies a catalogue. Set DATABASE_URL to one, or leave it empty.")
        with _without_indexes(), _without_triggers():
            _copy(after // before - 1, round(after / SEED))
    _settle()


def _settle() -> None:
    """Let the database look at what was written, as it does by itself after a while."""
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def add_profiles() -> None:
    """Give every adapter weights of its own, measured, and each profile two others that it is like."""
    draw = np.random.default_rng(0)
    files = list(RevisionFile.objects.filter(path=WEIGHTS).select_related("revision__adapter").order_by("pk"))
    config = RevisionFile.objects.filter(path=CONFIG)[0].blob_id
    profiles = []
    for row in files:
        row.blob_id = hashlib.sha256(f"weights {row.pk}".encode()).hexdigest()
        packed = draw.standard_normal(512).astype(np.float16).tobytes()
        base = row.revision.adapter.base_model
        found = Profile(weights_id=row.blob_id, config_id=config, base_model=base, status=Profile.Status.DONE, matrices=[], values=[1.0], fingerprint=packed)
        profiles.append(found)
    Blob.objects.bulk_create([Blob(sha256=row.blob_id, size=1000) for row in files], batch_size=1000)
    RevisionFile.objects.bulk_update(files, ["blob"], batch_size=1000)
    Profile.objects.bulk_create(profiles, batch_size=1000)
    for row, profile in zip(files, profiles, strict=True):
        row.revision.profile = profile
    Revision.objects.bulk_update([row.revision for row in files], ["profile"], batch_size=1000)
    pairs = [Neighbour(profile=one, other=profiles[(place + step) % len(profiles)], similarity=0.3) for place, one in enumerate(profiles) for step in range(3)]
    Neighbour.objects.bulk_create(pairs, batch_size=2000)


def _copy(times: int, generation: int) -> None:
    """Add so many copies of every adapter with all that hangs on it, under other names, later in every order than the first."""
    adapter, revision = (int(model.objects.aggregate(last=Max("pk"))["last"]) for model in (Adapter, Revision))
    people = int(User.objects.aggregate(last=Max("pk"))["last"])
    other = {"adapter_id": f"t.adapter_id + k * {adapter}"}
    _insert(User, times, id=f"t.id + k * {people}", username=f"t.username || '-{generation}-' || k", email=f"t.id || '-{generation}-' || k || '@example.org'")
    name = f"t.name || '-{generation}-' || k"
    spread = f"interval '1 second' * (1 + (k * 7919 + t.id) % {31 * 86400})"
    _insert(
        Adapter,
        times,
        id=f"t.id + k * {adapter}",
        name=name,
        owner_id=f"t.owner_id + k * {people}",
        head_id=f"t.head_id + k * {revision}",
        updated_at=f"t.updated_at - {spread}",
        created_at=f"t.created_at - {spread}",
        downloads="(t.downloads * (0.5 + random()))::int",
        likes="(t.likes * (0.5 + random()))::int",
        summary=_without_rare("summary"),
        card_text=_without_rare("card_text"),
    )
    blob = f"encode(sha256((t.sha256 || '-{generation}-' || k)::bytea), 'hex')"
    _insert(Blob, times, sha256=blob)
    profile = int(Profile.objects.aggregate(last=Max("pk"))["last"])
    weights, config = (blob.replace("t.sha256", f"t.{name}_id") for name in ("weights", "config"))
    _insert(Profile, times, id=f"t.id + k * {profile}", weights_id=weights, config_id=config)
    pairs = {name: f"t.{name} + k * {profile}" for name in ("profile_id", "other_id")}
    _insert(Neighbour, times, id=f"t.id + k * {int(Neighbour.objects.aggregate(last=Max('pk'))['last'])}", **pairs)
    author = f"t.author_id + k * {people}"
    _insert(
        Revision,
        times,
        id=f"t.id + k * {revision}",
        author_id=author,
        sha=f"encode(substr(sha256((t.sha || '-{generation}-' || k)::bytea), 1, 20), 'hex')",
        profile_id=pairs["profile_id"],
        **other,
    )
    files = int(RevisionFile.objects.aggregate(last=Max("pk"))["last"])
    _insert(RevisionFile, times, id=f"t.id + k * {files}", revision_id=f"t.revision_id + k * {revision}", blob_id=blob.replace("t.sha256", "t.blob_id"))
    _insert(SearchText, times, title=f"t.title || ' {generation} ' || k", body=_without_rare("body"), **other)
    for model in (Facet, Adapter.tags.through):
        last = int(model.objects.aggregate(last=Max("pk"))["last"])
        _insert(model, times, id=f"t.id + k * {last}", **other)
    _log(Event, adapter)


def _log(model: type[Event], before: int) -> None:
    """Write the events that such a catalogue has behind it, one for each new adapter, and downloads of the last days for one in a hundred."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO {model._meta.db_table} (at, actor_id, verb, subject, kind, object_id, account_id, door, network, data)
            SELECT updated_at, owner_id, 'adapter.commit', name, 'adapter', id, owner_id, 'hf', '', '{{}}' FROM {Adapter._meta.db_table} WHERE id > %s""",
            [before],
        )
        cursor.execute(
            f"""INSERT INTO {Download._meta.db_table} (adapter_id, client, day)
            SELECT id, md5(id || '-' || n), current_date - n FROM {Adapter._meta.db_table}, generate_series(1, 3) n WHERE id > %s AND id %% 100 = 0""",
            [before],
        )


def _without_rare(column: str) -> str:
    return f"replace(t.{column}, '{RARE}', 'common')"


def _insert(model: type[Model], times: int, **changed: str) -> None:
    """Insert every row of a table so many times more, with these columns as these expressions say (t is the row, k counts)."""
    columns = [field.column for field in model._meta.concrete_fields]
    values = [changed.get(column, f't."{column}"') for column in columns]
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {model._meta.db_table} ({names}) SELECT {', '.join(values)} FROM {model._meta.db_table} t, generate_series(1, {times}) k")
        if model._meta.auto_field is not None:
            column = model._meta.auto_field.column
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{model._meta.db_table}', '{column}'), (SELECT max({column}) FROM {model._meta.db_table}))")


@contextmanager
def _without_triggers() -> Iterator[None]:
    """The copies point at each other as the originals do, so that nothing needs to be checked."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        yield
        cursor.execute("SET session_replication_role = origin")


@contextmanager
def _without_indexes() -> Iterator[None]:
    """Building an index at once takes a fraction of the time that keeping it up row by row does."""
    tables = [model._meta.db_table for model in (Adapter, Revision, RevisionFile, SearchText, Facet, Adapter.tags.through, Event, Download, Profile, Neighbour)]
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
            LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x')
            WHERE i.indrelid = ANY(%s::regclass[]) AND c.oid IS NULL""",
            [tables],
        )
        found = cursor.fetchall()
        for name, _ in found:
            cursor.execute(f"DROP INDEX {name}")
        yield
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for _, definition in found:
            cursor.execute(definition)
        cursor.execute("RESET maintenance_work_mem")


def queue(before: int, after: int) -> None:
    """Bring the number of jobs that wait from one to the other: of PEOPLE, for the base models of the catalogue, each with two modules."""
    if not User.objects.filter(username__startswith="waiting-").exists():
        User.objects.bulk_create([User(username=f"waiting-{n}", email=f"waiting-{n}@example.org") for n in range(PEOPLE)])
    people = list(User.objects.filter(username__startswith="waiting-").order_by("pk").values_list("pk", flat=True))
    modules = list(Adapter.objects.filter(composable=True, private=False).select_related("owner", "head").order_by("pk")[:50])
    examples = [{"input": f"What is {n} plus {n}?", "output": str(2 * n)} for n in range(8)]
    now = timezone.now()
    jobs = [
        Composition(
            owner_id=owner,
            name=f"waiting-{number}",
            base_model=modules[number % len(modules)].base_model,
            examples=examples,
            method=catalogue.DEFAULT_METHOD,
            settings={},
            request_hash=hashlib.sha256(str(number).encode()).hexdigest(),
            rung_at=now,
            created_at=now - timedelta(seconds=after - number),
        )
        for number, owner in zip(range(before, after), itertools.cycle(people), strict=False)
    ]
    Composition.objects.bulk_create(jobs, batch_size=1000)
    parts = [
        Ingredient(composition=job, position=position, revision=module.head, repo_id=module.repo_id, sha=module.head.sha if module.head else "")
        for number, job in enumerate(jobs)
        for position, module in enumerate((modules[number % len(modules)], modules[(number + 1) % len(modules)]))
    ]
    Ingredient.objects.bulk_create(parts, batch_size=2000)
    _settle()
