"""All settings, read from the environment or `.env`; `.env.example` documents every variable."""

from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.databases import read_database
from mlapi.configuration.enum_names import ENUM_NAMES
from mlapi.configuration.environment import LOG_LEVELS, load_environment, meta_name
from mlapi.configuration.logs import logging_config
from mlapi.configuration.model_storage import read_model_storage
from mlapi.configuration.secret_key import generated_secret_key, is_placeholder

BASE_DIR = Path(__file__).resolve().parent.parent
environment = load_environment(BASE_DIR / ".env")

try:
    VERSION = version("mlapi")
except PackageNotFoundError:
    raise ImproperlyConfigured("mlapi is not installed: run `pip install -e .`") from None

# The service

APP_NAME = environment.text("APP_NAME", "ML API")
DEBUG = environment.boolean("DEBUG", "false")
ALLOWED_HOSTS = environment.hosts("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
ROOT_URLCONF = "mlapi.urls"
WSGI_APPLICATION = "mlapi.wsgi.application"
# Every route matches with and without a trailing slash: a redirected POST would lose its body.
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_secret_key = environment.text("SECRET_KEY")
SECRET_KEY_IS_GENERATED = not _secret_key
if is_placeholder(_secret_key):
    raise ImproperlyConfigured(
        "SECRET_KEY is an example, with which anybody can forge tokens. Generate one:"
        " python3 -c 'import secrets; print(secrets.token_urlsafe(64))'"
    )
SECRET_KEY = _secret_key or generated_secret_key(BASE_DIR / ".secret_key")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "registry",
    "predictions",
    "mlapi",
]

# The id, the access log, the policy and the CORS headers come first, so that errors carry them too.
MIDDLEWARE = [
    "mlapi.middleware.ContentLengthMiddleware",
    "mlapi.middleware.RequestIDMiddleware",
    "mlapi.middleware.AccessLogMiddleware",
    "mlapi.pages.content_security.ContentSecurityPolicyMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "mlapi.server.overload.OverloadMiddleware",
    "mlapi.bodies.middleware.RequestBodyMiddleware",
    "mlapi.bodies.compression.CompressionMiddleware",
    "mlapi.proxies.probes.HttpsMiddleware",
    "mlapi.proxies.prefixes.CookiePathMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "mlapi.middleware.AdminSessionMiddleware",
    "mlapi.proxies.probes.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "mlapi.middleware.AdminAuthenticationMiddleware",
    "mlapi.middleware.AdminMessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

# It looks for the name of Django's SecurityMiddleware, of which HttpsMiddleware is a subclass.
SILENCED_SYSTEM_CHECKS = ["security.W001"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "mlapi" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Data

DATABASES = {"default": read_database(environment, base_dir=BASE_DIR)}
DB_STATEMENT_TIMEOUT = environment.integer("DB_STATEMENT_TIMEOUT", "10", minimum=1, maximum=3600)

# Where artifacts are kept: the folder MODEL_PATH, or object storage.
MODEL_PATH, MODEL_STORAGE = read_model_storage(environment, base_dir=BASE_DIR)
ARTIFACT_CACHE_BYTES = environment.integer("ARTIFACT_CACHE_BYTES", str(10 * 2**30))
MODEL_CACHE_SIZE = environment.integer("MODEL_CACHE_SIZE", "3", minimum=1, maximum=10_000)
MODEL_CACHE_BYTES = environment.integer("MODEL_CACHE_BYTES", str(2**32))
MODEL_ISOLATION = environment.choice("MODEL_ISOLATION", "auto", ("auto", "always", "never"))
HUNG_CALL_SECONDS = environment.integer("HUNG_CALL_SECONDS", "120", maximum=86_400)
MAX_ARTIFACT_BYTES = environment.integer("MAX_ARTIFACT_BYTES", str(2**30), minimum=1)
MAX_REQUEST_BYTES = environment.integer("MAX_REQUEST_BYTES", str(10 * 2**20), minimum=1024)
MAX_BATCH_ROWS = environment.integer("MAX_BATCH_ROWS", "10000", minimum=1, maximum=1_000_000)
MAX_REPLAY_ROWS = environment.integer("MAX_REPLAY_ROWS", "10000", minimum=1, maximum=1_000_000)
MAX_REFERENCE_BYTES = environment.integer("MAX_REFERENCE_BYTES", str(2**27), minimum=1024)
MAX_REFERENCE_ROWS = environment.integer(
    "MAX_REFERENCE_ROWS", "100000", minimum=1000, maximum=1_000_000
)
MAX_NDJSON_BYTES = environment.integer("MAX_NDJSON_BYTES", str(2**28), minimum=1024)
IDEMPOTENCY_KEY_HOURS = environment.integer("IDEMPOTENCY_KEY_HOURS", "24", minimum=1, maximum=8760)
RETENTION_GRACE_DAYS = environment.integer("RETENTION_GRACE_DAYS", "0", maximum=3650)
RETENTION_ARCHIVE = environment.text("RETENTION_ARCHIVE")
PREDICTION_TIMEOUT_SECONDS = environment.integer(
    "PREDICTION_TIMEOUT_SECONDS", "30", minimum=1, maximum=86_400
)
# `manage.py serve` replaces 0 by half of its threads.
MAX_CONCURRENT_PER_MODEL = environment.integer("MAX_CONCURRENT_PER_MODEL", "0", maximum=10_000) or 8
PROOF_TIMEOUT_SECONDS = environment.integer(
    "PROOF_TIMEOUT_SECONDS", "60", minimum=1, maximum=86_400
)
PROOF_MEMORY_BYTES = environment.integer("PROOF_MEMORY_BYTES", str(2**32), minimum=2**20)
SKLEARN_TRUSTED_TYPES = environment.strings("SKLEARN_TRUSTED_TYPES")
REMOTE_ORIGINS = environment.origins("REMOTE_ORIGINS")
MIN_FREE_DISK_BYTES = environment.integer("MIN_FREE_DISK_BYTES", str(100 * 2**20))

# Of the log: values that it has as keyed hashes only, or not at all.
MASKING_KEY = environment.text("MASKING_KEY") or f"masking {SECRET_KEY}"
SENSITIVE_METADATA = environment.pairs("SENSITIVE_METADATA", ("hash", "omit"))

DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_REQUEST_BYTES
# Streams uploads of any size into MODEL_PATH, where artifacts are proved and kept.
FILE_UPLOAD_HANDLERS = ["registry.artifacts.upload_handler.StagingUploadHandler"]

STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "mlapi.proxies.prefixes.PrefixedStaticFilesStorage"},
}
# Served from the apps' own folders, so that a fresh clone needs no collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# Authentication
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

TOKEN_LEEWAY_SECONDS = environment.integer("TOKEN_LEEWAY_SECONDS", "10", maximum=300)
SIMPLE_JWT = {
    "ALGORITHM": environment.choice("ALGORITHM", "HS256", ("HS256", "HS384", "HS512")),
    "SIGNING_KEY": SECRET_KEY,
    "AUTH_TOKEN_CLASSES": ["predictions.authentication.AccessToken"],
    "LEEWAY": TOKEN_LEEWAY_SECONDS,
    "ACCESS_TOKEN_LIFETIME": timedelta(
        minutes=environment.integer("ACCESS_TOKEN_EXPIRE_MINUTES", "30", minimum=1, maximum=525_600)
    ),
    "REFRESH_TOKEN_LIFETIME": timedelta(
        minutes=environment.integer(
            "REFRESH_TOKEN_EXPIRE_MINUTES", "1440", minimum=1, maximum=525_600
        )
    ),
    # Changing a password revokes the tokens that were issued before.
    "CHECK_REVOKE_TOKEN": True,
}

TRUSTED_PROXY_COUNT = environment.integer("TRUSTED_PROXY_COUNT", "0", maximum=100)
# Per user and address: nobody can lock out a user from elsewhere, or other users of an address.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = environment.integer("LOGIN_FAILURE_LIMIT", "5", minimum=1, maximum=10_000)
AXES_COOLOFF_TIME = timedelta(
    minutes=environment.integer("LOGIN_COOLOFF_MINUTES", "15", minimum=1, maximum=525_600)
)
AXES_CLIENT_IP_CALLABLE = "mlapi.proxies.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "mlapi.auth.lockout_response"
AXES_RESET_ON_SUCCESS = True
# Otherwise each attempt during the lock-out would restart it, and Retry-After would be wrong.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# The access log table would grow with every login.
AXES_DISABLE_ACCESS_LOG = True

API_KEY_MAX_DAYS = environment.integer("API_KEY_MAX_DAYS", "365", maximum=36_500)

METRICS_TOKEN = environment.text("METRICS_TOKEN")

# What every user may do with every model that is not private.
DEFAULT_RIGHTS = environment.subset(
    "DEFAULT_RIGHTS",
    '["predict", "report_outcomes"]',
    ("predict", "read_log", "report_outcomes", "manage_versions", "move_aliases"),
)

# Webhooks, approvals and jobs
WEBHOOK_ORIGINS = environment.origins("WEBHOOK_ORIGINS")
WEBHOOK_PRIVATE_ADDRESSES = environment.boolean("WEBHOOK_PRIVATE_ADDRESSES", "false")
WEBHOOK_TIMEOUT_SECONDS = environment.integer(
    "WEBHOOK_TIMEOUT_SECONDS", "15", minimum=1, maximum=60
)
WEBHOOK_KEEP_DAYS = environment.integer("WEBHOOK_KEEP_DAYS", "30", minimum=1, maximum=3650)
# How long a move of an alias waits for the approval of another user.
APPROVAL_HOURS = environment.integer("APPROVAL_HOURS", "168", minimum=1, maximum=8760)
JOB_KEEP_DAYS = environment.integer("JOB_KEEP_DAYS", "90", minimum=1, maximum=3650)
JOB_LOCATIONS = environment.locations("JOB_LOCATIONS")
SCORE_WORKERS = environment.integer("SCORE_WORKERS", "1", minimum=1, maximum=256)

# E-mail: alerts of monitors. Nothing is sent without EMAIL_HOST.

EMAIL_HOST = environment.text("EMAIL_HOST")
EMAIL_PORT = environment.integer("EMAIL_PORT", "587", minimum=1, maximum=65_535)
EMAIL_HOST_USER = environment.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = environment.text("EMAIL_HOST_PASSWORD")
_email_security = environment.choice("EMAIL_SECURITY", "starttls", ("starttls", "tls", "none"))
EMAIL_USE_TLS = _email_security == "starttls"
EMAIL_USE_SSL = _email_security == "tls"
EMAIL_TIMEOUT = environment.integer("EMAIL_TIMEOUT", "20", minimum=1, maximum=300)
DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM", "mlapi@localhost")

# The server: connections and workers

MAX_CONNECTIONS = environment.integer("MAX_CONNECTIONS", "1000", minimum=16, maximum=1_000_000)
BODY_TIMEOUT_SECONDS = environment.integer("BODY_TIMEOUT_SECONDS", "20", minimum=1, maximum=3600)
BODY_MIN_BYTES_PER_SECOND = environment.integer("BODY_MIN_BYTES_PER_SECOND", "1000", minimum=1)
IDLE_TIMEOUT_SECONDS = environment.integer("IDLE_TIMEOUT_SECONDS", "75", minimum=1, maximum=86_400)
WORKER_TIMEOUT_SECONDS = environment.integer(
    "WORKER_TIMEOUT_SECONDS", "60", minimum=5, maximum=86_400
)
HEALTH_PORT = environment.integer("HEALTH_PORT", "0", maximum=65_535)

# HTTP: browsers and proxies

CORS_ALLOWED_ORIGINS = environment.origins("CORS_ORIGINS", '["http://localhost:3000"]')
CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "content-encoding",
    "content-type",
    "idempotency-key",
    "inference-header-content-length",
    "x-csrftoken",
    "x-request-id",
    "x-request-timeout-ms",
]
CORS_EXPOSE_HEADERS = [
    "At-End",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Export-Position",
    "Inference-Header-Content-Length",
    "Link",
    "Repr-Digest",
    "Retry-After",
    "X-Request-ID",
]
CSRF_TRUSTED_ORIGINS = environment.origins("CSRF_TRUSTED_ORIGINS", wildcard=True)
CSRF_FAILURE_VIEW = "mlapi.problems.csrf_failure"

_proto_header = environment.header("FORWARDED_PROTO_HEADER")
SECURE_PROXY_SSL_HEADER = (meta_name(_proto_header), "https") if _proto_header else None
URL_PREFIX = environment.url_prefix("URL_PREFIX")
_prefix_header = environment.header("FORWARDED_PREFIX_HEADER")
FORWARDED_PREFIX_META = meta_name(_prefix_header) if _prefix_header else ""
SECURE_SSL_REDIRECT = environment.boolean("SSL_REDIRECT", "false")
SECURE_HSTS_SECONDS = environment.integer("HSTS_SECONDS", "0", maximum=2**31 - 1)
SECURE_HSTS_INCLUDE_SUBDOMAINS = environment.boolean("HSTS_INCLUDE_SUBDOMAINS", "false")
SECURE_HSTS_PRELOAD = environment.boolean("HSTS_PRELOAD", "false")
# Secure cookies need https: plain http on loopback could not log in with them.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT or bool(_proto_header)
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

# Logs

LOG_LEVEL = environment.choice("LOG_LEVEL", "INFO", LOG_LEVELS)
LOG_FORMAT = environment.choice("LOG_FORMAT", "console", ("console", "json"))
LOGGING = logging_config(LOG_LEVEL, LOG_FORMAT)

# REST

# For the endpoints that accept a model file. No other endpoint may write an upload to disk.
UPLOAD_PARSER_CLASSES = ["mlapi.rest.parsers.JSONParser", "mlapi.rest.parsers.MultiPartParser"]
REST_FRAMEWORK = {
    "DEFAULT_PARSER_CLASSES": ["mlapi.rest.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["mlapi.rest.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "mlapi.rest.renderers.FixedContentNegotiation",
    "DEFAULT_AUTHENTICATION_CLASSES": ["predictions.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "registry.pagination.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": ["mlapi.rest.filters.StrictFilterBackend"],
    "DEFAULT_METADATA_CLASS": "mlapi.rest.metadata.Metadata",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "mlapi.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": APP_NAME,
    "DESCRIPTION": "Register trained models, request predictions, and query every prediction.",
    "VERSION": VERSION,
    "SCHEMA_PATH_PREFIX": "/api/v[0-9]+/",
    "COMPONENT_SPLIT_REQUEST": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": ENUM_NAMES,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "mlapi.rest.schema.document_problems",
        "mlapi.rest.schema.document_prefix",
    ],
}

# Last, since it needs every setting's name. A system check reports them.
VARIABLES_WITHOUT_EFFECT = environment.check_names()
