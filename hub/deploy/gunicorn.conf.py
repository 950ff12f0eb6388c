"""How gunicorn serves the site: the image, `manage.py run`, the tests and the benchmarks all start it with this file."""

import os

worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS") or "1")
threads = 8
timeout = 300
graceful_timeout = 60
# Who closes an idle connection must not be asked over it at that moment. Clients (the Hugging Face ones: after 5 s) and nginx (60 s) close theirs first.
keepalive = 75
