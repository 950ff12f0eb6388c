"""Whole models that were pushed before there were base models become such, and stay their owners'."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

BEFORE, AFTER = [("hub", "0004_browser_login")], [("hub", "0005_base_models")]
FILES = {
    "model": ("config.json", "model.safetensors"),
    "hidden": ("config.json", "model.safetensors"),
    "plain": ("config.json", "notes.txt"),
    "lora": ("adapter_config.json", "adapter_model.safetensors"),
}


@pytest.mark.django_db(transaction=True)
def test_models_are_marked() -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("hub")
    try:
        executor = MigrationExecutor(connection)
        executor.migrate(BEFORE)
        old = executor.loader.project_state(BEFORE).apps
        user = old.get_model("hub", "User").objects.create(username="old")
        blob = old.get_model("hub", "Blob").objects.create(sha256="0" * 64, size=1)
        for number, (name, paths) in enumerate(FILES.items()):
            adapter = old.get_model("hub", "Adapter").objects.create(owner=user, name=name, private=name == "hidden", base_model="tiny/llama")
            facts = {"task_type": "CAUSAL_LM"} if name == "lora" else None
            sha = f"{number:040x}"
            adapter.head = old.get_model("hub", "Revision").objects.create(adapter=adapter, sha=sha, created_at=timezone.now(), facts=facts)
            adapter.save()
            for path in paths:
                old.get_model("hub", "RevisionFile").objects.create(revision=adapter.head, path=path, blob=blob)
        executor = MigrationExecutor(connection)
        executor.migrate(AFTER)
        new = executor.loader.project_state(AFTER).apps
        found = {row.name: (row.kind, row.base_model) for row in new.get_model("hub", "Adapter").objects.all()}
        adapter_kind, model_kind = ("adapter", "tiny/llama"), ("base-model", "")
        assert found == {"model": model_kind, "hidden": model_kind, "plain": adapter_kind, "lora": adapter_kind}
        assert list(new.get_model("hub", "BaseModel").objects.values_list("name", "repository__name")) == [("old/model", "model")]
    finally:
        MigrationExecutor(connection).migrate(newest)
