"""Which migrations a release may have: those beside which the version before it goes on."""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from tests import migrations

TABLE = 'ALTER TABLE "hub_adapter"'


@pytest.mark.parametrize(
    ("code", "statements"),
    [
        ("DROP_COLUMN", [f'{TABLE} DROP COLUMN "size" CASCADE']),
        ("DROP_TABLE", ['DROP TABLE "hub_tag" CASCADE']),
        ("RENAME_COLUMN", [f'{TABLE} RENAME COLUMN "size" TO "bytes"']),
        ("RENAME_TABLE", [f'{TABLE} RENAME TO "hub_module"']),
        ("ALTER_COLUMN", [f'{TABLE} ALTER COLUMN "size" TYPE integer USING "size"::integer']),
        ("NOT_NULL", [f'{TABLE} ADD COLUMN "stars" integer DEFAULT 0 NOT NULL', f'{TABLE} ALTER COLUMN "stars" DROP DEFAULT']),
        ("ADD_UNIQUE", [f'{TABLE} ADD CONSTRAINT "once" UNIQUE ("size")']),
        ("CREATE_INDEX", ['CREATE INDEX "by_size" ON "hub_adapter" ("size")']),
    ],
)
def test_what_would_break_the_version_before_is_refused(code: str, statements: list[str]) -> None:
    assert code in migrations.faults(statements)


@pytest.mark.parametrize(
    "statements",
    [
        [f'{TABLE} ADD COLUMN "stars" integer NULL'],
        [f'{TABLE} ADD COLUMN "stars" integer DEFAULT 0 NOT NULL'],
        ['CREATE INDEX CONCURRENTLY "by_size" ON "hub_adapter" ("size")'],
        ['CREATE TABLE "hub_new" ("id" bigint NOT NULL PRIMARY KEY)', 'CREATE INDEX "new_id" ON "hub_new" ("id")'],
    ],
)
def test_what_it_does_not_notice_is_not(statements: list[str]) -> None:
    assert migrations.faults(statements) == set()


@pytest.mark.django_db
def test_the_first_version_reads_beside_the_newest_tables() -> None:
    """What the code of the last migration before the first release asks of every table, the tables of today answer."""
    loader = MigrationLoader(connection)
    assert [name for name in migrations.FIRST if ("hub", name) not in loader.disk_migrations] == []
    old: Any = loader.project_state([("hub", migrations.FIRST[-1])]).apps
    tables = list(old.get_app_config("hub").get_models())
    assert len(tables) > 30
    for model in tables:
        list(model._base_manager.all()[:1])
