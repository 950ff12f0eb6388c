"""Reads JSON bodies strictly: an unknown key or a value of another type is an error, never a guess."""

from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.request import Request

from compose_worker.engine import catalogue
from hub.api import text
from hub.api.errors import invalid
from hub.errors import HubError
from hub.models import Adapter, Report
from hub.services import comments, moderation, reports

EXAMPLE = {
    "type": "object",
    "properties": {"input": {"type": "string"}, "output": {"type": "string"}},
    "required": ["input", "output"],
    "additionalProperties": False,
}


class StrictField(serializers.Field):
    """A JSON value that is taken as it is or refused; `what` ends the sentence "it must be ...". Ranges are the verb's business."""

    default_error_messages = {"required": "it is required.", "null": "it must not be null."}

    def __init__(self, accepts: Callable[[Any], bool], what: str, described: dict[str, Any], **more: Any) -> None:
        super().__init__(**more)
        self.accepts, self.what, self.described = accepts, what, described

    def to_internal_value(self, data: Any) -> Any:
        """Return the value as it is, or refuse it."""
        if not self.accepts(data):
            raise serializers.ValidationError(f"it must be {self.what}.")
        return data


class StrictFieldSchema(OpenApiSerializerFieldExtension):
    """Describes a strict field in the API's schema."""

    target_class = StrictField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """Return what the field itself says."""
        return dict(self.target.described)


def words(limit: int, **more: Any) -> StrictField:
    """Return a field for a text."""
    described = {"type": "string", "maxLength": limit}
    return StrictField(lambda data: isinstance(data, str) and len(data) <= limit, f"a text of at most {limit} characters", described, **more)


def flag(**more: Any) -> StrictField:
    """Return a field for yes or no."""
    return StrictField(lambda data: isinstance(data, bool), "true or false", {"type": "boolean"}, **more)


def one_of(values: Sequence[str], **more: Any) -> StrictField:
    """Return a field for one of a few words."""
    return StrictField(lambda data: data in values, f"one of: {', '.join(values)}", {"type": "string", "enum": list(values)}, **more)


def _gate(**more: Any) -> StrictField:
    described = {"type": "string", "enum": [*Adapter.Gate.values, ""], "description": "auto: whoever asks; manual: whom you accept; empty: everyone."}
    return StrictField(lambda data: data in ("", *Adapter.Gate.values), "auto, manual or empty", described, **more)


def _texts(**more: Any) -> StrictField:
    return StrictField(_are_texts, "a list of texts", {"type": "array", "items": {"type": "string"}}, **more)


def _are_texts(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(item, str) for item in data)


class NewAdapter(serializers.Serializer):
    """The body of POST adapters."""

    name = words(200)
    owner = words(200, default="", help_text="An organisation whose writer or owner you are; without it, you.")
    private = flag(default=False)
    tags = _texts(default=list)


class AdapterChange(serializers.Serializer):
    """The body of PATCH adapters/{owner}/{name}; what is left out stays."""

    name = words(200, required=False, help_text="Another name; the old id leads to the new one.")
    private = flag(required=False)
    gated = _gate(required=False)
    archived = flag(required=False, help_text="An archived adapter takes no commits and is not suggested.")
    tags = _texts(required=False)


def _number(**more: Any) -> StrictField:
    described = {"type": "integer", "minimum": 1, "nullable": True}
    return StrictField(lambda data: data is None or (type(data) is int and 0 < data < 2**63), "a number, or null", described, allow_null=True, **more)


class NewComment(serializers.Serializer):
    """The body of POST adapters/{owner}/{name}/comments."""

    body = words(comments.MAX_BODY, help_text="Markdown.")
    reply_to = _number(default=None, help_text="The id of the comment that this one answers.")


class CommentChange(serializers.Serializer):
    """The body of PATCH adapters/{owner}/{name}/comments/{number}."""

    body = words(comments.MAX_BODY, help_text="Markdown.")


class NewReport(serializers.Serializer):
    """The body of POST .../reports."""

    reason = StrictField(
        lambda data: data in Report.Reason.values, f"one of: {', '.join(Report.Reason.values)}", {"type": "string", "enum": Report.Reason.values}
    )
    text = words(reports.MAX_TEXT, default="", help_text="What is wrong, in your words; needed where the reason is other.")


class NewCollection(serializers.Serializer):
    """The body of POST collections."""

    title = words(200)
    description = words(1_000, default="")
    private = flag(default=False)


class CollectionChange(serializers.Serializer):
    """The body of PATCH collections/{collection_id}; what is left out stays."""

    title = words(200, required=False)
    description = words(1_000, required=False)
    private = flag(required=False)


class NewCollectionItem(serializers.Serializer):
    """The body of POST collections/{collection_id}/items."""

    adapter = words(200, help_text="owner/name")
    note = words(1_000, default="")


class CollectionItemChange(serializers.Serializer):
    """The body of PATCH collections/{collection_id}/items/{item_id}; what is left out stays."""

    note = words(1_000, required=False)
    position = StrictField(
        lambda data: type(data) is int and 0 <= data < 2**31, "a number from 0", {"type": "integer", "minimum": 0}, required=False, help_text="From 0."
    )


class NewComposition(serializers.Serializer):
    """The body of POST compositions."""

    base_model = words(500, help_text="See GET /api/v1/base-models.")
    modules = StrictField(
        lambda data: isinstance(data, str) or _are_texts(data),
        'a list of adapter ids such as "acme/my-lora", or "auto"',
        {
            "oneOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": catalogue.MAX_MODULES},
                {"type": "string", "enum": ["auto"]},
            ]
        },
        help_text="Ids, each as owner/name or owner/name@revision; or auto, which tries every adapter for the base model.",
    )
    examples = StrictField(
        lambda data: isinstance(data, list),
        'a list of {"input": "...", "output": "..."}',
        {"type": "array", "items": EXAMPLE, "maxItems": catalogue.MAX_EXAMPLES},
        default=list,
        help_text=f"{catalogue.MIN_EXAMPLES} to {catalogue.MAX_EXAMPLES} pairs. Methods that do not need examples also take none.",
    )
    name = words(200, help_text="The name of the result.")
    owner = words(200, default="", help_text="An organisation under which the result is published; without it, you.")
    method = words(100, default=catalogue.DEFAULT_METHOD, help_text="See GET /api/v1/methods.")
    settings = StrictField(
        lambda data: isinstance(data, dict),
        "an object",
        {"type": "object", "additionalProperties": {"oneOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string"}, {"type": "object"}]}},
        default=dict,
        help_text="Settings of the method; what is left out takes its default.",
    )
    seed = StrictField(
        lambda data: isinstance(data, int) and not isinstance(data, bool),
        "a whole number",
        {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        default=0,
    )
    private = flag(default=False)
    anywhere = flag(default=False, help_text="It may run on machines that people lend to the hub; their owners can read the examples. Not for private results.")
    description = words(1_000, default="", help_text="What the task is, for the card of the result.")


class NewImport(serializers.Serializer):
    """The body of POST imports."""

    repo_id = words(200, help_text="The adapter's id there, as owner/name; never an address.")
    revision = words(100, default="main", help_text="A branch, tag or commit there.")
    name = words(200, default="", help_text="The name it gets here; without one, the name that it has there.")
    owner = words(100, default="", help_text="Whose it will be here: you.")
    private = flag(default=False)


class Decision(serializers.Serializer):
    """The body of POST /moderation/reports/{number}."""

    decision = one_of(moderation.DECISIONS)
    reason = one_of(Report.Reason.values, default="", help_text="What people are told; the report's own where none is given.")
    text = words(moderation.MAX_TEXT, default="", help_text="What the owner is told beyond the reason.")


class Undoing(serializers.Serializer):
    """The body of POST /moderation/undo."""

    what = one_of(moderation.UNDONE)
    of = words(200, help_text="The number of the adapter or comment, or the name of the account.")


def read(request: Request, form: type[serializers.Serializer]) -> dict[str, Any]:
    """Return the body's values as `form` describes them."""
    data = request.data
    if not isinstance(data, dict):
        raise HubError("body-invalid", "The body must be a JSON object.")
    body = form(data=data)
    unknown = next((key for key in data if key not in body.fields), None)
    if unknown is not None:
        shown = unknown[:60].encode("utf-8", "replace").decode()
        raise HubError("unknown-field", f"There is no field {shown!r} here. The fields are: {', '.join(body.fields)}.", fields={shown: "Unknown."})
    # The rows of examples are left to the verb, which names each by its number; so are measurements.
    if problems := text.faults({key: value for key, value in data.items() if key not in ("examples", "evaluations")}):
        raise invalid(problems)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)
