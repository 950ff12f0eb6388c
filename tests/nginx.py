"""An nginx in front of a site, with the configuration that the project ships."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent / "hub" / "deploy" / "nginx.conf.template"
MAIN = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
daemon off;
{user}
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


class Nginx:
    """A running nginx that listens on `port` in front of the site on `site_port`."""

    def __init__(self, folder: Path, port: int, site_port: int, blobs: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        values = {"SITE": f"127.0.0.1:{site_port}", "LISTEN": f"127.0.0.1:{port}", "BLOBS": str(blobs), "PROTO": "http"}
        text = TEMPLATE.read_text()
        for name, value in values.items():  # as the image of nginx does it: $host and its like stay
            text = text.replace("${" + name + "}", value)
        text = text.replace("/var/log/nginx/access.log", f"{folder}/access.log")
        user = "user root;" if os.geteuid() == 0 else ""  # the test's folders are root's own
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, server=text, user=user))
        self.process = subprocess.Popen([find(), "-p", str(folder), "-c", str(folder / "nginx.conf")])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


def find() -> str:
    """Return the path of an nginx, which may lie where only root looks."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RuntimeError("No nginx was found. Install one (Debian: apt-get install nginx-light).")
    return path


def install() -> None:
    """Install Debian's nginx as root."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"]
    if subprocess.run(command, check=False, env=environment).returncode:  # the lists of packages may be old, or missing
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    try:
        find()
    except RuntimeError:
        install()
    print(f"nginx: {find()}", file=sys.stdout)
