"""Holds migrations against the release before them, on PostgreSQL; `make lint` runs it.

While a hub is brought to a new version, processes of the old one go on reading, and may write, beside the new tables.
"""

import os
import sys
from typing import Any

# Made before the first release: nothing older ever ran beside them.
FIRST = (
    "0001_initial",
    "0002_hub_protocol",
    "0003_chunk_index",
    "0004_browser_login",
    "0005_base_models",
    "0006_search",
    "0007_finish_requested",
    "0008_gated",
    "0009_condemned_blobs",
    "0010_job_priority",
    "0011_audit_log",
    "0012_belong",
    "0013_imports",
    "0014_profiles",
    "0015_social",
    "0020_remote_workers",
    "0025_listed_facts",
    "0030_scale",
)
STRICT = ("CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE", "DROP_INDEX", "REINDEX")  # what only locks a table is an error too
ENGINE = "django.db.backends.postgresql"


def faults(statements: list[str]) -> set[str]:
    """Return the codes of what would break or hold up the older version in these statements of one migration."""
    from django_migration_linter.sql_analyser import analyse_sql_statements, get_sql_analyser_class

    errors, _, warnings = analyse_sql_statements(get_sql_analyser_class(ENGINE), statements)
    return {issue.code for issue in errors} | {issue.code for issue in warnings if issue.code in STRICT}


def linter(**options: Any) -> Any:
    """Return the linter of the migrations that a release has before it."""
    from django_migration_linter import MigrationLinter

    return MigrationLinter(include_apps=["hub"], ignore_name=FIRST, no_cache=True, warnings_as_errors_tests=STRICT, **options)


def main() -> int:
    """Lint on a throw-away PostgreSQL, whose statements are the ones that count."""
    from tests import servers

    os.environ["DATABASE_URL"] = servers.postgres(servers.temporary_folder())
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    found = linter(quiet=["ok", "ignore"])
    found.lint_all_migrations()
    found.print_summary()
    return int(found.has_errors)


if __name__ == "__main__":
    sys.exit(main())
