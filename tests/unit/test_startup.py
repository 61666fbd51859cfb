"""Settings at the start of a process: fit, or one line that says what is not."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from domain.accounts.keyring import new_pem
from domain.settings import Settings
from domain.startup import Misconfigured, load_settings

KEY = new_pem()
FIT = {
    "STOCKYARD_ENV": "production",
    "STOCKYARD_AUTH_SIGNING_KEY": KEY,
    "STOCKYARD_RABBITMQ_URL": "amqp://shop:s3cret@mq.internal:5672/",
    "STOCKYARD_API_CORS_ORIGINS": '["https://shop.example"]',
    "STOCKYARD_WEBHOOKS_SECRET_KEYS": '["' + Fernet.generate_key().decode() + '"]',
}


@pytest.fixture(autouse=True)
def _fit(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in FIT.items():
        monkeypatch.setenv(name, value)


def refusal() -> str:
    with pytest.raises(Misconfigured) as told:
        load_settings()
    assert "\n" not in str(told.value)
    return str(told.value)


def test_production_starts_with_secrets_of_its_own():
    assert load_settings().deployment.env == "production"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STOCKYARD_AUTH_SIGNING_KEY", "", "STOCKYARD_AUTH_SIGNING_KEY is missing"),
        ("STOCKYARD_RABBITMQ_URL", "amqp://guest:guest@mq/", "STOCKYARD_RABBITMQ_URL has the default user"),
        ("STOCKYARD_RABBITMQ_URL", "amqp://shop:%67uest@mq/", "STOCKYARD_RABBITMQ_URL has the default user"),
        ("STOCKYARD_RABBITMQ_URL", "amqp://mq/", "STOCKYARD_RABBITMQ_URL has the default user"),
        ("STOCKYARD_RABBITMQ_URL", "amqp://a:b@mq1/;amqp://guest:x@mq2/", "the default user"),
        ("STOCKYARD_API_CORS_ORIGINS", '["*"]', "STOCKYARD_API_CORS_ORIGINS lets every page in"),
        ("STOCKYARD_API_CORS_ORIGINS", '["http://shop.example"]', "pages without TLS"),
        ("STOCKYARD_LOG_LEVEL", "DEBUG", "STOCKYARD_LOG_LEVEL is DEBUG"),
        ("STOCKYARD_WEBHOOKS_ALLOW_LOOPBACK", "true", "STOCKYARD_WEBHOOKS_ALLOW_LOOPBACK lets webhooks"),
        ("STOCKYARD_WEBHOOKS_SECRET_KEYS", "[]", "STOCKYARD_WEBHOOKS_SECRET_KEYS is missing"),
        ("STOCKYARD_CDN_URL", "http://cdn.example", "STOCKYARD_CDN_URL delivers without TLS"),
        ("STOCKYARD_S3_PUBLIC_URL", "http://s3.example", "STOCKYARD_S3_PUBLIC_URL sends and"),
    ],
)
def test_production_refuses(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    assert refusal().startswith("not fit for production: ")
    assert said in refusal()
    monkeypatch.setenv("STOCKYARD_ENV", "development")
    assert isinstance(load_settings(), Settings)


def test_mail_goes_to_another_machine_with_tls_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOCKYARD_MAIL_SECURITY", "none")
    monkeypatch.setenv("STOCKYARD_MAIL_HOST", "127.0.0.1")
    assert load_settings().mail.host == "127.0.0.1"
    monkeypatch.setenv("STOCKYARD_MAIL_HOST", "mail.example.com")
    assert "STOCKYARD_MAIL_SECURITY sends mail in the clear" in refusal()


def test_all_that_is_not_fit_is_said_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STOCKYARD_AUTH_SIGNING_KEY")
    monkeypatch.delenv("STOCKYARD_RABBITMQ_URL")
    assert refusal().count(";") == 1


def test_a_setting_that_cannot_be_read_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOCKYARD_ENV", "s3cret")
    assert refusal() == "STOCKYARD_ENV: Input should be 'development' or 'production'"
    monkeypatch.setenv("STOCKYARD_ENV", "development")
    monkeypatch.setenv("STOCKYARD_API_PORT", "s3cret")
    assert refusal().startswith("STOCKYARD_API_PORT: ")
    assert "s3cret" not in refusal()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STOCKYARD_API_CORS_ORIGINS", "https://shop.example", "this is no JSON"),
        ("STOCKYARD_PAYMENTS_WEBHOOK_SECRETS", "whsec_s3cret", "this is no JSON"),
        ("STOCKYARD_API_CORS_ORIGINS", '["null"]', "String should match pattern"),
        ("STOCKYARD_API_CORS_ORIGINS", '["https://shop.example/"]', "String should match pattern"),
        ("STOCKYARD_API_CORS_ORIGINS", '["HTTP://shop.example"]', "String should match pattern"),
        ("STOCKYARD_AUTH_ACCESS_TTL", "0s", "greater than or equal to 1 second"),
        ("STOCKYARD_WEBHOOKS_SECRET_KEYS", '["s3cret"]', "a key has 32 bytes in URL-safe base64"),
        ("STOCKYARD_AUTH_SIGNING_KEY", "s3cret", "no Ed25519 private key in PEM form"),
        ("STOCKYARD_AUTH_SIGNING_KEY", KEY.replace("M", "s3cret", 1), "no Ed25519 private key in PEM form"),
    ],
)
def test_what_cannot_be_used_is_refused_everywhere(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    for env in ("production", "development"):
        monkeypatch.setenv("STOCKYARD_ENV", env)
        monkeypatch.setenv(name, value)
        assert name in refusal()
        assert said in refusal()
        assert "s3cret" not in refusal()


def test_a_cdn_signs_with_a_whole_key_pair_or_not_at_all(monkeypatch: pytest.MonkeyPatch):
    rsa = generate_private_key(65537, 2048)
    pem = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    monkeypatch.setenv("STOCKYARD_CDN_PRIVATE_KEY", pem.replace("\n", r"\n"))
    assert "STOCKYARD_CDN_KEY_PAIR_ID and STOCKYARD_CDN_PRIVATE_KEY are set both, or none" in refusal()
    assert "STOCKYARD_CDN_URL is missing" in refusal()
    monkeypatch.setenv("STOCKYARD_CDN_KEY_PAIR_ID", "K2JCJMDEHXQW5F")
    monkeypatch.setenv("STOCKYARD_CDN_URL", "https://cdn.example")
    assert load_settings().cdn.key_pair_id == "K2JCJMDEHXQW5F"
    monkeypatch.setenv("STOCKYARD_CDN_PRIVATE_KEY", KEY)
    assert "STOCKYARD_CDN_PRIVATE_KEY is no RSA private key" in refusal()
    monkeypatch.delenv("STOCKYARD_CDN_PRIVATE_KEY")
    assert "are set both, or none" in refusal()


def test_a_file_of_settings_that_is_no_text_is_said_in_a_line(tmp_path: Path):
    (tmp_path / ".env").write_bytes(b"STOCKYARD_API_PORT=\xff\xfe\n")
    assert refusal() == ".env cannot be read: is it UTF-8?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TARGET_WAIT", "0s"),
        ("TARGET_WAITS", '{"orders": "0s"}'),
        ("FAIR_SHARE", "-1"),
        ("FAIR_SHARES", '{"orders": -1}'),
    ],
)
def test_pools_have_targets_and_shares_that_can_be_kept(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"STOCKYARD_POOLS_{name}", value)
    assert refusal().startswith(f"STOCKYARD_POOLS_{name}: ")


@pytest.mark.parametrize("name", ["TARGET_WAITS", "FAIR_SHARES"])
def test_a_pool_that_there_is_not_has_no_settings(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"STOCKYARD_POOLS_{name}", '{"orders": 5, "ordres": 5}')
    said = refusal()
    assert said.startswith(f"STOCKYARD_POOLS_{name} names no pool by ordres: there are inventory, ")
    monkeypatch.delenv(f"STOCKYARD_POOLS_{name}")
    load_settings()


def test_a_signing_key_may_be_written_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOCKYARD_AUTH_SIGNING_KEY", KEY.replace("\n", r"\n"))
    assert load_settings().deployment.env == "production"
