"""Composes LoRA adapters: torch, no Django, no Celery, no network, no settings."""
