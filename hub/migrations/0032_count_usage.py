from django.db import migrations

HOLDINGS = """
    INSERT INTO hub_holding (account_id, blob_id)
    SELECT DISTINCT adapter.owner_id, file.blob_id FROM hub_revisionfile file
    JOIN hub_revision revision ON revision.id = file.revision_id JOIN hub_adapter adapter ON adapter.id = revision.adapter_id
"""
USAGE = """
    INSERT INTO hub_usage (account_id, bytes)
    SELECT holding.account_id, SUM(blob.size) FROM hub_holding holding JOIN hub_blob blob ON blob.sha256 = holding.blob_id GROUP BY holding.account_id
"""


class Migration(migrations.Migration):
    """Counts what accounts store already."""

    dependencies = [
        ('hub', '0031_storage'),
    ]

    operations = [
        migrations.RunSQL(HOLDINGS, 'DELETE FROM hub_holding'),
        migrations.RunSQL(USAGE, 'DELETE FROM hub_usage'),
    ]
