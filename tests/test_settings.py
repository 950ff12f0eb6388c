"""Every setting that is read stands in .env.example, and the other way round."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Read by the demo, or by docker-compose.yml and the image, not by the site.
ELSEWHERE = {
    "MEDLEY_BASE_SOURCE",
    "POSTGRES_PASSWORD",
    "WEB_WORKERS",
    "WEB_MEMORY",
    "WORKER_MEMORY",
    "WORKER_GPU_MEMORY",
    "POSTGRES_MEMORY",
    "PROXY_PROTO",
    "S3_PORT",
    "WORKER_TOKEN",
    "WORKER_CACHE",
    "WORKER_CACHE_MB",
    "HUB_URL",
}


def test_the_example_lists_every_setting():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', (ROOT / "hub/settings.py").read_text()))
    listed = set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert len(read) > 20
    assert listed - ELSEWHERE == read


def test_what_is_read_elsewhere_is_read_there():
    files = [ROOT / "docker-compose.yml", ROOT / "docker-compose.remote.yml", ROOT / "Dockerfile", ROOT / "compose_worker" / "remote.py"]
    sources = "".join(path.read_text() for path in [*(ROOT / "demo").glob("*.py"), *files])
    assert all(name in sources for name in ELSEWHERE)
