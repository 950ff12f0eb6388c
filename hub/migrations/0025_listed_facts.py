from django.db import migrations, models

from hub.labels import targets

BATCH = 1000


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
    from hub.services.profiles import by_layer

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
