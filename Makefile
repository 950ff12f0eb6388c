# make demo   everything, from nothing to a composed adapter (ARGS=--exit ends it instead of leaving the site running)
# make run    the site and a worker
# make stack  the site as in production, without containers: PostgreSQL, Redis, S3, nginx, two workers (ARGS="--data FOLDER --port 8000")
# make test   the whole suite
# make lint   style, types, migrations
# make faults everything breaks at random while jobs and uploads run (ARGS="--jobs 1000 --minutes 10 --seed 0")
# make screenshots   the pictures in docs/screenshots, of what make demo made
# make fuzz   random calls of the REST API against its schema, for longer (ARGS="--examples 500 --seed 7")
# make bench-load   two hundred people for five minutes, with everything in its production place (ARGS="--users 200 --minutes 5")
# make bench-scale   what everything costs as the catalogue and the queue grow (ARGS="--sizes 1000,10000,100000,1000000")
# make bench-transfer   how fast large files are taken and sent (ARGS="--megabytes 300 --turns 3")
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
INSTALL = $(PY) -m pip install --quiet --no-compile
COMPILE = $(PY) -m compileall -qq -j 0 $(VENV)/lib || true # on all cores, where pip would take one; some packages hold templates that are no Python

.PHONY: demo run stack faults test fuzz lint audit format browser screenshots bench-load bench-scale bench-transfer clean

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Medley needs Python 3.11 or newer; name one with make PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt requirements/web.txt requirements/worker.txt | $(VENV)/bin/python
	$(INSTALL) -r requirements.txt
	$(COMPILE)
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(INSTALL) -r requirements/dev.txt
	$(COMPILE)
	touch $@

demo: $(VENV)/.runtime
	$(PY) demo/run.py $(ARGS)

run: $(VENV)/.runtime
	$(PY) manage.py run

stack: $(VENV)/.dev
	$(PY) -m tests.nginx
	exec $(PY) -m tests.stack $(ARGS)

faults: $(VENV)/.dev
	$(PY) -m tests.nginx
	$(PY) -m tests.faults.soak $(ARGS)

browser: $(VENV)/.dev
	$(PY) -m tests.browser
	$(PY) -m tests.nginx

test: browser
	$(PY) -m tests.run $(ARGS)

fuzz: $(VENV)/.dev
	$(PY) -m tests.fuzz $(ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/bandit --quiet --recursive hub compose_worker --severity-level medium
	git ls-files -z hub compose_worker templates static/js docker-compose.yml Dockerfile .env.example | xargs -0 $(VENV)/bin/detect-secrets-hook --baseline .secrets.baseline
	DJANGO_SETTINGS_MODULE=tests.settings $(PY) manage.py makemigrations --check --dry-run
	$(PY) -m tests.migrations
	DJANGO_SETTINGS_MODULE=tests.settings $(PY) manage.py spectacular --validate --fail-on-warn --file /dev/null

# Known holes in what we depend on; asks a service on the internet, so it is no part of lint.
audit: $(VENV)/.dev
	$(PY) -m pip install --quiet pip-audit==2.10.1
	$(VENV)/bin/pip-audit --requirement requirements/web.txt --requirement requirements/worker.txt

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

screenshots: browser
	$(PY) -m tests.screenshots $(ARGS)

bench-load: browser
	$(PY) -m benchmarks.load $(ARGS)

bench-scale: $(VENV)/.dev
	$(PY) -m benchmarks.scale $(ARGS)

bench-transfer: $(VENV)/.dev
	$(PY) -m benchmarks.transfer $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
