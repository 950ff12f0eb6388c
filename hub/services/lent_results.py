"""Holds what a machine elsewhere sends against the job it is about: shapes, numbers, names, sizes and hashes.

That a measurement is honest nobody can see. Everything else is checked: what is published is an adapter for this job's base model, of this job's modules,
with the bytes that its recipe names.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema

from compose_worker.engine import catalogue, spec, written
from hub import strict_json
from hub.errors import HubError
from hub.models import Composition, Ingredient, RevisionFile
from hub.services import adapters

FILES = (adapters.CONFIG, adapters.WEIGHTS, adapters.CARD, adapters.RECIPE)
HASHES = {adapters.CONFIG: "config_sha256", adapters.WEIGHTS: "weights_sha256"}  # of a parent, by file
MAX_TEXT = 1_000_000  # bytes of each file but the weights
MAX_DETAIL = 1_000_000  # characters of what an evaluation keeps
SCORES = ("base", "best_single", "uniform", "composed")
CANDIDATES = ("base", "single", "uniform", "mix")
LARGEST_LOSS = 1e7  # an answer token counts a million nats at most, and what cutting a file costs may come on top
LEARNED = 1000.0  # weights that are learned layer by layer have no bound; the steps that a budget allows lead nowhere near this
HAIR = 1e-6  # what rounding may add
REBUILT_WITH_EXAMPLES = "parents and examples"
TRAINING = ("tune", "medley+tune")  # the methods whose result may have no parents

_NUMBER = {"type": "number", "minimum": -1e308, "maximum": 1e308}
_NAME = {"type": "string", "maxLength": 200}
_WORDS = {"type": "string", "maxLength": 2000}
_INDEX = {"type": "integer", "minimum": 0, "maximum": 10**9}
_SHARE = {"type": "number", "minimum": -HAIR, "maximum": 1 + HAIR}
_LOSS = {"type": "number", "minimum": -HAIR, "maximum": LARGEST_LOSS}
_CHANGE = {"type": "number", "minimum": -LARGEST_LOSS, "maximum": LARGEST_LOSS}
_RANK = {"type": "number", "minimum": 0, "maximum": catalogue.RANK.maximum}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _object(needed: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An object with these properties; others may stand beside them."""
    properties = {**(needed or {}), **more}
    return {"type": "object", "properties": properties, "required": list(needed or {})}


def _by_name(values: Mapping[str, Any], most: int = 2000) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values, "maxProperties": most}


def _list(items: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most}


def _or_null(kind: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, kind]}


_EVALUATION = _object(
    {
        "step": _INDEX,
        "phase": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z_]+$"},
        "weights": _list(_NUMBER, 2000),
        "loss": _LOSS,
        "rows": _or_null(_list(_INDEX, 10_000)),
        "detail": _object(
            sums=_list({"type": "number", "minimum": -HAIR, "maximum": 1e12}, 10_000),
            exact=_list(_INDEX, 10_000),
            gradient={"type": "string"},
            at=_NUMBER,
            forward_tokens={"type": "integer", "minimum": 1, "maximum": 10**9},
            loss=_LOSS,
            kept=_list(_NAME, 2000),
            refused=_by_name(_WORDS),
            copies=_by_name(_NAME),
            effects=_by_name(_NUMBER),
        ),
    }
)
_SCORE = _object({"loss": _LOSS, "accuracy": _SHARE, "low": _SHARE, "high": _SHARE, "n": _INDEX}, module=_or_null(_NAME))
_ANSWERS = _object({"row": _INDEX, "base": _WORDS, "best_single": _WORDS, "composed": _WORDS})
# What pages read of a report; whatever else stands there is kept and shown to its owner by the API as it is.
_REPORT = _object(
    device=_NAME,
    dtype=_NAME,
    seconds=_by_name({"type": "number", "minimum": 0, "maximum": 1e9}, 50),
    notes=_list(_WORDS, 50),
    suggested_method=_or_null({"enum": [method.name for method in catalogue.METHODS]}),
    scored_on=_by_name(_NAME, 10),
    chosen={"enum": list(CANDIDATES)},
    cuts={**_by_name(_object({"rank": {**_RANK, "type": "integer"}, "whole_loss": _LOSS, "file_loss": _LOSS})), "propertyNames": {"enum": list(CANDIDATES)}},
    singles=_by_name(_object({"loss": _LOSS, "accuracy": _SHARE}, kept={"type": "boolean"})),
    attribution=_by_name(_object({"without_loss": _LOSS, "effect": _CHANGE})),
    forgetting=_or_null(_object({"base_loss": _LOSS, "loss": _LOSS, "change": _CHANGE, "kl": _LOSS})),
    samples=_or_null(_object(rows=_list(_ANSWERS, 100), best_single=_NAME, held_out={"type": "boolean"})),
    export=_or_null(_object({"rank": {**_RANK, "type": "integer"}, "bytes": {"type": "integer", "minimum": 0, "maximum": 1e12}})),
    spectrum=_or_null(_object(by_target=_by_name(_object({"effective_rank": _RANK, "top_share": _SHARE, "energy_share": _SHARE}), 500))),
)
_FILE = _object({"path": {"enum": list(FILES)}, "sha256": _SHA256})
_RESULT = _object(
    {
        "weights": _by_name(_NUMBER),
        "scores": {**_by_name(_SCORE), "propertyNames": {"enum": list(SCORES)}},
        "verdict": {"enum": ["mix", "single", "tuned", "nothing"]},
        "summary": {"type": "string", "minLength": 1, "maxLength": 2000},
        "report": _REPORT,
        "files": _list(_FILE, len(FILES)),
    }
)
_PARENT = _object({"id": _NAME, "revision": _NAME, "weight": _NUMBER, "weights_sha256": _SHA256, "config_sha256": _SHA256})
_RECIPE = _object(
    {"parents": _list(_PARENT, 2000), "seed": {"type": "integer"}},
    layer_weights=_or_null(_by_name(_list(_NUMBER, 2000), 100_000)),
    rebuilt_from={"enum": ["parents", REBUILT_WITH_EXAMPLES]},
)


def _is_integer(_checker: jsonschema.TypeChecker, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# To JSON schema 0.0 is an integer; here it would become an index.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)
_CHECKS = {name: _Validator(kind) for name, kind in (("evaluation", _EVALUATION), ("result", _RESULT), ("recipe", _RECIPE))}


def evaluations(job: Composition, sent: Sequence[Mapping[str, Any]]) -> list[spec.Evaluation]:
    """Return measurements as the history keeps them, or refuse them."""
    if not sent:
        return []
    ids = set(job.ingredients.values_list("repo_id", flat=True))
    return [_evaluation(job, ids, one) for one in sent]


def best(job: Composition, sent: Mapping[str, Any]) -> tuple[dict[str, float], float]:
    """Return the best weights so far and their loss."""
    if not -HAIR <= sent["loss"] <= LARGEST_LOSS:
        raise _wrong("the best loss is none")
    return weights(job, sent["weights"]), float(sent["loss"])


def weights(job: Composition, sent: Mapping[str, Any]) -> dict[str, float]:
    """Return weights by module, each a module of the job."""
    ids, largest = set(job.ingredients.values_list("repo_id", flat=True)), _largest_weight(job)
    if not isinstance(sent, Mapping) or not set(sent) <= ids or not all(_is_number(value, largest) for value in sent.values()):
        raise _wrong(f"the weights are not numbers from {-largest:g} to {largest:g} by the ids of this job's adapters")
    return {name: float(value) for name, value in sent.items()}


def result(job: Composition, said: Any) -> tuple[spec.Result, dict[str, str]]:
    """Return what a worker found, and the sha256 of each file that comes with it."""
    _match("result", said)
    _refuse_text(said)
    announced = {file["path"]: file["sha256"] for file in said["files"]}
    if len(announced) != len(said["files"]) or set(announced) not in (set(), set(FILES)) or bool(announced) == (said["verdict"] == "nothing"):
        raise _wrong(f"it comes with {', '.join(FILES)}, each once; with none of them where nothing helped")
    if said["verdict"] == "tuned" and job.method not in TRAINING:
        raise _wrong(f"the verdict is tuned, and {job.method} does not train")
    scores = {name: _score(job, score) for name, score in said["scores"].items()}
    report = dict(said["report"])
    samples = report.get("samples") or {}
    if any(row["row"] >= len(job.examples) for row in samples.get("rows", ())):
        raise _wrong("its samples name examples that are not there")
    modules = (score.module for score in scores.values())
    named = {*modules, *report.get("singles", ()), *report.get("attribution", ()), samples.get("best_single")} - {None}
    if not named <= set(job.ingredients.values_list("repo_id", flat=True)):
        raise _wrong("its scores name adapters that are not this job's")
    found = weights(job, said["weights"])
    _check_given(job, found)
    return spec.Result(found, scores, said["verdict"], said["summary"], tuple(announced), report), announced


def recipe(
    job: Composition, worker: str, found: spec.Result, announced: Mapping[str, str], files: Sequence[adapters.Incoming]
) -> tuple[dict[str, Any], list[adapters.Incoming]]:
    """Hold the recipe against the job and what was found; return it with the worker's name, and the files with this recipe among them."""
    if sorted(file.path for file in files) != sorted(announced):
        raise _wrong("the files that came are not those that it names")
    given = [_bounded(file, announced) for file in files]
    raw = next(file.stream for file in given if file.path == adapters.RECIPE).read()
    try:
        said = strict_json.loads(raw)
    except strict_json.JsonFault as fault:
        raise _wrong(f"{adapters.RECIPE} is not valid JSON: {fault}") from fault
    if not isinstance(said, dict) or said.get("name") not in _ids(job) or any(said.get(key) != value for key, value in _expected(job, announced).items()):
        raise _wrong(f"{adapters.RECIPE} does not speak of this job")
    _match("recipe", said)
    _refuse_text(said)
    _check_parents(job, found, said)
    marked = {**said, "worker": worker}
    return marked, [adapters.Incoming(f.path, io.BytesIO(written.recipe(marked).encode())) if f.path == adapters.RECIPE else f for f in given]


def check_files(job: Composition, announced: Mapping[str, str], ready: adapters.Prepared) -> None:
    """Refuse what is no adapter for the job's base model, and bytes that are not those announced."""
    for path, stored in ready.stored.items():
        if path != adapters.RECIPE and stored.sha256 != announced[path]:
            raise _wrong(f"the bytes of {path} are not those that it names; send them again")
    facts = ready.found.facts
    if facts is None or not facts.composable or facts.base_model != job.base_model:
        raise _wrong(f"its files are no adapter for {job.base_model} that can be composed")


def _expected(job: Composition, announced: Mapping[str, str]) -> dict[str, Any]:
    return {
        "base_model": job.base_model,
        "method": job.method,
        "settings": job.settings,
        "seed": job.seed,
        "result": {"weights_sha256": announced[adapters.WEIGHTS]},
    }


def _check_given(job: Composition, found: Mapping[str, float]) -> None:
    """Hold the weights of a merge by given weights against those given; adapters that were given none all take the same default."""
    if job.method not in catalogue.GIVEN_WEIGHTS:
        return
    ids, given = set(job.ingredients.values_list("repo_id", flat=True)), job.settings["weights"]
    if not any({name: given.get(name, default) for name in ids} == found for default in (1.0, 1 / len(ids))):
        raise _wrong("its weights are not those that were given")


def _ids(job: Composition) -> list[str]:
    """The ids under which the job may have been handed out: an organisation gets another name while its jobs run."""
    owners = job.publisher.former_account_names.values_list("name", flat=True)
    return [f"{owner}/{job.name}" for owner in (job.publisher.username, *owners)]


def _check_parents(job: Composition, found: spec.Result, recipe: Mapping[str, Any]) -> None:
    """Hold the parents that a recipe names against the weights found, and against the files that the job's modules have here."""
    parents, layers = recipe["parents"], (recipe.get("layer_weights") or {}).values()
    ids, largest = [parent["id"] for parent in parents], _largest_weight(job)
    if any(len(there) != len(ids) or not all(_is_number(weight, largest) for weight in there) for there in layers):
        raise _wrong(f"{adapters.RECIPE} has weights by layer that are none")
    used = {name for name, weight in found.weights.items() if weight} | {name for there in layers for name, weight in zip(ids, there, strict=True) if weight}
    if len(ids) != len(used) or set(ids) != used or any(parent["weight"] != found.weights.get(parent["id"]) for parent in parents):
        raise _wrong(f"{adapters.RECIPE} names other parents, or other weights, than the result")
    if bool(ids) == (found.verdict == "tuned") or not (ids or recipe.get("rebuilt_from") == REBUILT_WITH_EXAMPLES):
        raise _wrong(f"{adapters.RECIPE} has {'parents' if ids else 'no parents'}, and the verdict is {found.verdict}")
    modules = {row.repo_id: row for row in job.ingredients.filter(repo_id__in=ids)}
    files = RevisionFile.objects.filter(revision__in=[row.revision_id for row in modules.values() if row.revision_id], path__in=HASHES)
    hashes = {(revision, path): sha256 for revision, path, sha256 in files.values_list("revision_id", "path", "blob_id")}
    if not all(parent["id"] in modules and _is_module(parent, modules[parent["id"]], hashes) for parent in parents):
        raise _wrong(f"{adapters.RECIPE} names parents that are not this job's adapters at their revisions, with their hashes")


def _is_module(parent: Mapping[str, Any], module: Ingredient, hashes: Mapping[tuple[int, str], str]) -> bool:
    """Whether a parent is this module. Of one that was deleted meanwhile the hub has no files any more to compare."""
    known = {key: hashes[module.revision_id, path] for path, key in HASHES.items()} if module.revision_id else {}
    return bool(parent["revision"] == module.sha and all(parent[key] == sha256 for key, sha256 in known.items()))


def _largest_weight(job: Composition) -> float:
    """How far from zero a weight of the job can be; each adapter alone is measured with a weight of one."""
    if "bound" in job.settings:
        return max(1.0, float(job.settings["bound"]))
    given = next((setting.maximum for setting in catalogue.method(job.method).settings if setting.kind == "weights"), None)
    return LEARNED if given is None else given


def _bounded(file: adapters.Incoming, announced: Mapping[str, str]) -> adapters.Incoming:
    """Read a small file whole, so that a recipe can be looked at before anything is stored; weights stay where they are."""
    if file.path == adapters.WEIGHTS:
        return file
    data = file.stream.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise _wrong(f"{file.path} has more than {MAX_TEXT / 1e6:.0f} MB")
    if _sha256(data) != announced[file.path]:
        raise _wrong(f"the bytes of {file.path} are not those that it names; send them again")
    return adapters.Incoming(file.path, io.BytesIO(data))


def _evaluation(job: Composition, ids: set[str], one: Mapping[str, Any]) -> spec.Evaluation:
    _match("evaluation", one)
    detail = dict(one["detail"])
    _refuse_text(one)
    if len(json.dumps(detail)) > MAX_DETAIL:
        raise _wrong("an evaluation keeps more than it needs to")
    if any(row >= len(job.examples) for row in one["rows"] or ()):
        raise _wrong("an evaluation names examples that are not there")
    if one["phase"] == "shortlist" and not ({"kept", "refused", "effects", "loss"} <= detail.keys() and detail["kept"]):
        raise _wrong("a shortlist does not say what it kept")
    if not _is_gradient(detail.get("gradient", "")):
        raise _wrong("an evaluation has a gradient that is none")
    if not set(detail.get("kept", ())) <= ids or len(one["weights"]) > len(ids):
        raise _wrong("an evaluation speaks of adapters that are not this job's")
    largest = _largest_weight(job)
    if not all(_is_number(value, largest) for value in one["weights"]):
        raise _wrong("an evaluation holds a number that is none")
    rows = None if one["rows"] is None else tuple(one["rows"])
    return spec.Evaluation(one["step"], one["phase"], tuple(map(float, one["weights"])), float(one["loss"]), rows, detail)


def _is_gradient(text: str) -> bool:
    """Whether the text is numbers of four bytes in base64."""
    try:
        return len(base64.b64decode(text, validate=True)) % 4 == 0
    except ValueError:
        return False


def _score(job: Composition, score: Mapping[str, Any]) -> spec.Score:
    loss, accuracy, low, high = (float(score[key]) for key in ("loss", "accuracy", "low", "high"))
    if not low - HAIR <= accuracy <= high + HAIR:
        raise _wrong("a score lies outside its interval")
    if score["n"] != len(job.examples) or not job.examples:
        raise _wrong("a score is of another number of examples than the job has")
    return spec.Score(loss, accuracy, low, high, score["n"], score.get("module"))


def _match(kind: str, value: Any) -> None:
    fault = next(iter(_CHECKS[kind].iter_errors(value)), None)
    if fault is not None:
        where = ".".join(str(part) for part in fault.absolute_path)
        raise _wrong(f"{strict_json.shown(where) or 'it'} is not of the right kind ({strict_json.shown(fault.validator)})")


def _refuse_text(said: Mapping[str, Any]) -> None:
    """Refuse text that no database takes, and numbers that became infinite when they were read."""
    try:
        json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise _wrong("it holds a number or a text that cannot be kept") from error
    if any("\x00" in text for text in _texts(said)):
        raise _wrong("it holds a NUL character")


def _texts(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in (*value, *value.values()) if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _is_number(value: Any, largest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= largest + HAIR  # no number is not


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _wrong(what: str) -> HubError:
    return HubError("result-invalid", f"What the worker sent cannot be used: {what}.")
