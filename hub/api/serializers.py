"""What the API answers about errors, adapters and the catalogue, field by field; the schema is made from these."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from compose_worker.engine import catalogue
from hub.models import Adapter, BaseModel, Parent, Profile, Revision
from hub.services import profiles


def page_of(item: type[serializers.Serializer]) -> serializers.Serializer:
    """Return the serializer of a page of `item`."""
    next_page = serializers.URLField(allow_null=True, help_text="The address of the next page; null on the last one.")
    return inline_serializer(f"{item.__name__}Page", {"items": item(many=True), "next": next_page})


def list_of(item: type[serializers.Serializer]) -> serializers.Serializer:
    """Return the serializer of a list that is never long."""
    return inline_serializer(f"{item.__name__}List", {"items": item(many=True)})


def page(adapter: Adapter) -> str:
    """Return the path of the adapter's page for people."""
    return reverse("adapter-detail", args=[adapter.owner.username, adapter.name])


class ErrorDetail(serializers.Serializer):
    """What went wrong."""

    code = serializers.CharField(help_text="Stable, for programs.")
    message = serializers.CharField(help_text="One sentence for people.")
    fields = serializers.DictField(child=serializers.CharField(), help_text="A sentence by the name of each field at fault.")


class Error(serializers.Serializer):
    """The one shape of every error."""

    error = ErrorDetail()


class Score(serializers.Serializer):
    """How a candidate does on examples it did not learn from."""

    loss = serializers.FloatField(help_text="Token-weighted cross-entropy in nats.")
    accuracy = serializers.FloatField(help_text="Share of examples whose whole answer is the greedy one.")
    low = serializers.FloatField(help_text="Lower end of the 95 % interval of the accuracy.")
    high = serializers.FloatField()
    n = serializers.IntegerField(help_text="Number of examples.")
    module = serializers.CharField(allow_null=True, help_text="The id of the adapter, where the candidate is a single one.")


class Scores(serializers.Serializer):
    """Scores of the candidates; empty before they are measured."""

    base = Score(required=False)
    best_single = Score(required=False)
    uniform = Score(required=False)
    composed = Score(required=False)


class File(serializers.Serializer):
    """A file of a revision."""

    path = serializers.CharField()
    size = serializers.IntegerField(source="blob.size")
    sha256 = serializers.CharField(source="blob_id")


class ParentItem(serializers.Serializer):
    """An adapter that a composed one was made from."""

    id = serializers.SerializerMethodField(help_text="Null where you may not see it.")
    revision = serializers.CharField(source="sha")
    weight = serializers.FloatField()

    @extend_schema_field({"type": "string", "nullable": True})
    def get_id(self, parent: Parent) -> str | None:
        """Return the id unless the adapter is private and someone else's; its present one, since another adapter may have the name that it had."""
        if parent.is_hidden_from(self.context["request"].user):
            return None
        return parent.repo_id if parent.adapter is None or parent.adapter.deleted_at else parent.adapter.repo_id


class RevisionItem(serializers.Serializer):
    """A revision in a list."""

    sha = serializers.CharField()
    parent = serializers.CharField(source="parent.sha", default=None, allow_null=True)
    author = serializers.CharField(source="author.username", default=None, allow_null=True)
    message = serializers.CharField()
    created_at = serializers.DateTimeField()
    composed = serializers.SerializerMethodField()

    def get_composed(self, revision: Revision) -> bool:
        """Return whether a composition made it."""
        return revision.recipe is not None


class NewRevision(RevisionItem):
    """What a commit made."""

    adapter = serializers.CharField(source="adapter.repo_id")
    url = serializers.SerializerMethodField(help_text="The adapter's page.")
    files = File(many=True)

    def get_url(self, revision: Revision) -> str:
        """Return the address of the adapter's page."""
        return str(self.context["request"].build_absolute_uri(page(revision.adapter)))


class AdapterItem(serializers.Serializer):
    """An adapter in a list."""

    id = serializers.CharField(source="repo_id", help_text="owner/name")
    kind = serializers.CharField(help_text="adapter, or base-model; lists hold adapters alone, and a base model is shown by its id.")
    owner = serializers.CharField(source="owner.username")
    name = serializers.CharField()
    private = serializers.BooleanField()
    gated = serializers.SerializerMethodField(help_text="Who is let in to its files: auto (whoever asks), manual (whom the owner accepts), null (everyone).")
    tags = serializers.SerializerMethodField()
    likes = serializers.IntegerField()
    downloads = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    url = serializers.SerializerMethodField(help_text="The page for people.")
    base_model = serializers.CharField()
    peft_type = serializers.CharField()
    rank = serializers.IntegerField(allow_null=True)
    composable = serializers.BooleanField()
    licence = serializers.CharField()
    summary = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes of all files.")
    sha = serializers.CharField(source="head.sha", default=None, allow_null=True, help_text="The newest revision; null where there are no files yet.")
    composed = serializers.BooleanField(help_text="Whether a composition made it.")
    archived = serializers.SerializerMethodField(help_text="Whether it takes no commits any more.")

    def get_archived(self, adapter: Adapter) -> bool:
        """Return whether its owner has archived it."""
        return adapter.archived_at is not None

    @extend_schema_field({"type": "string", "enum": Adapter.Gate.values, "nullable": True})
    def get_gated(self, adapter: Adapter) -> str | None:
        """Return the kind of gate."""
        return adapter.gated or None

    def get_tags(self, adapter: Adapter) -> list[str]:
        """Return the names."""
        return [tag.name for tag in adapter.tags.all()]

    def get_url(self, adapter: Adapter) -> str:
        """Return the address of its page."""
        return str(self.context["request"].build_absolute_uri(page(adapter)))


class AdapterDetail(AdapterItem):
    """An adapter with the files and facts of the revision asked for, else of the newest. Card, summary and licence are those of the newest."""

    refusal = serializers.SerializerMethodField(help_text="Why it cannot be composed, or empty.")
    card = serializers.CharField(source="card_text", help_text="README.md without its front matter, as Markdown.")
    facts = serializers.SerializerMethodField(help_text="What the weights are: type, ranks, target modules, tensors; null where there are none.")
    files = serializers.SerializerMethodField()
    scores = serializers.SerializerMethodField(help_text="Of a composed adapter.")
    parents = serializers.SerializerMethodField(help_text="What it was composed from.")

    @property
    def revision(self) -> Revision | None:
        """The revision that is shown."""
        return self.context["revision"]

    def get_refusal(self, adapter: Adapter) -> str:
        """Return the reason that inspection found."""
        if adapter.is_base_model:
            return "It is a base model."
        if self.revision is None or self.revision.facts is None:
            return "It holds no adapter: that takes adapter_config.json and adapter_model.safetensors."
        return str(self.revision.facts["refusal"])

    @extend_schema_field({"type": "object", "additionalProperties": {}, "nullable": True})
    def get_facts(self, adapter: Adapter) -> dict[str, Any] | None:
        """Return what inspection found."""
        return self.revision.facts if self.revision else None

    @extend_schema_field(File(many=True))
    def get_files(self, adapter: Adapter) -> Any:
        """Return the files of the revision."""
        return File(self.revision.files.select_related("blob") if self.revision else [], many=True).data

    @extend_schema_field(Scores(allow_null=True))
    def get_scores(self, adapter: Adapter) -> dict[str, Any] | None:
        """Return what the composition measured."""
        return self.revision.scores if self.revision else None

    @extend_schema_field(ParentItem(many=True))
    def get_parents(self, adapter: Adapter) -> Any:
        """Return the ingredients."""
        return ParentItem(self.revision.parents.select_related("adapter__owner") if self.revision else [], many=True, context=self.context).data

    def to_representation(self, adapter: Adapter) -> dict[str, Any]:
        """Replace the columns that repeat the newest revision where another one is shown."""
        found = super().to_representation(adapter)
        if self.revision is None or self.revision.pk == adapter.head_id:
            return found
        facts = self.revision.facts_or_empty
        return found | {
            "sha": self.revision.sha,
            "base_model": facts.get("base_model", ""),
            "peft_type": facts.get("peft_type", ""),
            "rank": facts.get("rank"),
            "composable": bool(facts.get("composable")),
            "composed": self.revision.recipe is not None,
            "size": sum(file["size"] for file in found["files"]),
        }


class SimilarItem(AdapterItem):
    """An adapter with how alike its update is."""

    similarity = serializers.FloatField(help_text="Cosine of the two updates, from fingerprints: 1 is the same up to its strength. Near 0 the error is 0.05.")
    nearly_the_same = serializers.SerializerMethodField(help_text=f"Whether the similarity is {profiles.NEAR} or more.")

    def get_nearly_the_same(self, adapter: Any) -> bool:
        """Return whether one is a copy of the other in all but rounding."""
        return bool(adapter.similarity >= profiles.NEAR)


class SimilarList(serializers.Serializer):
    """The adapters that are alike, and whether they have been looked for."""

    profile = serializers.ChoiceField(
        choices=["none", *Profile.Status.values],
        help_text="How far measuring the weights is; none: there is no LoRA to measure.",
    )
    items = SimilarItem(many=True)


class BaseModelItem(serializers.Serializer):
    """A base model that adapters here were trained on, or that a worker has."""

    name = serializers.CharField()
    adapters = serializers.IntegerField(help_text="How many adapters for it you may see.")
    hosted = serializers.SerializerMethodField(help_text="Whether clients can load it from this hub by its name.")
    available_at = serializers.DateTimeField(allow_null=True, help_text="When a worker last said that it has it; null where none ever did.")

    def get_hosted(self, base_model: BaseModel) -> bool:
        """Return whether it has a repository here."""
        return base_model.repository_id is not None


class SettingItem(serializers.Serializer):
    """A setting of a method."""

    name = serializers.CharField()
    title = serializers.CharField()
    help = serializers.CharField()
    kind = serializers.ChoiceField(choices=["int", "float", "bool", "choice", "weights"])
    default = serializers.SerializerMethodField()
    minimum = serializers.FloatField(allow_null=True)
    maximum = serializers.FloatField(allow_null=True)
    choices = serializers.ListField(child=serializers.CharField())

    @extend_schema_field(
        {"oneOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string"}, {"type": "object", "additionalProperties": {"type": "number"}}]}
    )
    def get_default(self, setting: catalogue.Setting) -> catalogue.Value:
        """Return the default as it is: a number, a flag, a text, or an object with a number for each adapter."""
        return setting.default


class MethodItem(serializers.Serializer):
    """A way to compose."""

    name = serializers.CharField()
    title = serializers.CharField()
    summary = serializers.CharField()
    reference = serializers.CharField()
    needs_examples = serializers.BooleanField(help_text="False where the weights are given: then examples are optional, and the adapters must be named.")
    settings = SettingItem(many=True)


class Storage(serializers.Serializer):
    """What an account stores and may store."""

    used = serializers.IntegerField(help_text="Bytes of all revisions, each blob once; deleted adapters count until they are removed.")
    limit = serializers.IntegerField(allow_null=True, help_text="null where there is none.")


class MyStorage(Storage):
    """What a person stores, and what they sent ahead of commits."""

    pending = serializers.IntegerField(help_text="Bytes that you sent and that no commit names yet; they go after a day.")


class Me(serializers.Serializer):
    """Who asks."""

    username = serializers.CharField()
    email = serializers.CharField()
    token = serializers.CharField(allow_null=True, help_text="The name of the access token; null for a browser's session.")
    scope = serializers.CharField(help_text="read or write")
    storage = MyStorage()


class Like(serializers.Serializer):
    """A like."""

    liked = serializers.BooleanField()
    likes = serializers.IntegerField()
