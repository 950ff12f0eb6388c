"""Settings, read once from the environment; `.env.example` lists every name."""

import sys
from pathlib import Path

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from redis.backoff import NoBackoff
from redis.retry import Retry

from hub import logs

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

# Where everything that changes lives: database, blobs, broker, base models, secret key.
DATA_DIR = Path(env.str("MEDLEY_DATA", "") or BASE_DIR / "var").resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
BLOBS_DIR = DATA_DIR / "blobs"
BASE_MODELS_DIR = Path(env.str("MEDLEY_BASE_MODELS", "") or DATA_DIR / "base-models")
WORK_DIR = DATA_DIR / "tmp"
WORK_DIR.mkdir(exist_ok=True)

HOST = env.str("HOST", "127.0.0.1")
PORT = env.int("PORT", 8000)
PUBLIC_URL = (env.str("PUBLIC_URL", "") or f"http://{'127.0.0.1' if HOST == '0.0.0.0' else HOST}:{PORT}").rstrip("/")  # noqa: S104  # nosec B104
DEBUG = env.bool("DEBUG", False)


def _secret_key() -> str:
    """Return SECRET_KEY, or one made at the first start and kept beside the database."""
    if key := env.str("SECRET_KEY", ""):
        return key
    path = DATA_DIR / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(get_random_secret_key())
    return path.read_text().strip()


def _s3_client(addressing: str) -> object:
    """Return how to talk to the bucket; loaded only where there is one."""
    from botocore.config import Config

    return Config(
        signature_version="s3v4",
        s3={"addressing_style": addressing},
        connect_timeout=5,
        read_timeout=S3_SECONDS,
        retries={"max_attempts": 4, "mode": "standard"},
    )


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])  # former ones, which still open what they closed
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", "testserver"] if DEBUG else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.idp.oidc",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "csp",
    "django_htmx",
    "django_prometheus",
    "hub",
]
MIDDLEWARE = [
    "hub.health.HealthMiddleware",
    "hub.logs.RequestMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "hub.hf.door.RefusalMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "hub.web.strangers.NotSharedMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "hub.doors.DoorMiddleware",
    "hub.web.errors.HubErrorMiddleware",
    "hub.hf.door.FaultMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
CSRF_FAILURE_VIEW = "hub.web.errors.csrf_failure"
ROOT_URLCONF = "hub.urls"
WSGI_APPLICATION = "hub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hub.web.context.site",
            ],
        },
    },
]

DATABASES = {"default": env.db_url_config(env.str("DATABASE_URL", "") or f"sqlite:///{DATA_DIR / 'medley.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # a connection that outlived its server is replaced before it is used
    # A server that is gone without a word is noticed within half a minute, and it lets go of what a vanished client has locked within a minute;
    # but a command, such as a migration, may compute for longer between two queries.
    _idle = "0" if Path(sys.argv[0]).name == "manage.py" else "60s"
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "options": f"-c lock_timeout=30s -c idle_in_transaction_session_timeout={_idle} -c client_connection_check_interval=5s",
        **DATABASES["default"].get("OPTIONS", {}),
    }
DATABASES["default"].setdefault("CONN_MAX_AGE", 60)  # opening a database, SQLite too, costs far more than most requests
# Holds rate limits, and codes of people who are just logging in a program; several site processes share them through Redis (CACHE_URL).
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://medley?max_entries=10000")}
if CACHES["default"]["BACKEND"].endswith(".RedisCache"):
    CACHES["default"]["BACKEND"] = "hub.cache.ForgivingRedisCache"
    CACHES["default"].setdefault("OPTIONS", {}).update(socket_connect_timeout=1, socket_timeout=2, retry=Retry(NoBackoff(), 1))
# Pages as strangers see them, counts and rankings of the public catalogue; in each process.
CACHES["pages"] = env.cache_url_config("locmemcache://pages?max_entries=1000")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Accounts
AUTH_USER_MODEL = "hub.User"
AUTHENTICATION_BACKENDS = ["hub.web.signed_in.Backend"]
SESSION_ENGINE = "hub.web.sessions"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "account_login"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_USERNAME_VALIDATORS = "hub.models.accounts.username_validators"
ACCOUNT_PRESERVE_USERNAME_CASING = False
ACCOUNT_EMAIL_VERIFICATION = env.str("EMAIL_VERIFICATION", "none")
ACCOUNT_ADAPTER = "hub.web.accounts.AccountAdapter"
ACCOUNT_EMAIL_NOTIFICATIONS = True  # mails about a changed password, a new key and the like
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Medley] "
MFA_ADAPTER = "hub.web.accounts.SecretsAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Medley"
MFA_TOTP_TOLERANCE = 1  # a code may arrive half a minute late, or from a phone whose clock is that wrong (RFC 6238, 5.2)
MFA_ALLOW_UNVERIFIED_EMAIL = ACCOUNT_EMAIL_VERIFICATION == "none"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PUBLIC_URL.startswith("https://")  # browsers allow keys on http://localhost, and nowhere else without https
ALLAUTH_TRUSTED_PROXY_COUNT = NUM_PROXIES = env.int("NUM_PROXIES", 0)
# The operator's account, which `manage.py prepare` creates where it is not there; the password may be changed afterwards.
ADMIN_USERNAME, ADMIN_EMAIL, ADMIN_PASSWORD = env.str("ADMIN_USERNAME", ""), env.str("ADMIN_EMAIL", ""), env.str("ADMIN_PASSWORD", "")
SIGNUP_OPEN = env.bool("SIGNUP_OPEN", True)
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "medley@localhost")

# Programs that log in through the browser. Their access tokens are ours, opaque and kept as hashes: nothing is signed, so there is no private key.
IDP_OIDC_DEVICE_CODE_EXPIRES_IN = 10 * 60
IDP_OIDC_DEVICE_CODE_INTERVAL = 3  # seconds between two questions of a waiting program
IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN = 7 * 86400  # Hugging Face clients renew on the last day
IDP_OIDC_REFRESH_TOKEN_EXPIRES_IN = 90 * 86400  # without use
IDP_OIDC_RATE_LIMITS = {"device_user_code": "60/m/ip,20/m/user"}

KNOX_TOKEN_MODEL = "hub.AccessToken"  # noqa: S105
MIGRATION_MODULES = {"knox": None}  # its migrations make a table of tokens beside ours, which nothing would ever fill
REST_KNOX = {"TOKEN_PREFIX": "mdl_", "TOKEN_TTL": None, "AUTH_HEADER_PREFIX": "Bearer"}

# The REST API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["hub.api.auth.BearerAuthentication", "hub.api.auth.BrowserAuthentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "hub.api.errors.handle",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle", "rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": env.str("THROTTLE_ANON", "1200/min"), "user": env.str("THROTTLE_USER", "3000/min")},
    "NUM_PROXIES": NUM_PROXIES,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Medley API",
    "DESCRIPTION": "Share LoRA adapters, and compose new ones from a handful of examples.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Jobs: the job row is the queue, a message is only a doorbell.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", "") or "filesystem://"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "compose"
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker as long as it takes
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.1, "interval_max": 0.2}  # who rings has somebody waiting
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {"visibility_timeout": 24 * 3600}
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS.update(socket_connect_timeout=2, socket_timeout=3, socket_keepalive=True, health_check_interval=10)
if CELERY_BROKER_URL.startswith("filesystem://"):
    _broker = DATA_DIR / "broker"
    for _name in ("messages", "control"):
        (_broker / _name).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "messages"),
        "data_folder_out": str(_broker / "messages"),
        "control_folder": str(_broker / "control"),
        "polling_interval": 0.1,
    }
JOB_HEARTBEAT_SECONDS = env.float("JOB_HEARTBEAT_SECONDS", 2.0)
JOB_STALE_SECONDS = env.float("JOB_STALE_SECONDS", 15.0)  # a job whose heartbeat is older may be taken over
JOB_PATIENCE_SECONDS = env.float("JOB_PATIENCE_SECONDS", 300.0)  # that a running job waits for a database or file store which is away
JOB_MAX_ATTEMPTS = env.int("JOB_MAX_ATTEMPTS", 5)
JOB_MAX_ACTIVE = env.int("JOB_MAX_ACTIVE", 20)  # queued and running jobs of one user
CELERY_BEAT_SCHEDULE = {
    "ring": {"task": "compose_worker.ring", "schedule": JOB_STALE_SECONDS / 3, "options": {"expires": JOB_STALE_SECONDS / 3}},
    "count": {"task": "compose_worker.count", "schedule": 30.0, "options": {"expires": 30}},
    "tidy": {"task": "compose_worker.tidy", "schedule": 3600.0, "options": {"expires": 3600}},
    "prune": {"task": "compose_worker.prune", "schedule": 24 * 3600.0, "options": {"expires": 3600}},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
WORKER_BASES = env.list("WORKER_BASES", default=[])  # base models that this worker takes jobs for, such as acme/*; empty is all it finds
CPU_MAX_BASE_BYTES = env.int("CPU_MAX_BASE_MB", 0) * 1_000_000  # weights of a larger base model are for workers with a GPU; 0 is no limit
COMPOSE_DEVICE = env.str("COMPOSE_DEVICE", "auto")
COMPOSE_DTYPE = env.str("COMPOSE_DTYPE", "auto")
COMPOSE_FORWARD_TOKENS = env.int("COMPOSE_FORWARD_TOKENS", 0)  # padded tokens in one forward, of all candidates together; 0: as suit the device
COMPOSE_BASES_BYTES = env.int("COMPOSE_BASES_MB", 8192) * 1_000_000  # base models that stay in memory between jobs
COMPOSE_MODULES_BYTES = env.int("COMPOSE_MODULES_MB", 512) * 1_000_000  # adapters that do

# Uploads
MAX_WEIGHTS_BYTES = env.int("MAX_WEIGHTS_MB", 2048) * 1_000_000
QUOTA_MB = env.int("QUOTA_MB", 0)  # that a person may store; 0 is no limit
QUOTA_ORGANIZATION_MB = env.int("QUOTA_ORGANIZATION_MB", 0)
DELETED_DAYS = env.float("DELETED_DAYS", 7.0)  # that a deleted adapter can be restored
# Base models: who may host them, and what is fetched from another hub for those who ask for it here.
HOST_MODELS = env.str("HOST_MODELS", "staff")
if HOST_MODELS not in ("staff", "everyone"):
    raise ImproperlyConfigured("HOST_MODELS is staff or everyone.")
MAX_MODEL_BYTES = env.int("MAX_MODEL_MB", 20_000) * 1_000_000  # of one file
READ_THROUGH = env.str("READ_THROUGH", "").rstrip("/")
READ_THROUGH_MODELS = env.list("READ_THROUGH_MODELS", default=[])
if any("/" not in pattern or set("*?[") & set(pattern.partition("/")[0]) for pattern in READ_THROUGH_MODELS):
    raise ImproperlyConfigured("READ_THROUGH_MODELS lists owner/name or owner/*: the owner is written out, because nobody can sign up under it.")
READ_THROUGH_TOKEN = env.str("READ_THROUGH_TOKEN", "")
READ_THROUGH_HOSTS = env.list("READ_THROUGH_HOSTS", default=["huggingface.co", "hf.co"])  # where it may redirect to, with their subdomains
READ_THROUGH_SECONDS = env.float("READ_THROUGH_SECONDS", 10.0)  # that it may be silent
X_ACCEL = env.str("X_ACCEL", "").rstrip("/")  # the internal address under which the nginx in front has the store
# The hub that people may import public adapters from by their id; empty turns it off. No token is sent there.
IMPORTS = env.str("IMPORTS", "https://huggingface.co").rstrip("/")
LFS_PART_BYTES = env.int("LFS_PART_MB", 64) * 1_000_000  # larger files come in parts of this size
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = str(WORK_DIR)
DATA_UPLOAD_MAX_MEMORY_SIZE = 20_000_000
DATA_UPLOAD_MAX_NUMBER_FILES = 300
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# Pages
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(DATA_DIR / "media")}},
    "staticfiles": {"BACKEND": "hub.static_files.Storage" if not DEBUG else "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# Blobs in a bucket of S3, or of anything that speaks like it. What is not set here, boto3 finds as it always does: roles, profiles, its own variables.
S3_BUCKET = env.str("S3_BUCKET", "")
S3_REDIRECT = env.bool("S3_REDIRECT", True)  # downloads come from the bucket itself
S3_LINK_SECONDS = env.int("S3_LINK_SECONDS", 3600)
S3_SECONDS = env.float("S3_SECONDS", 60.0)  # that the bucket may be silent
S3_CACHE_BYTES = env.int("S3_CACHE_MB", 20_000) * 1_000_000
if S3_BUCKET:
    _s3 = {
        "bucket_name": S3_BUCKET,
        "endpoint_url": env.str("S3_ENDPOINT", "") or None,
        "region_name": env.str("S3_REGION", "") or None,
        "access_key": env.str("S3_ACCESS_KEY", "") or None,
        "secret_key": env.str("S3_SECRET_KEY", "") or None,
        "querystring_auth": True,
        "client_config": _s3_client(env.str("S3_ADDRESSING", "auto")),
    }
    STORAGES["blobs"] = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": _s3}
    STORAGES["blobs-public"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {**_s3, "endpoint_url": env.str("S3_PUBLIC_ENDPOINT", "") or _s3["endpoint_url"]},
    }

# Security
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
_https = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
if _https:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 0)
# Both would bind every other site below the same domain, which is for its owner to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

LOG_FORMAT = env.str("LOG_FORMAT", "text")
if LOG_FORMAT not in ("text", "json"):
    raise ImproperlyConfigured("LOG_FORMAT is text or json.")
LOGGING = logs.config(LOG_FORMAT, env.str("LOG_LEVEL", "INFO"), requests=env.bool("LOG_REQUESTS", LOG_FORMAT == "json"))

# What the operator sees
METRICS_TOKEN = env.str("METRICS_TOKEN", "")  # without one nobody is shown /metrics
if SENTRY_DSN := env.str("SENTRY_DSN", ""):
    logs.report_to_sentry(SENTRY_DSN)
