# Three images: `web` has no torch, `worker` adds the CPU build, `worker-gpu` the CUDA build. All run as a user without rights, and write to /data and /tmp only.
FROM python:3.11-slim AS web
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 MEDLEY_DATA=/data
RUN useradd --create-home --uid 1000 medley && mkdir /data && chown medley /data
WORKDIR /app
COPY requirements/web.txt requirements/web.txt
RUN pip install -r requirements/web.txt
COPY . .
USER 1000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz')"]
CMD ["sh", "-c", "python manage.py prepare && exec gunicorn --config hub/deploy/gunicorn.conf.py hub.wsgi --bind 0.0.0.0:8000 --worker-tmp-dir /dev/shm"]

FROM web AS worker
USER 0
COPY requirements/worker.txt requirements/worker.txt
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu -r requirements/worker.txt
USER 1000
HEALTHCHECK NONE
CMD ["python", "-m", "compose_worker"]

FROM web AS worker-gpu
USER 0
COPY requirements/worker.txt requirements/worker.txt
RUN pip install -r requirements/worker.txt
USER 1000
HEALTHCHECK NONE
CMD ["python", "-m", "compose_worker"]
