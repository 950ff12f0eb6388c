"""Makes texts of strangers fit for a database."""


def storable(text: str, limit: int | None = None) -> str:
    """Return `text` without what no database takes (NUL, halves of surrogate pairs), cut at `limit` characters."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()[:limit]
