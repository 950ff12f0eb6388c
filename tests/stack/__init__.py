"""Medley as docker-compose.yml starts it, without containers: PostgreSQL, Valkey, an S3 emulator, gunicorn behind nginx, two workers and the clock."""
