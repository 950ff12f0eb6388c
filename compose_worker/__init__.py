"""The worker that composes adapters: Celery glue around an engine that knows neither Celery nor Django."""
