"""The things whose cost benchmarks/scale.py measures, each as a function that does it once."""

import io
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.cache import cache, caches
from django.test import Client

from benchmarks.catalogue_filler import COMMON, RARE
from hub.metrics import Hub
from hub.models import Adapter, Composition, Tag, User
from hub.services import adapters, jobs, numbers, profiles, queue, runs, search, social, store, suggestions, tallies
from hub.services import index as words
from tests import make

Probe = Callable[[], Any]
TASK = [{"input": "Translate into French: good morning", "output": "bonjour"}]
_numbers = itertools.count()


def of_catalogue() -> dict[str, dict[str, Probe]]:
    """What people and programs do with a catalogue, by heading."""
    popular = Adapter.objects.select_related("owner", "head__profile").filter(private=False).order_by("-downloads").first()
    assert popular is not None and popular.head is not None and popular.head.profile is not None
    base = f"base_model={popular.base_model}"
    three = f"{base}&rank={popular.rank}&licence={popular.licence}"
    return {
        "Finding": {
            "list, first page": _page("/adapters"),
            "API list, first page": _page("/api/v1/adapters"),
            "API list, a page in the middle": _page(f"/api/v1/adapters?cursor={_middle('updated_at')}"),
            "API list by downloads, a page in the middle": _page(f"/api/v1/adapters?sort=downloads&cursor={_middle('downloads')}"),
            "Hugging Face list, 100 a page": _page("/api/models?limit=100"),
            "Hugging Face list by two labels": _page("/api/models?limit=100&filter=lora,license:mit&sort=downloads"),
            "Hugging Face list, a page in the middle": _page(f"/api/models?limit=100&cursor={_middle('updated_at')}"),
            "search, a rare word": _page(f"/adapters?q={RARE}"),
            "search, a word of every card": _page(f"/adapters?q={COMMON}"),
            "search, no such word": _page("/adapters?q=nosuchwordatall"),
            "search, three facets": _page(f"/adapters?{three}"),
            "search, a common word and three facets": _page(f"/adapters?q={COMMON}&{three}"),
            "most downloaded of the commonest base model": _page(f"/adapters?{base}&sort=downloads"),
            "tag suggestions while typing": partial(search.tags, actor=_nobody(), q=_tag()[:3]),
            "adapter suggestions for a task": partial(suggestions.for_task, actor=_person(), base_model=popular.base_model, description=COMMON, examples=TASK),
            "tag suggestions for a text": partial(suggestions.tags, actor=_nobody(), text=_tag()),
        },
        "Reading": {
            "home": _page("/"),
            "adapter page": _page(f"/{popular.repo_id}"),
            "user page": _page(f"/{popular.owner.username}"),
            "base models": _page("/base-models"),
            "Hugging Face model info": _page(f"/api/models/{popular.repo_id}"),
            "counting a download": lambda: social.count_download(adapter=popular, client=f"client {next(_numbers)}"),
        },
        "Writing": {
            "a new adapter with its first commit": _publish,
            "another commit": _commit(),
            "a like": _like(popular),
            "a composition, two modules": _submit(popular.base_model),
            'a composition, modules "auto"': partial(_compose, popular.base_model, "auto"),
        },
        "The clock's work and operators'": {
            "counts of the whole catalogue by facet": partial(_forgetting, tallies.everything),
            "counts below every page": partial(_forgetting, numbers.totals),
            "the same by tag and by base model": lambda: [_forgetting(partial(numbers.of, name)) for name in numbers.COUNTED],
            "metrics": partial(_forgetting, lambda: list(Hub().collect())),
            "looking for adapters like a new one": partial(profiles._most_like, popular.head.profile),
            "index.catch_up": words.catch_up,
            "profiles.catch_up": profiles.catch_up,
            "refresh_trends": social.refresh_trends,
            "blobs that nothing speaks of": lambda: store.unused().filter(condemned_at=None).count(),
            "audit log of an adapter": _page(f"/api/v1/adapters/{popular.repo_id}/revisions"),
        },
    }


def of_queue() -> dict[str, dict[str, Probe]]:
    """What is done with a queue."""
    base = Adapter.objects.filter(composable=True, private=False).order_by("pk").values_list("base_model", flat=True)[0]
    last = Composition.objects.filter(status=Composition.Status.QUEUED).order_by("-pk").first()
    probes: dict[str, Probe] = {
        "claiming the next job": _claim,
        "submitting": _submit(base),
        "place of the last one": partial(jobs.queue_place, last) if last else (lambda: None),
        "ringing again": runs.ring,
        "metrics": lambda: list(Hub().collect()),
    }
    return {"A queue of so many jobs of a thousand people": probes}


def _page(path: str) -> Probe:
    """A page as somebody gets it whom nothing was kept for."""
    client = Client()

    def ask() -> None:
        caches["pages"].clear()
        answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}: {answer.content[:500]!r}")

    return ask


def _middle(column: str) -> str:
    """The cursor of a row half way down."""
    count = Adapter.objects.count()
    row = Adapter.objects.order_by(f"-{column}", "-pk")[count // 2]
    return search._cursor(getattr(row, column), row.pk)


def _forgetting(work: Probe) -> Any:
    cache.clear()
    return work()


def _nobody() -> Any:
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()


def _person() -> User:
    found, _ = User.objects.get_or_create(username="scale", defaults={"email": "scale@example.org"})
    return found


def _tag() -> str:
    tag = Tag.objects.order_by("pk").first()
    assert tag is not None
    return tag.name


def _files(seed: int) -> list[adapters.Incoming]:
    return [adapters.Incoming(path, io.BytesIO(data)) for path, data in make.adapter(seed=seed, card=f"# {COMMON}\n\nNumber {seed}.\n").items()]


def _publish() -> None:
    number = next(_numbers)
    adapters.publish(actor=_person(), name=f"scale-{Adapter.objects.latest('pk').pk}-{number}", files=_files(number), message="Upload")


def _commit() -> Probe:
    name = f"again-{Adapter.objects.latest('pk').pk}"
    adapters.publish(actor=_person(), name=name, files=_files(0), message="Upload")

    def commit() -> None:
        adapter = adapters.find(actor=_person(), repo_id=f"scale/{name}")
        card = f"# {COMMON}\n\nVersion {next(_numbers)}.\n".encode()
        adapters.commit(actor=_person(), adapter=adapter, files=[adapters.Incoming("README.md", io.BytesIO(card))], message="Say more")

    return commit


def _like(adapter: Adapter) -> Probe:
    def like() -> None:
        social.like(actor=_person(), adapter=adapter, on=not social.is_liked(actor=_person(), adapter=adapter))

    return like


def _submit(base: str) -> Probe:
    rows = Adapter.objects.select_related("owner").filter(base_model=base, composable=True, private=False, gated="").order_by("pk")[:2]
    return partial(_compose, base, [row.repo_id for row in rows])


def _compose(base: str, modules: list[str] | str) -> None:
    """Submit a composition and take it back, so that the limit of one person is not reached."""
    examples = [{"input": f"{n} plus {n}", "output": str(2 * n)} for n in range(8)]
    job = jobs.submit(actor=_person(), base_model=base, modules=modules, examples=examples, name=f"mix-{next(_numbers)}")
    jobs.cancel(actor=_person(), job=job)


def _claim() -> None:
    """Take the next job and hand it back."""
    job = queue.take(worker="scale", has_base=lambda name: True)
    if job is not None:
        runs.release(job=job)
