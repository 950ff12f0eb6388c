"""The front matter of cards on its way to clients, and what our rules say of one on its way in."""

from typing import Any

from django.http import HttpRequest, JsonResponse

from hub import card
from hub.errors import HubError
from hub.hf import body, errors
from hub.hf.door import door

# Names that the clients' own constructors use: a card with one of these would break every listing that shows it.
RESERVED = frozenset(("self", "ignore_metadata_errors", "eval_results"))
MAX_CARD_JSON = 5_000_000


def for_clients(data: dict[str, Any]) -> dict[str, Any]:
    """Return the front matter without what makes a client's parser fail: a stranger's card must not break a listing."""
    found = {name: value for name, value in data.items() if name not in RESERVED}
    tags = found.get("tags")
    if tags is not None and not _are(tags, str):
        found["tags"] = [tag for tag in (tags if isinstance(tags, list) else [tags]) if isinstance(tag, str)]
    if "model-index" in found and not _is_model_index(found["model-index"]):
        del found["model-index"]
    return found


@door("POST", changes=False)
def validate(request: HttpRequest) -> JsonResponse:
    """Say what is wrong with a card before it is uploaded: errors stop the upload, warnings are shown."""
    sent = body.json(request, limit=MAX_CARD_JSON)
    if body.text(sent, "repoType", "model") not in ("model", ""):
        raise errors.not_offered("Medley hosts models only, and checks their cards alone.")
    try:
        parsed = card.parse(body.text(sent, "content", limit=card.MAX_CARD * 2))
    except HubError as error:
        answer = errors.answer(request, error, errors=[{"message": error.message}], warnings=[])
        answer.status_code = 400
        return answer
    return JsonResponse({"errors": [], "warnings": [{"message": text} for text in _warnings(parsed)]})


def _warnings(parsed: card.Card) -> list[str]:
    found = []
    if not parsed.data:
        found.append("The card has no front matter. Put license, base_model and tags between two lines of --- at its top, and others will find the adapter.")
        return found
    if not parsed.licence:
        found.append("The card names no licence. Add a line such as license: apache-2.0.")
    if (results := parsed.data.get("model-index")) and not _is_model_index(results):
        found.append("The results in model-index are not in the form that clients read, and ModelCard.load will fail. Mend them, or leave model-index out.")
    if odd := [str(name) for name in parsed.data if name in RESERVED or not isinstance(name, str)]:
        found.append(f"ModelCard.load fails on a card with the field {odd[0][:40]!r}. Give it another name; names are texts.")
    dropped = [name for name in ("tags", "datasets", "language") if parsed.data.get(name) and not _are_texts(parsed.data[name])]
    if dropped:
        found.append(f"Only texts count in {', '.join(dropped)}; other values are left out.")
    return found


def _are_texts(value: Any) -> bool:
    return isinstance(value, str) or _are(value, str)


def _are(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _is_model_index(value: Any) -> bool:
    return _are(value, dict) and bool(value) and all(isinstance(m.get("name"), str) and _are(m.get("results"), dict) for m in value) and _are_results(value)


def _are_results(models: list[dict[str, Any]]) -> bool:
    """Say whether each result has the task, dataset and metrics that clients read without looking."""
    for result in (result for model in models for result in model["results"]):
        task, dataset, metrics = result.get("task"), result.get("dataset"), result.get("metrics")
        if not isinstance(task, dict) or not isinstance(dataset, dict) or not _are(metrics, dict):
            return False
        source = result.get("source", {})
        named = (task.get("type"), dataset.get("type"), dataset.get("name"), *(metric.get("type") for metric in metrics))
        if not isinstance(source, dict) or not all(isinstance(text, str) for text in named) or not all("value" in metric for metric in metrics):
            return False
    return True
