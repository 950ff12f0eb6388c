"""Writes formulas of a card, in LaTeX, as MathML, which browsers draw by themselves. What cannot be read, or takes too much, stays as its source."""

import re
from dataclasses import dataclass
from html import escape
from itertools import accumulate

import nh3
from latex2mathml import converter, exceptions

MAX_FORMULA = 2000  # characters
MAX_DEPTH = 60
TAGS = {
    *("math", "mi", "mn", "mo", "mtext", "mspace", "mrow", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "munder", "mover", "munderover"),
    *("mtable", "mtr", "mtd", "mpadded", "mphantom"),
}
ATTRIBUTES = {"math": {"display"}, "mo": {"stretchy"}, "mi": {"mathvariant"}}
_MACRO = re.compile(r"\\(?:[a-z]*def|let|[a-z]*newcommand|[a-z]*newenvironment|providecommand|DeclareMathOperator)(?![a-z])", re.IGNORECASE)
# What the converter raises for sources that are no formulas; it also trips over some.
_FAULTS = (
    *(fault for fault in vars(exceptions).values() if isinstance(fault, type) and issubclass(fault, Exception)),
    *(RecursionError, ValueError, LookupError, TypeError, AttributeError),
)


@dataclass
class Budget:
    """What is left for one text: its formulas and their characters."""

    formulas: int = 500
    characters: int = 20_000

    def takes(self, source: str) -> bool:
        """Count one more formula, and say whether there was room for it."""
        self.formulas, self.characters = self.formulas - 1, self.characters - len(source)
        return self.formulas >= 0 and self.characters >= 0


def render(source: str, budget: Budget, *, block: bool = False) -> str:
    """Return one formula as MathML, or as code."""
    return (_mathml(source, block=block) if budget.takes(source) else "") or f"<code>{escape(source.strip())}</code>"


def _mathml(source: str, *, block: bool) -> str:
    # A macro can name itself twice, and grow without end.
    if len(source) > MAX_FORMULA or _depth(source) > MAX_DEPTH or _MACRO.search(source):
        return ""
    try:
        made = converter.convert(source.strip(), display="block" if block else "inline")
    except _FAULTS:
        return ""
    return str(nh3.clean(made, tags=TAGS, attributes=ATTRIBUTES))


def _depth(source: str) -> int:
    """How deep the braces nest, and how many commands stand one behind the other that could take the next one as their argument."""
    nested = max(accumulate(({"{": 1, "}": -1}.get(character, 0) for character in source), initial=0))
    in_a_row = max((run.count("\\") for run in re.findall(r"(?:\\[A-Za-z]+\s*)+", source)), default=0)
    return max(nested, in_a_row)
