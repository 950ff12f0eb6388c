"""Asks axe-core (4.12.1, MPL-2.0, brought by axe-playwright-python) whether a page keeps WCAG 2.2 AA, by day and by night."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}
LAYOUT = {"type": "rule", "values": ["target-size", "scrollable-region-focusable"]}  # what another width may change
AXE = Axe()


def audit(page: Page, *, whole: bool) -> list[str]:
    """Name what axe-core finds, folded parts included: by day all rules or those of the layout alone, by night the contrast."""
    page.evaluate("document.querySelectorAll('main details:not(.filters)').forEach(e => { e.open = true; })")
    page.evaluate(AXE.axe_script)
    return _run(page, "light", ALL) + _run(page, "dark", CONTRAST) if whole else _run(page, "light", LAYOUT)


def _run(page: Page, scheme: Any, rules: dict[str, object]) -> list[str]:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # a colour on its way is neither of the two
    options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
    found = page.evaluate("async options => (await axe.run(options)).violations", options)
    return [f"{rule['id']} by {scheme}: {node['html'][:160]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]
