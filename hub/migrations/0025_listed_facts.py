import math

from django.db import migrations, models

BATCH = 1000
LAYERS = 48


def targets(names):
    """As hub.labels says it."""
    found = " ".join(sorted({str(name).rpartition(".")[2].removesuffix("_proj") for name in names}))
    return found if len(found) <= 60 else f"{found[:59]}…"


def by_layer(matrices):
    """As hub.services.profiles says it."""
    squares = {}
    for _, layer, _, norm, *_ in matrices:
        if layer is not None:
            squares[layer] = squares.get(layer, 0.0) + norm**2
    if not squares or not max(squares.values()):
        return ""
    group = -(-(max(squares) + 1) // LAYERS)
    heights = [max(squares.get(layer, 0.0) for layer in range(first, first + group)) for first in range(0, max(squares) + 1, group)]
    return "".join(str(round(9 * math.sqrt(height / max(heights)))) for height in heights)


def fill(apps, schema_editor):
    """Say of the adapters that are there which matrices they change."""
    Adapter = apps.get_model("hub", "Adapter")
    batch = []
    for row in Adapter.objects.filter(head__facts__isnull=False).select_related("head").only("pk", "targets", "head__facts").iterator(BATCH):
        row.targets = targets((row.head.facts or {}).get("target_modules") or [])
        batch.append(row)
        if len(batch) == BATCH:
            Adapter.objects.bulk_update(batch, ["targets"])
            batch = []
    Adapter.objects.bulk_update(batch, ["targets"])


def draw(apps, schema_editor):
    """Give the profiles that are there their change by layer."""
    Profile = apps.get_model("hub", "Profile")
    for row in Profile.objects.filter(matrices__isnull=False).only("pk", "matrices").iterator(100):
        Profile.objects.filter(pk=row.pk).update(by_layer=by_layer(row.matrices))


class Migration(migrations.Migration):
    dependencies = [("hub", "0020_remote_workers")]

    operations = [
        migrations.AddField(
            model_name="adapter",
            name="targets",
            field=models.CharField(blank=True, default="", help_text="The matrices that it changes, in short: k q v.", max_length=60),
        ),
        migrations.AddField(
            model_name="profile",
            name="by_layer",
            field=models.CharField(blank=True, default="", help_text="The change by layer for lists: a digit each, 9 for the largest.", max_length=64),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(draw, migrations.RunPython.noop, elidable=True),
    ]
