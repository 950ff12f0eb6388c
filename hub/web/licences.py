"""What well-known licences permit, in one line each; the licence's own text is what counts."""

from dataclasses import dataclass

_NOTICE = "Use, change and share it, also for money. Keep the licence and copyright notices"
_BY = "Use, change and share it, also for money. Name the authors"
_ALIKE = "and share what you make of it under the same licence."
_RESPONSIBLE = "Use, change and share it, also for money, except for the uses that the licence lists; pass these limits on."
_COPYLEFT = "Use, change and share it, also for money. What you share of it has to be under the same licence, with its source"
_COMMUNITY = "Use, change and share it under the licence's terms and its policy of uses; very large services have to ask."


@dataclass(frozen=True)
class Licence:
    """A licence as people call it, and what it permits."""

    name: str
    permits: str


LICENCES = {
    "apache-2.0": Licence("Apache 2.0", f"{_NOTICE}, and say what you changed. Patents are licensed too."),
    "mit": Licence("MIT", f"{_NOTICE}."),
    "isc": Licence("ISC", f"{_NOTICE}."),
    "bsd": Licence("BSD", f"{_NOTICE}."),
    "bsd-2-clause": Licence("BSD, 2 clauses", f"{_NOTICE}."),
    "bsd-3-clause": Licence("BSD, 3 clauses", f"{_NOTICE}; do not advertise with the authors' names."),
    "zlib": Licence("zlib", f"{_NOTICE}, and mark what you changed."),
    "unlicense": Licence("Unlicense", "Do with it what you like: it is in the public domain."),
    "cc0-1.0": Licence("CC0 1.0", "Do with it what you like: it is in the public domain."),
    "wtfpl": Licence("WTFPL", "Do with it what you like."),
    "cc-by-3.0": Licence("CC BY 3.0", f"{_BY}."),
    "cc-by-4.0": Licence("CC BY 4.0", f"{_BY} and say what you changed."),
    "cc-by-sa-3.0": Licence("CC BY-SA 3.0", f"{_BY}, {_ALIKE}"),
    "cc-by-sa-4.0": Licence("CC BY-SA 4.0", f"{_BY}, {_ALIKE}"),
    "cc-by-nc-4.0": Licence("CC BY-NC 4.0", "Use, change and share it, but not for money. Name the authors."),
    "cc-by-nc-sa-4.0": Licence("CC BY-NC-SA 4.0", f"Use, change and share it, but not for money. Name the authors, {_ALIKE}"),
    "cc-by-nd-4.0": Licence("CC BY-ND 4.0", "Use and share it as it is, also for money. Name the authors. What you change you may not share."),
    "cc-by-nc-nd-4.0": Licence("CC BY-NC-ND 4.0", "Use and share it as it is, but not for money. Name the authors. What you change you may not share."),
    "gpl-2.0": Licence("GPL 2", f"{_COPYLEFT}."),
    "gpl-3.0": Licence("GPL 3", f"{_COPYLEFT}."),
    "lgpl-3.0": Licence("LGPL 3", f"{_COPYLEFT}; what merely uses it may have another licence."),
    "agpl-3.0": Licence("AGPL 3", f"{_COPYLEFT}, also for those who only use it over a network."),
    "mpl-2.0": Licence("MPL 2.0", "Use, change and share it, also for money. Changed files stay under this licence; what you add in other files need not."),
    "openrail": Licence("OpenRAIL", _RESPONSIBLE),
    "openrail++": Licence("OpenRAIL++", _RESPONSIBLE),
    "bigscience-openrail-m": Licence("BigScience OpenRAIL-M", _RESPONSIBLE),
    "bigscience-bloom-rail-1.0": Licence("BigScience BLOOM RAIL 1.0", _RESPONSIBLE),
    "creativeml-openrail-m": Licence("CreativeML OpenRAIL-M", _RESPONSIBLE),
    "bigcode-openrail-m": Licence("BigCode OpenRAIL-M", _RESPONSIBLE),
    "llama2": Licence("Llama 2 Community", _COMMUNITY),
    "llama3": Licence("Llama 3 Community", _COMMUNITY),
    "llama3.1": Licence("Llama 3.1 Community", _COMMUNITY),
    "llama3.2": Licence("Llama 3.2 Community", _COMMUNITY),
    "llama3.3": Licence("Llama 3.3 Community", _COMMUNITY),
    "gemma": Licence("Gemma", "Use, change and share it under the licence's terms and its policy of uses; pass both on."),
}


def find(said: str) -> Licence | None:
    """Return what is known of the licence that a card names."""
    name = said.lower().removesuffix("-only").removesuffix("-or-later")
    return LICENCES.get(name)
