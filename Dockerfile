# Two images: `web` has no torch, `worker` adds it.
FROM python:3.11-slim AS web
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MEDLEY_DATA=/data
RUN useradd --create-home --uid 1000 medley && mkdir /data && chown medley /data
WORKDIR /app
COPY requirements/web.txt requirements/web.txt
RUN pip install --no-cache-dir -r requirements/web.txt
COPY . .
USER medley
VOLUME /data
EXPOSE 8000
CMD ["sh", "-c", "python manage.py migrate --noinput && python manage.py collectstatic --noinput && exec gunicorn hub.wsgi --bind 0.0.0.0:8000 --worker-class gthread --workers ${WEB_WORKERS:-1} --threads 8 --timeout 120"]

FROM web AS worker
USER root
COPY requirements/worker.txt requirements/worker.txt
RUN pip install --no-cache-dir -r requirements/worker.txt
USER medley
CMD ["python", "-m", "compose_worker"]
