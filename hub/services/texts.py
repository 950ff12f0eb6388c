"""Makes texts of strangers fit for a database."""

import unicodedata

UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))  # Unicode's categories of controls, marks without a shape, and spaces


def storable(text: str, limit: int | None = None) -> str:
    """Return `text` without what no database takes (NUL, halves of surrogate pairs), cut at `limit` characters."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()[:limit]


def is_visible(text: str) -> bool:
    """Say whether a reader sees anything of it: zero-width spaces and the like show nothing."""
    return any(unicodedata.category(sign) not in UNSEEN for sign in text)


def size(count: int | None) -> str:
    """Write bytes as people do: 742 B, 3.1 kB, 1.84 MB."""
    amount = float(count or 0)
    if amount < 1000:
        return f"{amount:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.{0 if amount >= 100 else 1 if amount >= 10 else 2}f} {unit}"
