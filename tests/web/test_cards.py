"""What a card's front matter adds to the adapter's page: prompts, stated results, the licence; and the snippets."""

from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.models import Adapter, User
from hub.services import adapters
from hub.web import front_matter, licences
from tests.conftest import Upload, commit
from tests.web.conftest import page, text

CARD = """---
license: apache-2.0
widget:
  - {text: "What is <b>2</b> plus 3?", example_title: Adding, output: {text: "5"}}
  - messages: [{role: user, content: Hello}]
  - {src: some.png}
model-index:
  - name: sums
    results:
      - task: {type: text-generation, name: Arithmetic}
        dataset: {type: bigbench, name: Sums, split: test}
        metrics: [{type: exact_match, value: 0.49, name: Exact match}, {type: loss, value: "low"}, {type: odd}]
        source: {name: The paper, url: "javascript:alert(1)"}
---
# Sums

Adds.
"""


def test_the_front_matter_is_shown(anonymous: Client, owner: User, upload: Upload) -> None:
    adapter = upload(owner, "stated", card=CARD)
    html, said = page(anonymous.get("/owner/stated")), text(anonymous.get("/owner/stated"))
    assert "<code>What is &lt;b&gt;2&lt;/b&gt; plus 3?</code>" in html and "Answer 5" in said and "<code>user: Hello</code>" in html
    assert "Sums, test Arithmetic Exact match 0.49 The paper" in said and "loss low" in said and "not measured by this hub" in said
    assert "javascript:" not in html
    assert f"Apache 2.0 {licences.LICENCES['apache-2.0'].permits}" in said
    first = adapter.head.short
    commit(adapter, {"README.md": b"---\nlicense: my-own\n---\n# Other\n"})
    now, before = (text(anonymous.get(f"/owner/stated?revision={sha}")) for sha in ("main", first))
    assert "Sample prompts" not in now and "Licence my-own" in now and "Sample prompts" in before and "Apache 2.0" in before


NAMES = ["widget", "text", "messages", "output", "model-index", "results", "metrics", "value", "task", "name"]
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
)


@settings(max_examples=150, deadline=None)
@given(widget=JSON, index=JSON)
def test_no_front_matter_breaks_the_page(widget: Any, index: Any) -> None:
    found = front_matter.read({"widget": widget, "model-index": index})
    assert all(isinstance(value, str) for row in (*found.prompts, *found.results) for value in vars(row).values())


def test_long_front_matter_is_cut() -> None:
    widget = [{"text": "x" * 9000}] * 50
    results = [{"results": [{"metrics": [{"value": 1}] * 40}] * 40}]
    found = front_matter.read({"widget": widget, "model-index": results})
    assert (len(found.prompts), len(found.prompts[0].text), len(found.results)) == (12, 2000, 60)


@pytest.mark.parametrize(("said", "name"), [("Apache-2.0", "Apache 2.0"), ("GPL-3.0-or-later", "GPL 3"), ("mit", "MIT"), ("other", None), ("", None)])
def test_licences(said: str, name: str | None) -> None:
    found = licences.find(said)
    assert (found.name if found else None) == name


def test_snippets_fit_the_adapter(anonymous: Client, as_owner: Client, sums: Adapter, owner: User, upload: Upload) -> None:
    html = page(anonymous.get("/owner/sums"))
    for line in ("hf download owner/sums", "curl -fL -o sums/$f", "PeftModel.from_pretrained(", "model.load_adapter(", "--max-lora-rank 8", "sums=./sums"):
        assert line in html, line
    assert "/data/sums" in html and "HF_TOKEN" not in html
    upload(owner, "wide", rank=4, seed=1, rank_pattern={"q_proj": 4}, use_dora=True)
    assert "vllm serve" not in page(anonymous.get("/owner/wide"))
    upload(owner, "seq", seed=2, task_type="SEQ_2_SEQ_LM")
    assert "vllm serve" not in page(anonymous.get("/owner/seq")) and "AutoModelForSeq2SeqLM" in page(anonymous.get("/owner/seq"))
    adapters.update(actor=owner, adapter=sums, private=True)
    assert "HF_TOKEN" in page(as_owner.get("/owner/sums"))
