"""Adapters of the first release are found by labels after the upgrade."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

BEFORE, AFTER = [("hub", "0001_initial")], [("hub", "0002_hub_protocol")]


@pytest.mark.django_db(transaction=True)
def test_labels_are_filled():
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("hub")
    try:
        executor = MigrationExecutor(connection)
        executor.migrate(BEFORE)
        apps = executor.loader.project_state(BEFORE).apps
        user = apps.get_model("hub", "User").objects.create(username="old")
        columns = {"base_model": "tiny/llama", "peft_type": "LORA", "licence": "mit"}
        adapter = apps.get_model("hub", "Adapter").objects.create(owner=user, name="a", **columns)
        facts = {"task_type": "CAUSAL_LM"}
        adapter.head = apps.get_model("hub", "Revision").objects.create(adapter=adapter, sha="0" * 40, created_at=timezone.now(), facts=facts)
        adapter.save()
        executor = MigrationExecutor(connection)
        executor.migrate(AFTER)
        found = executor.loader.project_state(AFTER).apps.get_model("hub", "Adapter").objects.get()
        wanted = ["peft", "lora", "safetensors", "text-generation", "base_model:tiny/llama", "base_model:adapter:tiny/llama", "license:mit"]
        assert found.labels == "\n" + "\n".join(wanted) + "\n"
    finally:
        MigrationExecutor(connection).migrate(newest)
