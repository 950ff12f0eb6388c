"""The website: one Django app with three doors over one set of verbs."""
