"""A process's settings at its start: read, and fit for where it runs, or one line that says what is not."""

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import ValidationError

from domain.accounts.keyring import KeyRing
from domain.jobs.commands import pools
from domain.settings import Cdn, Pools, Settings

PRODUCTION = "production"
#: RabbitMQ's own default, which everybody knows.
GUEST = "guest"

_UNPARSED = re.compile(r'value for field "(\w+)"')


class Misconfigured(Exception):
    """The settings cannot be used; the message is one line that names each and why."""


def load_settings() -> Settings:
    """The settings of the environment. Raises Misconfigured, without a value: it may be a secret."""
    try:
        settings = Settings()
    except ValueError as error:
        raise Misconfigured("; ".join(unreadable(error))) from None
    wrong = list(unusable(settings))
    if wrong:
        raise Misconfigured("; ".join(wrong))
    found = list(unfit(settings))
    if found:
        raise Misconfigured(f"not fit for production: {'; '.join(found)}")
    return settings


def unusable(settings: Settings) -> Iterator[str]:
    """What can be read and yet not be used, anywhere."""
    key = settings.auth.signing_key
    if key is not None:
        try:
            KeyRing.from_pem(key.get_secret_value())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            yield "STOCKYARD_AUTH_SIGNING_KEY is no Ed25519 private key in PEM form"
    if settings.telemetry.endpoint is not None and not _has_telemetry():
        yield "STOCKYARD_TELEMETRY_ENDPOINT is set without the extra: pip install 'stockyard[telemetry]'"
    yield from _unknown_pools(settings.pools)
    yield from _unusable_cdn(settings.cdn)


def _unknown_pools(settings: Pools) -> Iterator[str]:
    known = pools()
    named = {"TARGET_WAITS": list(settings.target_waits), "FAIR_SHARES": list(settings.fair_shares)}
    for name, given in named.items():
        unknown = sorted(set(given) - set(known))
        if unknown:
            names = f"{', '.join(unknown)}: there are {', '.join(known)}"
            yield f"STOCKYARD_POOLS_{name} names no pool by {names}"


def _has_telemetry() -> bool:
    """Whether the extra is installed: by its last part, without importing it."""
    needed = ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.instrumentation.pymongo")
    try:
        return all(find_spec(name) for name in needed)
    except ModuleNotFoundError:
        return False


def _unusable_cdn(cdn: Cdn) -> Iterator[str]:
    if (cdn.key_pair_id is None) != (cdn.private_key is None):
        yield "STOCKYARD_CDN_KEY_PAIR_ID and STOCKYARD_CDN_PRIVATE_KEY are set both, or none"
    if cdn.private_key is None:
        return
    if cdn.url is None:
        yield "STOCKYARD_CDN_URL is missing, which addresses are signed for"
    try:
        key = load_pem_private_key(cdn.private_key.get_secret_value().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        yield "STOCKYARD_CDN_PRIVATE_KEY is no RSA private key in PEM form"


def unfit(settings: Settings) -> Iterator[str]:
    """What forbids to start in production: secrets that are missing or known to all, and open doors."""
    if settings.deployment.env != PRODUCTION:
        return
    if settings.auth.signing_key is None:
        yield "STOCKYARD_AUTH_SIGNING_KEY is missing"
    for url in settings.rabbitmq.url.split(";"):
        known = urlsplit(url)
        if GUEST in {known.username or GUEST, unquote(known.password or GUEST)}:
            yield "STOCKYARD_RABBITMQ_URL has the default user or password"
            break
    if "*" in settings.api.cors_origins:
        yield "STOCKYARD_API_CORS_ORIGINS lets every page in"
    yield from _in_the_clear(settings)
    if not settings.webhooks.secret_keys:
        yield "STOCKYARD_WEBHOOKS_SECRET_KEYS is missing"
    if settings.webhooks.allow_loopback:
        yield "STOCKYARD_WEBHOOKS_ALLOW_LOOPBACK lets webhooks reach this host"
    if settings.log.level == "DEBUG":
        yield "STOCKYARD_LOG_LEVEL is DEBUG, which may log what is secret"


def _in_the_clear(settings: Settings) -> Iterator[str]:
    """What leaves this machine, or comes to it, without TLS."""
    if any(origin.startswith("http://") for origin in settings.api.cors_origins):
        yield "STOCKYARD_API_CORS_ORIGINS trusts pages without TLS"
    if settings.cdn.url is not None and settings.cdn.url.startswith("http://"):
        yield "STOCKYARD_CDN_URL delivers without TLS"
    store = urlsplit(settings.s3.public_url or "")
    if store.scheme == "http" and not _is_loopback(store.hostname or ""):
        yield "STOCKYARD_S3_PUBLIC_URL sends and delivers without TLS"
    if settings.mail.host and settings.mail.security == "none" and not _is_loopback(settings.mail.host):
        yield "STOCKYARD_MAIL_SECURITY sends mail in the clear"


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def unreadable(error: ValueError) -> Iterator[str]:
    """What was wrong when `Settings()` raised, without a value: it may be a secret. A line for each."""
    if not isinstance(error, ValidationError):
        # The value of a list that is no JSON; else `.env` itself.
        unparsed = _UNPARSED.search(str(error))
        if unparsed is None:
            yield ".env cannot be read: is it UTF-8?"
        else:
            yield f"{_variable_of(unparsed[1])}: this is no JSON"
        return
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        yield f"{variable(error.title, field)}: {problem['msg']}"


def _variable_of(field: str) -> str:
    """The variable of a field whose group is not known."""
    having = (name for name, each in Settings.model_fields.items() if field in _fields(each.annotation))
    return variable(next(having, ""), field)


def _fields(group: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = group.model_fields
    return found


def variable(group: str, field: str) -> str:
    """The variable of a group's field. The group may be its class's name."""
    kind = Settings.model_fields.get(group.lower())
    prefix = str(getattr(kind.annotation, "model_config", {}).get("env_prefix", "")) if kind else ""
    return f"{prefix}{field}".upper()
