"""Django settings. What a deployment may change comes through `studio.env`."""

from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url

from studio import env
from studio.core.schema import ENUM_NAMES
from studio.logs import describe_logs, start_logs

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent
DATA_DIR = env.folder("STUDIO_DATA_DIR", BASE_DIR.parent / "data")
HUB_DIR = env.folder("STUDIO_HUB_DIR", DATA_DIR / "hub")
DRIVE_DIR = env.folder("STUDIO_DRIVE_DIR", DATA_DIR / "drive")
DRIVE_QUOTA_BYTES = env.whole("STUDIO_DRIVE_QUOTA_GIB", 50, low=0, high=1_048_576) * 2**30
# Whom drives belong to on the disk: the root of dev machines; None is the studio's user.
DRIVE_OWNER = env.maybe_whole("STUDIO_DRIVE_OWNER", low=0, high=2**32 - 2)

SECRET_KEY = env.text("STUDIO_SECRET_KEY")
DEBUG = env.flag("STUDIO_DEBUG", default=False)
PUBLIC_URL = env.text("STUDIO_PUBLIC_URL", "http://127.0.0.1:8600").rstrip("/")
_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS = env.items("STUDIO_ALLOWED_HOSTS", f"{_public.hostname},localhost,127.0.0.1,[::1]")
ALLOWED_HOSTS.append("169.254.86.1")  # a studio on loopback, as dev machines reach it
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"
# Over TLS one that no other host can set (RFC 6265bis, 4.1.3): machines may be its siblings.
SESSION_COOKIE_NAME = "__Host-athanor_session" if SESSION_COOKIE_SECURE else "athanor_session"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
APPEND_SLASH = False
# A JSON commit to the hub carries small files inline; larger ones are refused in one sentence.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20
HUB_MAX_UPLOAD_BYTES = env.whole("STUDIO_MAX_UPLOAD_MIB", 1024, low=1, high=1_048_576) * 2**20
# Where the hub's bytes lie: HUB_DIR, or a bucket of an S3-compatible storage.
_S3 = ("bucket", "endpoint", "region", "key_id", "secret", "prefix")
HUB_S3 = env.text("STUDIO_S3_BUCKET", "") and {
    part: env.text(f"STUDIO_S3_{part.upper()}", "") for part in _S3
}
# An internal address of the proxy's that is HUB_DIR, for it to send files; empty without one.
HUB_ACCEL = env.text("STUDIO_HUB_ACCEL", "")
# What people's imports may reach besides the public internet: hosts and networks.
IMPORT_ALLOW = env.hosts_and_networks("ATHANOR_IMPORT_ALLOW")

# Dev machines: each port is an origin of its own, <port>-<machine>.<domain>; or, where wildcard
# names are missing, a port of the studio's own host out of a range.
MACHINES_DOMAIN, MACHINES_PORTS = env.machine_addresses()
SSH_HOST = env.text("STUDIO_SSH_HOST", "") or _public.hostname or "localhost"
SSH_PORT = env.whole("STUDIO_SSH_PORT", 2222, low=1, high=65535)
SSH_BIND = env.text("STUDIO_SSH_BIND", "127.0.0.1")
SSH_ALLOW_REMOTE_FORWARD = env.flag("STUDIO_SSH_ALLOW_REMOTE_FORWARD", default=False)
# A machine that nobody and nothing has used for so long is stopped; 0 is never.
MACHINE_IDLE_S = env.whole("STUDIO_MACHINE_IDLE_S", 3600, low=0, high=604_800)
SSH_IDLE_S = env.whole("STUDIO_SSH_IDLE_S", 7200, low=60, high=604_800)
MACHINE_DISK_GIB = env.whole("STUDIO_MACHINE_DISK_GIB", 50, low=0, high=100_000)
MACHINE_SCRATCH_GIB = env.whole("STUDIO_MACHINE_SCRATCH_GIB", 50, low=0, high=16_000)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.headless",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "studio.core",
    "studio.accounts",
    "studio.points",
    "studio.compute",
    "studio.hub",
    "studio.drive",
    "studio.jobs",
    "studio.serving",
    "studio.playground",
    "studio.labelling",
    "studio.importing",
    "studio.machines",
]
MIDDLEWARE = [
    "studio.core.requests.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "studio.urls"
ASGI_APPLICATION = "studio.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# SQLite: write transactions take the lock when they begin, so a read-then-write never fails midway.
DATABASES = {
    "default": dj_database_url.parse(
        env.text("STUDIO_DATABASE_URL", f"sqlite:///{DATA_DIR / 'studio.sqlite3'}"),
        conn_max_age=0,  # under ASGI a kept connection outlives its request in nobody's hands
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;"
        ),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("STUDIO_REDIS_URL", f"unix://{DATA_DIR / 'run' / 'redis.sock'}")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL}], "prefix": "athanor"},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 2.0},
    }
}
# Celery names a Redis on a Unix socket in its own way.
BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
NODE_BROKER_URL = env.text("STUDIO_NODE_BROKER_URL", BROKER_URL)  # what a joining node is told

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*"]
ACCOUNT_ADAPTER = "studio.accounts.adapter.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
# A whole class signs in from one address; guessing one person's password stays slow.
ACCOUNT_RATE_LIMITS = {"login": "300/m/ip", "login_failed": "60/m/ip,5/5m/key"}
HEADLESS_ONLY = True
HEADLESS_CLIENTS = ["browser"]
HEADLESS_FRONTEND_URLS: dict[str, str] = {}
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
LOGIN_URL = "/sign-in"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "Chinese")]
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Hashed by Vite already; served straight from the source folder, so nothing is collected.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "studio.machines.machine_tokens.MachineTokenAuthentication",
        "studio.accounts.authentication.PersonalTokenAuthentication",
        "studio.accounts.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["studio.core.permissions.SignedInWithScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["studio.core.inputs.JsonParser"],
    "DEFAULT_PAGINATION_CLASS": "studio.core.pagination.Pages",
    "EXCEPTION_HANDLER": "studio.core.answers.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Athanor",
    "DESCRIPTION": "The studio's API. Points are whole milli-points; times are ISO 8601 in UTC.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api",
    "PREPROCESSING_HOOKS": ["studio.core.schema.leave_out_foreign_doors"],
    "ENUM_NAME_OVERRIDES": ENUM_NAMES,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "studio.core.schema.add_refusals",
    ],
}

CELERY_TASK_DEFAULT_QUEUE = "studio"
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = BROKER_URL

start_logs()
LOGGING = describe_logs(
    to=env.text("STUDIO_LOG_TO", ""), level=env.text("STUDIO_LOG_LEVEL", "INFO")
)
