import django.db.models.deletion
from django.db import migrations, models

POSTGRESQL = [
    """ALTER TABLE hub_searchtext ADD COLUMN document tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector('english', title), 'A')
        || setweight(to_tsvector('simple', words), 'B') || setweight(to_tsvector('english', words), 'B')
        || setweight(to_tsvector('english', body), 'D')) STORED""",
    "CREATE INDEX hub_searchtext_document ON hub_searchtext USING gin (document)",
]
SQLITE = [
    """CREATE VIRTUAL TABLE hub_searchindex USING fts5(
        title, words, body, content='hub_searchtext', content_rowid='adapter_id', tokenize='porter unicode61 remove_diacritics 2', prefix='2 3')""",
    """CREATE TRIGGER hub_searchtext_added AFTER INSERT ON hub_searchtext BEGIN
        INSERT INTO hub_searchindex (rowid, title, words, body) VALUES (new.adapter_id, new.title, new.words, new.body); END""",
    """CREATE TRIGGER hub_searchtext_removed AFTER DELETE ON hub_searchtext BEGIN
        INSERT INTO hub_searchindex (hub_searchindex, rowid, title, words, body) VALUES ('delete', old.adapter_id, old.title, old.words, old.body); END""",
    """CREATE TRIGGER hub_searchtext_changed AFTER UPDATE ON hub_searchtext BEGIN
        INSERT INTO hub_searchindex (hub_searchindex, rowid, title, words, body) VALUES ('delete', old.adapter_id, old.title, old.words, old.body);
        INSERT INTO hub_searchindex (rowid, title, words, body) VALUES (new.adapter_id, new.title, new.words, new.body); END""",
]
NOT_SQLITE = ["DROP INDEX hub_searchtext_document", "ALTER TABLE hub_searchtext DROP COLUMN document"]
NOT_POSTGRESQL = ["DROP TRIGGER hub_searchtext_added", "DROP TRIGGER hub_searchtext_removed", "DROP TRIGGER hub_searchtext_changed", "DROP TABLE hub_searchindex"]


def _run(schema_editor, postgresql, sqlite):
    for statement in {"postgresql": postgresql, "sqlite": sqlite}[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def make(apps, schema_editor):
    """Let the database keep a full-text index of the table by itself."""
    _run(schema_editor, POSTGRESQL, SQLITE)


def drop(apps, schema_editor):
    _run(schema_editor, NOT_SQLITE, NOT_POSTGRESQL)


class Migration(migrations.Migration):

    dependencies = [
        ('hub', '0005_base_models'),
    ]

    operations = [
        migrations.CreateModel(
            name='SearchText',
            fields=[
                ('adapter', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='search_text', serialize=False, to='hub.adapter')),
                ('title', models.TextField(help_text='Owner and name, whole and in parts.')),
                ('words', models.TextField(help_text='Tags, task, base model, datasets, languages.')),
                ('body', models.TextField(help_text='The card.')),
            ],
        ),
        migrations.CreateModel(
            name='Facet',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=12)),
                ('value', models.CharField(max_length=250)),
                ('adapter', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='facets', to='hub.adapter')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('name', 'value', 'adapter'), name='facet_once')],
            },
        ),
        migrations.AddField(
            model_name='adapter',
            name='trend',
            field=models.PositiveIntegerField(default=0, help_text='Downloads of the last seven days.'),
        ),
        migrations.AddIndex(
            model_name='adapter',
            index=models.Index(fields=['-trend', '-id'], name='adapter_trend'),
        ),
        migrations.AddIndex(
            model_name='adapter',
            index=models.Index(fields=['-created_at', '-id'], name='adapter_created_at'),
        ),
        migrations.RunPython(make, drop),
    ]
