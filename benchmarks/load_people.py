"""Fills the hub of the load benchmark through its verbs: people with tokens, and tiny adapters with cards, tags and real bytes."""

import io
import json
import random
from pathlib import Path

from hub.models import User
from hub.services import accounts, adapters
from tests import make

WEIGHTS = 12  # different ones; what lists and searches read differs in every adapter
TAGS = ("math", "translation", "french", "german", "summarization", "sentiment", "code", "dates", "plurals", "questions")
WORDS = "addition numbers words sentences answers short long careful trained rows digits verbs nouns reviews hotels".split()  # noqa: SIM905


def write(folder: str, users: int, count: int) -> None:
    """Make the people and adapters, and write their tokens and names into `folder`."""
    draw = random.Random(0)
    people = [User.objects.create(username=f"person-{n}", email=f"person-{n}@example.org") for n in range(users)]
    tokens = [accounts.create_token(actor=person, name="load", scope="write")[1] for person in people]
    found = []
    for number in range(count):
        tags = draw.sample(TAGS, 2)
        card = f"---\nlicense: mit\n---\n# {' '.join(draw.sample(WORDS, 4))}\n\n{' '.join(draw.choices(WORDS, k=60))}\n"
        files = make.adapter(seed=number % WEIGHTS, card=card)
        incoming = [adapters.Incoming(path, io.BytesIO(data)) for path, data in files.items()]
        revision = adapters.publish(actor=draw.choice(people), name=f"{draw.choice(WORDS)}-{number}", tags=tags, files=incoming, message="Upload")
        weights = revision.files.get(path=adapters.WEIGHTS)
        found.append({"id": revision.adapter.repo_id, "sha256": weights.blob_id, "size": weights.blob.size})
    people_file = {"tokens": tokens, "names": [person.username for person in people], "adapters": found, "tags": TAGS, "words": WORDS}
    Path(folder, "people.json").write_text(json.dumps(people_file))
