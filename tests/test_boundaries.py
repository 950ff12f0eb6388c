"""Import arrows point down, every file has a room, and the website never loads torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hub", "compose_worker", "demo")
DATA = {"errors", "engine-data"}
DOOR = {"services", "models", "storage", "format", "files", "logs", *DATA}

# Room -> the rooms it may import.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "engine-data": set(),
    "logs": set(),
    "deploy": set(),
    "plumbing": {"logs"},
    "health": {"models", "plumbing", "services"},
    "format": {"errors"},
    "storage": {"errors"},
    "models": {"errors"},
    "migrations": {"models"},
    "admin": {"models", "services", "errors"},
    "services": {"models", "storage", "format", "plumbing", *DATA},
    "app": {"services"},
    "doors": {"services", "models"},
    "files": {"services", "models", "storage"},
    "web": DOOR,
    "api": DOOR,
    "hf": DOOR,
    "urls": {"web", "api", "hf", "health"},
    "commands": {"services", "models", "storage", "engine", *DATA},
    "engine": {"engine-data"},
    "work": {"engine", "engine-data"},
    "patience": {"errors", "storage"},
    "local": {"work", "patience", "services", "models", "storage", *DATA},
    "tasks": {"work", "local", "services", "models", "storage", "plumbing", "engine", "hf", *DATA},
    "remote": {"work", "engine", "engine-data"},
    "worker": {"plumbing", "remote"},
    "demo": {"engine", "engine-data"},
}
# Module or package -> its room. The longest match names a file's room.
ROOMS = {
    "hub.errors": "errors",
    **dict.fromkeys(
        (
            "hub.adapter_format",
            "hub.adapter_config",
            "hub.model_format",
            "hub.safetensors_header",
            "hub.tensor_values",
            "hub.file_rules",
            "hub.strict_json",
            "hub.card",
            "hub.labels",
            "hub.tensor_values",
        ),
        "format",
    ),
    "hub.storage": "storage",
    "hub.object_store": "storage",
    "hub.staging": "storage",
    **dict.fromkeys(("hub.settings", "hub.celery", "hub.file_broker", "hub.redis_broker", "hub.cache", "hub.static_files", "hub.wsgi"), "plumbing"),
    "hub.logs": "logs",
    "hub.deploy": "deploy",
    **dict.fromkeys(("hub.health", "hub.metrics"), "health"),
    "hub.apps": "app",
    "hub.doors": "doors",
    "hub.models": "models",
    "hub.migrations": "migrations",
    "hub.admin": "admin",
    "hub.services": "services",
    "hub.files": "files",
    **dict.fromkeys(("hub.web", "hub.templatetags"), "web"),
    "hub.api": "api",
    "hub.hf": "hf",
    "hub.urls": "urls",
    "hub.management": "commands",
    **dict.fromkeys((f"compose_worker.engine.{name}" for name in ("spec", "catalogue", "errors", "fingerprint", "written")), "engine-data"),
    "compose_worker.engine": "engine",
    "compose_worker.work": "work",
    "compose_worker.local": "local",
    "compose_worker.tasks": "tasks",
    **dict.fromkeys(("compose_worker.remote", "compose_worker.client", "compose_worker.cache"), "remote"),
    "compose_worker.patience": "patience",
    "compose_worker.__main__": "worker",
    "demo": "demo",
}
DOORS = ("web", "api", "hf")


def sources() -> Iterator[Path]:
    """Every Python file of the project but its tests and benchmarks, relative to the top."""
    for package in PACKAGES:
        yield from (path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py")))


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str | None:
    """The room of a module or of a name in it."""
    key = max((key for key in ROOMS if f"{module}.".startswith(f"{key}.")), key=len, default=None)
    return None if key is None else ROOMS[key]


def imports(source: str, package: str) -> Iterator[str]:
    """What a file imports, anywhere in it, as absolute dotted names; a relative import counts from `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imports_of(path: Path) -> Iterator[str]:
    """What a file of the project imports."""
    name = module_of(path)
    return imports((ROOT / path).read_text(), name if path.stem == "__init__" else name.rpartition(".")[0])


def test_the_scan_sees_every_kind_of_import() -> None:
    source = "import a.b\nfrom . import c\nfrom ..d import e\nfrom .f import g\ndef h():\n    from i import j\n    import k\nif True:\n    from l.m import n\n"
    assert set(imports(source, "hub.web")) == {"a.b", "hub.web.c", "hub.d.e", "hub.web.f.g", "i.j", "k", "l.m.n"}


def test_every_file_has_a_room() -> None:
    bare = {Path("hub/__init__.py"), Path("compose_worker/__init__.py")}
    assert [path for path in sources() if room(module_of(path)) is None and path not in bare] == []
    for path in bare:
        assert not list(imports_of(path)), f"{path} holds no code"


def test_every_room_is_there() -> None:
    there = {room(module_of(path)) for path in sources()}
    assert set(ALLOWED) - there <= {"hf"}, "the third door may not be built yet; every other row of the table stands for files"


def test_the_table_has_no_circle() -> None:
    assert len(list(TopologicalSorter(ALLOWED).static_order())) == len(ALLOWED)


def test_doors_do_not_import_each_other() -> None:
    for door in DOORS:
        assert not ALLOWED[door] & set(DOORS)


def test_arrows_point_down() -> None:
    wrong = []
    for path in sources():
        here = room(module_of(path))
        for module in imports_of(path):
            if here is None or module.split(".")[0] not in PACKAGES:
                continue
            there = room(module)
            if there is None or (there != here and there not in ALLOWED[here]):
                wrong.append(f"{path} ({here}) -> {module} ({there})")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("forbidden", ["django", "celery", "hub", "requests", "httpx", "socket", "huggingface_hub"])
def test_the_engine_knows_neither_the_hub_nor_the_network(forbidden: str) -> None:
    files = [path for path in sources() if room(module_of(path)) in ("engine", "engine-data")]
    assert files and [path for path in files if any(m.split(".")[0] == forbidden for m in imports_of(path))] == []


def is_broad(node: ast.AST) -> bool:
    """Whether a node catches everything."""
    if isinstance(node, ast.ExceptHandler):
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        return any(kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return any(isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in node.args)
    return False


@pytest.mark.parametrize("source", ["except Exception: pass", "except: pass", "except (ValueError, Exception): pass", "except BaseException as e: pass"])
def test_the_scan_sees_every_broad_except(source: str) -> None:
    assert any(is_broad(node) for node in ast.walk(ast.parse(f"try: pass\n{source}")))
    assert not any(is_broad(node) for node in ast.walk(ast.parse("try: pass\nexcept (ValueError, OSError): pass")))


def test_a_broad_except_is_where_a_worker_runs_a_job_or_reads_a_model_and_nowhere_else() -> None:
    found = [str(path) for path in sources() for node in ast.walk(ast.parse((ROOT / path).read_text())) if is_broad(node)]
    assert set(found) == {"compose_worker/work.py", "compose_worker/engine/base_models.py"}
    assert found.count("compose_worker/engine/base_models.py") == 1


WRITES = {"create", "bulk_create", "update", "bulk_update", "delete", "get_or_create", "update_or_create", "save"}


def test_doors_change_no_row_themselves() -> None:
    found = []
    for path in sources():
        if room(module_of(path)) not in DOORS:
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.rpartition(".")[2] in WRITES and ".objects" in called:
                found.append(f"{path}: {called}")
    assert not found, "\n".join(found)


CLEAN = """
import importlib, os, pkgutil, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"
from hub.wsgi import application
from django.urls import get_resolver
import hub

def walk(resolver):
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            yield from walk(pattern)
        else:
            yield pattern.callback

views = list(walk(get_resolver()))
names = [m.name for m in pkgutil.walk_packages(hub.__path__, "hub.")]
for name in names:
    importlib.import_module(name)
heavy = {"torch", "transformers", "peft", "nevergrad", "scipy", "safetensors.torch"} & set(sys.modules)
print(len(views), len(names), sorted(heavy))
sys.exit(bool(heavy) or len(views) < 20 or len(names) < 30)
"""


def test_the_website_does_not_load_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLEAN],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "MEDLEY_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
