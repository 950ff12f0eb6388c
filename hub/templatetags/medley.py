"""Template tags and filters: icons, numbers and times, fields, and the parts that `hub.web.parts` draws."""

from typing import Any

from django import template
from django.forms import BoundField
from django.utils.safestring import SafeString

from hub.models import Adapter
from hub.web import formats, parts

register = template.Library()
for _format in (
    *(formats.size, formats.count, formats.score, formats.figures, formats.signed, formats.trim, formats.seconds, formats.roughly, formats.when),
    *(formats.clock, formats.tail, formats.head, formats.initials, formats.short_targets, formats.signed_figures),
):
    register.filter(_format.__name__, _format)
register.simple_tag(formats.icon, name="icon")


@register.inclusion_tag("_field.html")
def field(bound: BoundField, label: str = "", hint: str = "", optional: bool = False, plain: bool = False) -> dict[str, Any]:
    """Draw a form field with its label, hint and errors, tied together for screen readers; `plain` leaves out a placeholder that only repeats the label."""
    hint = hint or bound.help_text
    ids = [f"{bound.auto_id}_{part}" for part, is_there in (("hint", hint), ("error", bound.errors)) if is_there]
    attrs = {**({"aria-describedby": " ".join(ids)} if ids else {}), **({"placeholder": ""} if plain else {})}
    return {"bound": bound, "widget": bound.as_widget(attrs=attrs), "label": label or bound.label, "hint": hint, "optional": optional}


@register.simple_tag
def mix(parents: Any) -> SafeString:
    """Draw the mix bar: one strand per parent, by size of weight."""
    return parts.mix(tuple(p.weight for p in parents))


@register.simple_tag
def mix_nodes(nodes: Any) -> SafeString:
    """Draw the mix bar of a lineage."""
    return parts.mix(tuple(node.parent.weight for node in nodes))


@register.simple_tag
def adapter_row(adapter: Adapter, short: bool = False, note: str = "") -> SafeString:
    """Draw an adapter as one row of a list, with what somebody noted on it."""
    return parts.adapter_row(adapter, short=short, note=note)


@register.simple_tag
def facets(found: Any, sampled: bool) -> SafeString:
    """Draw the boxes by which the list is narrowed."""
    return parts.facets(found, sampled)


@register.simple_tag(takes_context=True)
def navigation(context: Any, wide: bool) -> SafeString:
    """Draw the site's main links, for a wide screen or for the menu of a small one."""
    user = context["user"]
    name, staff = (user.username, user.is_staff) if user.is_authenticated else ("", False)
    return parts.navigation(wide, context["section"], name, staff, context["unread"]() if name else 0, context["signup_open"])


@register.simple_tag(takes_context=True)
def querystring_without(context: Any, name: str) -> str:
    """Return the page's query without one filter, from the first page on."""
    query = context["request"].GET.copy()
    for gone in (name, "cursor"):
        query.pop(gone, None)
    return f"?{query.urlencode()}"
