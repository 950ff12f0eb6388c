"""Every address of the site, read from Django's own table, so that no test forgets a new one."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
# Addresses of the hub protocol that name nothing by a group: one that each of them matches.
PATHS = {
    "hf-resolve": "/<owner>/<name>/resolve/<rev>/<path>",
    "hf-xet-chunk": "/xet/<key>/v1/chunks/default/<digest>",
    "hf-xet-xorb": "/xet/<key>/v1/xorbs/default/<digest>",
    "hf-xet-shard": "/xet/<key>/v1/shards",
    "hf-xet-grant": "/xet/<key>/v1/xorb-grants/default/<digest>",
    "hf-xet-shard-v2": "/xet/<key>/v2/shards",
    "hf-model-without-owner": "/api/models/gpt2",
    "hf-other-kind": "/api/datasets/someone/data",
    "hf-rest": "/api/nothing",
    "hf-papers": "/papers/1",
    "hf-upload-rest": "/lfs/nothing",
    "hf-file-rest": "/<owner>/<name>/resolve/main",
    "hf-git-rest": "/<owner>/<name>.git",
    "hf-other-kind-file": "/datasets/someone/data/resolve/main/a.txt",
    "hf-file-without-owner": "/gpt2/resolve/main/config.json",
    "api-no-such-address": "/api/v1/nothing",
    "account_confirm_email": "/accounts/confirm-email/<key>/",
    "confirm-email": "/accounts/confirm-email/<key>/",
    "account_reset_password_from_key": "/accounts/password/reset/key/<uidb36>-<key>/",
}


@dataclass(frozen=True)
class Route:
    """One address of the table."""

    name: str
    path: str  # with <name> for each value
    view: Callable[..., Any]
    room: str  # the package that answers: hub.web, hub.api, hub.hf, or another one

    @property
    def parameters(self) -> frozenset[str]:
        """What the address names."""
        return frozenset(re.findall(r"<(\w+)>", self.path))

    def at(self, **values: object) -> str:
        """Return the address with these values."""
        return re.sub(r"<(\w+)>", lambda match: str(values[match[1]]), self.path)


def every() -> list[Route]:
    """Return all routes but those of Django's admin pages, which let nobody in but staff (tests.attacks.test_doors)."""
    found = list(_walk(get_resolver()))
    names = [route.name for route in found]
    assert len(set(names)) == len(names) > 150, "two routes with one name"
    return found


def of(*rooms: str) -> list[Route]:
    """Return the routes of these doors."""
    return [route for route in every() if route.room in rooms]


def admin() -> list[str]:
    """Return the addresses of the admin pages."""
    found = [path for path, _, name in _patterns(get_resolver()) if name.startswith("admin:")]
    assert len(found) > 50
    return [re.sub(r"<[^>]+>", "1", path.replace("(?P<url>.*)$", "x").replace("^", "")) for path in found]


def _walk(resolver: URLResolver) -> Iterator[Route]:
    for path, pattern, name in _patterns(resolver):
        if name.startswith("admin:"):
            continue
        module = getattr(pattern.callback, "view_class", pattern.callback).__module__
        room = ".".join(module.split(".")[:2])
        plain = re.sub(r"<\w+:(\w+)>", r"<\1>", path)
        if name in PATHS:
            plain = PATHS[name]
        assert not set("^$()?*+\\") & set(plain), f"{name} is a regular expression: write an address for it into PATHS"
        yield Route(name, plain, pattern.callback, room)


def _patterns(resolver: URLResolver, before: str = "/", space: str = "") -> Iterator[tuple[str, URLPattern, str]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLPattern):
            yield before + str(entry.pattern), entry, space + (entry.name or "")
        else:
            yield from _patterns(entry, before + str(entry.pattern), f"{space}{entry.namespace}:" if entry.namespace else space)


def filled(text: str, values: Mapping[str, object]) -> str:
    """Return a text with {name} replaced for each value that is known."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)
