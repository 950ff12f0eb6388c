"""The picture that other sites show beside a link to an adapter: 1200 by 630 pixels, drawn here, a function of nothing but what it shows."""

import hashlib
import io
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe
from PIL import Image, ImageDraw, ImageFont

from hub.models import Adapter
from hub.services import adapters, tallies
from hub.web import charts, formats

SIZE = (1200, 630)
LEFT, RIGHT = 72, 1128
DRAWN_LARGER = 2  # curves and round corners are smoothed by drawing them so much larger
DRAWING = 1  # counts up when the drawing changes, so that nobody is shown an old one
SECONDS = 3600  # that whoever asked may keep it
BACKGROUND, SURFACE, INK, SOFT, FAINT, LINE = "#f5f7f6", "#ffffff", "#14201e", "#43514e", "#5a6865", "#dae1de"
ACCENT, REFERENCE = "#0a5c70", "#93a19d"
STRANDS = ("#0a5c70", "#c4770a", "#3a8fbb", "#8f3d14", "#74861c", "#ad5482")
LOGO = ((3, STRANDS[1], 2.2), (9.2, STRANDS[2], 2.2), (15, STRANDS[3], 2.2), (21, STRANDS[0], 2.2))  # where a strand begins, its colour and width
MIX, RESULT = "This mix", "This one"
LATIN = 0x024F  # the last letter that our font may have
PUNCTUATION = frozenset("–—‘’“”…−×→")


class Card(NamedTuple):
    """All that the picture shows."""

    owner: str
    name: str
    summary: str
    facts: tuple[str, ...]
    weights: tuple[float, ...] = ()  # of its parents
    scores: tuple[tuple[str, float], ...] = ()  # of the base model, the best single adapter and this one
    examples: int = 0


@require_safe
def adapter(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Send an adapter's picture to whoever may see the adapter."""
    repo_id = f"{owner}/{name}"
    card = tallies.shared(request.user, f"preview:{repo_id}", lambda last: card_of(adapters.find(actor=request.user, repo_id=repo_id)))
    return _answer(request, card)


@require_safe
def site(request: HttpRequest) -> HttpResponse:
    """Send the picture of the hub itself."""
    text = "Share LoRA adapters, and mix them into the one you need from a handful of examples."
    return _answer(request, Card("", "Medley", text, (), (0.9, 0.5, 0.3, -0.2)))


def card_of(adapter: Adapter) -> Card:
    """Return what an adapter's picture shows."""
    revision = adapter.head
    facts = [formats.tail(adapter.base_model), f"rank {adapter.rank}" if adapter.rank else adapter.peft_type, adapter.licence]
    weights = tuple(revision.parents.values_list("weight", flat=True)) if revision and adapter.composed else ()
    rows = charts.score_rows(revision.scores, RESULT if len(weights) < 2 else MIX) if revision and adapter.composed else []
    return Card(
        adapter.owner.username,
        adapter.name,
        adapter.summary,
        tuple(fact for fact in facts if fact),
        weights if len(weights) > 1 else (),
        tuple((row.name, row.accuracy) for row in rows if row.key != "uniform"),
        rows[0].n if rows else 0,
    )


def _answer(request: HttpRequest, card: Card) -> HttpResponse:
    etag = f'"{hashlib.sha256(repr((DRAWING, card)).encode()).hexdigest()[:32]}"'
    response = get_conditional_response(request, etag=etag) or HttpResponse(draw(card), content_type="image/png")
    response["ETag"] = etag
    response["Cache-Control"] = f"private, max-age={SECONDS}"  # what is public may be private tomorrow, and nobody between may answer with it then
    return response


@lru_cache(200)
def draw(card: Card) -> bytes:
    """Return the picture as PNG."""
    image = Image.new("RGB", SIZE, BACKGROUND)
    pen = ImageDraw.Draw(image)
    _logo(image)
    if card.owner:
        pen.text((LEFT + 78, 62), "Medley", FAINT, _font(34, 600))
        pen.text((LEFT, 150), _shown(f"{card.owner}/"), FAINT, _font(36))
    y = _title(pen, card.name, 196 if card.owner else 170)
    for line in _wrapped(_shown(card.summary), 32, RIGHT - LEFT, 2 if card.weights or card.scores else 4):
        pen.text((LEFT, y), line, SOFT, _font(32))
        y += 44
    x = LEFT
    for fact in card.facts:
        x = _badge(pen, x, 556, formats.cut(_shown(fact), 34))
    if card.weights:
        _mix(image, card)
    if card.scores:
        _scores(pen, card)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _title(pen: ImageDraw.ImageDraw, name: str, y: int) -> int:
    """Write the name as large as it fits; return where the next line begins."""
    size = next((size for size in (72, 64, 56, 48, 42) if _font(size, 700).getlength(name) <= RIGHT - LEFT), 36)
    lines = _wrapped(name, size, RIGHT - LEFT, 2, weight=700)
    for number, line in enumerate(lines):
        pen.text((LEFT, y + number * round(size * 1.15)), line, INK, _font(size, 700))
    return y + len(lines) * round(size * 1.15) + 18


def _badge(pen: ImageDraw.ImageDraw, x: int, y: int, text: str) -> int:
    width = round(_font(26, 500).getlength(text)) + 32
    if x + width > RIGHT:
        return x
    pen.rounded_rectangle((x, y, x + width, y + 44), 8, SURFACE, LINE, 2)
    pen.text((x + 16, y + 22), text, SOFT, _font(26, 500), anchor="lm")
    return x + width + 14


def _mix(image: Image.Image, card: Card) -> None:
    """Draw the mix bar, in the left half where scores stand in the right one."""
    width = (520 if card.scores else RIGHT - LEFT) * DRAWN_LARGER
    height = 30 * DRAWN_LARGER
    bar = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(bar)
    for part in charts.mix_bar(card.weights):
        x = round(part.x * width / charts.MIX_WIDTH)
        box = (x, 0, min(width - 1, x + round(part.width * width / charts.MIX_WIDTH)), height - 1)
        if part.kind == "takes":
            pen.rounded_rectangle(box, 8, None, STRANDS[3], 5)
        else:
            pen.rounded_rectangle(box, 8, REFERENCE if part.kind == "ref" else STRANDS[int(part.kind[1:]) - 1])
    image.paste(bar.resize((width // DRAWN_LARGER, height // DRAWN_LARGER), Image.Resampling.LANCZOS), (LEFT, 488))
    if card.owner:
        ImageDraw.Draw(image).text((LEFT, 446), f"mix of {len(card.weights)} adapters", FAINT, _font(26))


def _scores(pen: ImageDraw.ImageDraw, card: Card) -> None:
    left = 648 if card.weights else LEFT
    pen.text((left, 420), f"Answered right, {card.examples} examples", FAINT, _font(24))
    for number, (name, value) in enumerate(card.scores):
        y, last = 456 + 30 * number, number == len(card.scores) - 1
        pen.text((left, y), name, INK if last else FAINT, _font(24, 600 if last else 400))
        pen.rounded_rectangle((left + 150, y + 6, left + 390, y + 22), 3, LINE)
        if value > 0:
            pen.rounded_rectangle((left + 150, y + 6, left + 150 + max(3, round(240 * value)), y + 22), 3, ACCENT if last else REFERENCE)
        pen.text((left + 480, y), f"{value:.0%}", INK if last else FAINT, _font(24, 600 if last else 400), anchor="ra")


def _logo(image: Image.Image) -> None:
    scale = 2.2 * DRAWN_LARGER
    drawn = Image.new("RGB", (round(30 * scale), round(24 * scale)), BACKGROUND)
    pen = ImageDraw.Draw(drawn)
    for number, (start, colour, width) in enumerate(LOGO):
        end = 11.4 + 0.4 * number
        points = [_curve(t / 24, start, end) for t in range(25)]
        pen.line([(x * scale, y * scale) for x, y in points], colour, round(width * scale), joint="curve")
    pen.line((18.5 * scale, 12 * scale, 22 * scale, 12 * scale), STRANDS[0], round(4.2 * scale))
    pen.ellipse(((24.6 - 4.4) * scale, (12 - 4.4) * scale, (24.6 + 4.4) * scale, (12 + 4.4) * scale), STRANDS[0])
    image.paste(drawn.resize((drawn.width // DRAWN_LARGER, drawn.height // DRAWN_LARGER), Image.Resampling.LANCZOS), (LEFT, 58))


def _curve(t: float, start: float, end: float) -> tuple[float, float]:
    """A point of the curve from (2, start) to (19, end), with handles at x = 11 and 10."""
    a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
    return a * 2 + b * 11 + c * 10 + d * 19, (a + b) * start + (c + d) * end


def _shown(text: str) -> str:
    """Leave out what our font cannot write; a text that is mostly such is not shown at all."""
    kept = "".join(c for c in text if ord(c) <= LATIN or c in PUNCTUATION)
    return " ".join(kept.split()) if 2 * len(kept) >= len(text) else ""


def _wrapped(text: str, size: int, width: int, limit: int, weight: int = 400) -> list[str]:
    """Break a text into at most so many lines; words that are wider than a line are cut."""
    font, lines, rest = _font(size, weight), [], text
    while rest and len(lines) < limit:
        end = len(rest)
        while end > 1 and font.getlength(rest[:end]) > width:
            gap = max(rest.rfind(" ", 0, end - 1), rest.rfind("-", 0, end - 1) + 1)
            end = gap if gap > 0 else end - 1
        line, rest = rest[:end].rstrip(), rest[end:].lstrip()
        lines.append(line)
    if rest and lines:
        line = lines[-1]
        while line and font.getlength(f"{line}…") > width:
            line = line[:-1]
        lines[-1] = f"{line.rstrip()}…"
    return lines


@lru_cache(32)
def _font(size: int, weight: int = 400) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(settings.BASE_DIR / "static" / "fonts" / "instrument-sans-latin.woff2", size)
    font.set_variation_by_axes([weight])
    return font
