"""Cards that the hub writes: the first one, what is added to one that is there, and what hostile words in them do not do."""

import json

import pytest

from hub import card
from hub.models import User
from hub.services import cards
from tests import make
from tests.conftest import Upload
from tests.services.stage import refused

CONFIG = json.dumps(
    {"peft_type": "LORA", "base_model_name_or_path": make.BASE, "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
).encode()


def test_a_first_card() -> None:
    said = cards.filled(licence="mit", description="Adds numbers.", prompts="1 + 1\n\n 2 + 2 \n")
    text = cards.write(text="", said=said, repo_id="acme/sums", config=CONFIG)
    parsed = card.parse(text)
    assert (parsed.licence, parsed.base_model, parsed.pipeline_tag, parsed.summary) == ("mit", make.BASE, "text-generation", "Adds numbers.")
    assert parsed.data["widget"] == [{"text": "1 + 1"}, {"text": "2 + 2"}] and parsed.data["library_name"] == "peft"
    assert parsed.body.startswith("# sums\n") and 'PeftModel.from_pretrained(model, "acme/sums")' in text


@pytest.mark.parametrize("config", [b"", b"{}", b"[", b"\xff"])
def test_a_first_card_without_a_config(config: bytes) -> None:
    text = cards.write(text="", said=cards.filled(), repo_id="acme/sums", config=config)
    assert card.parse(text).data == {} and "not written down yet" in text and "from_pretrained" not in text


def test_what_the_card_says_stays() -> None:
    text = "---\n# a comment\nlicense: apache-2.0   # ours\ntags: [a]\n---\n# Mine\n\nDoes a thing.\n"
    assert cards.write(text=text, said=cards.filled(), repo_id="acme/x", config=CONFIG) == text
    said = cards.filled(licence="mit", task="text-generation", description="Another.", prompts="go")
    assert cards.write(text=text, said=said, repo_id="acme/x", config=CONFIG) == (
        "---\n# a comment\nlicense: apache-2.0   # ours\ntags: [a]\npipeline_tag: text-generation\nwidget:\n- text: go\n---\n# Mine\n\nDoes a thing.\n"
    )
    bare = cards.write(text="# Mine\r\n", said=said, repo_id="acme/x")
    assert card.parse(bare).licence == "mit" and card.parse(bare).summary == "Another." and bare.count("# Mine") == 1


HOSTILE = ["a: b\n---\nlicense: evil", "---", "```\n# fence", "' \" {x: [", "<script>", "é \u2028 \u0085", "&anchor *alias !!python/object:os.system x"]


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_words_are_only_words(words: str) -> None:
    said = cards.filled(licence="mit", description=words, prompts=words.replace("\n", " "))
    parsed = card.parse(cards.write(text="", said=said, repo_id="acme/sums", config=CONFIG))
    assert parsed.licence == "mit" and set(parsed.data) == {"base_model", "library_name", "license", "pipeline_tag", "widget"}
    assert parsed.data["widget"][0]["text"].replace(" ", "")[:3] == words.replace("\n", " ").strip().replace(" ", "")[:3]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"licence": "my licence"}, "licence-invalid"),
        ({"licence": "mit\nx: y"}, "licence-invalid"),
        ({"task": "cooking"}, "task-invalid"),
        ({"prompts": "x\n" * 11}, "prompts-invalid"),
        ({"prompts": "x" * 501}, "prompts-invalid"),
        ({"description": "x" * 2001}, "description-invalid"),
    ],
)
def test_what_is_refused(given: dict[str, str], code: str) -> None:
    with refused(code, 400):
        cards.filled(**given)


@pytest.mark.django_db
def test_tags_come_from_card_words_and_config(owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "a", tags=("arithmetic", "word problems"))
    upload(owner, "hidden", seed=1, private=True, tags=("hushtag",))
    text = "---\ntags: [Own]\nlanguage: en\n---\n# X\n\nMaths with hushtag words and problems.\n"
    assert cards.tags(actor=stranger, text=text, name="x", config=CONFIG) == ["own", "en", "arithmetic", "word problems", "lora"]
    assert "hushtag" in cards.tags(actor=owner, text=text, name="x", config=b"")
    assert cards.tags(actor=stranger, text="---\n: :\n[", name="arithmetic", config=b"") == ["arithmetic"]
