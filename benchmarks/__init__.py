"""Measures speed and quality, side by side with something known. Never part of the tests."""
