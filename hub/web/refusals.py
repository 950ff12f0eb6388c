"""What keeps a composition from starting, as the summary at the top of the compose page lists it: a line for each field, in the order of the page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django import forms

from compose_worker.engine import catalogue
from hub.web import method_fields

ROWS = 3  # as many rows of the table are named; they are marked there, all of them


@dataclass(frozen=True)
class Refusal:
    """One line: which field is meant, what is wrong with it, and where it is on the page."""

    label: str
    said: str
    anchor: str = ""
    row: int | None = None  # of the table; 0 is its first empty one


def listed(form: forms.Form, problems: Mapping[str, str]) -> list[Refusal]:
    """Return the lines for what the form found and for the other problems by field."""
    return [
        *_of_fields(form, "base_model", "name", "owner", "description", "private", "anywhere"),
        *_of_examples(problems),
        *_of_fields(form, "text", "file", "how"),
        *([Refusal("Adapters", problems["modules"], f"how-{form['how'].value()}")] if "modules" in problems else []),
        *_of_fields(form, "method"),
        *([Refusal("Method", problems["settings"], "s4")] if "settings" in problems else []),
        *_of_settings(form, problems),
        *_of_fields(form, "seed"),
        *([Refusal("", problems[""])] if "" in problems else []),
    ]


def by_row(problems: Mapping[str, str]) -> dict[int, str]:
    """Return the problems of rows of the table by their numbers."""
    return dict(sorted((int(name.partition(".")[2]), said) for name, said in problems.items() if name.startswith("examples.")))


def _of_fields(form: forms.Form, *names: str) -> Iterator[Refusal]:
    anchors = {"how": "s3", "method": "s4", "file": "id_text"}
    for bound in (form[name] for name in names):
        if bound.errors:
            yield Refusal(bound.label, " ".join(bound.errors), anchors.get(bound.name, bound.id_for_label))


def _of_examples(problems: Mapping[str, str]) -> Iterator[Refusal]:
    if "examples" in problems:
        yield Refusal("Examples", problems["examples"], "id_text", 0)
    rows = list(by_row(problems).items())
    for number, said in rows[:ROWS]:
        yield Refusal("Examples", said, "row-problems", number)
    if (more := len(rows) - ROWS) > 0:
        yield Refusal("Examples", f"{more} more row{'s need' if more > 1 else ' needs'} mending.", "row-problems", rows[ROWS][0])


def _of_settings(form: forms.Form, problems: Mapping[str, str]) -> Iterator[Refusal]:
    chosen = form["method"].value()
    for setting in next((m.settings for m in catalogue.METHODS if m.name == chosen), ()):
        if problem := problems.get(f"settings.{setting.name}"):
            yield Refusal(setting.title, method_fields.said_of(setting, problem), f"{chosen}.{setting.name}")
