"""Names for templates to load."""
