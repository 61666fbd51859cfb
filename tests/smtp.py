"""A mail server of a test's own, in its event loop: a real one, that can be told what to answer."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


@dataclass
class Postbox:
    """What one server takes. `answers` are given to the next messages, or recipients, in the place of 250."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    answers: deque[str] = field(default_factory=deque)
    recipient_answers: deque[str] = field(default_factory=deque)
    #: Seconds before a message is answered.
    delay: float = 0.0
    recipients: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    private: list[bool] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """Of processes whose letters come here."""
        return {
            "STOCKYARD_MAIL_HOST": HOST,
            "STOCKYARD_MAIL_PORT": str(self.port),
            "STOCKYARD_MAIL_SECURITY": "none",
            "STOCKYARD_MAIL_SENDER": "Tea & Co <shop@example.com>",
        }

    def to(self, address: str) -> list[EmailMessage]:
        """What has come for the address."""
        return [message for message in self.messages if message["To"] == address]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if self.recipient_answers:
            return self.recipient_answers.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.delay)
        if self.answers:
            return self.answers.popleft()
        content = cast("bytes", envelope.content)
        self.messages.append(message_from_bytes(content, policy=default))
        self.recipients.extend(envelope.rcpt_tos)
        self.private.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, _s: SMTP, _e: Session, _v: Envelope, _mechanism: str, data: Any) -> AuthResult:
        given = cast("LoginPassword", data)
        self.logins.append(given.login.decode())
        return AuthResult(success=given.password == b"open sesame", handled=False)


@asynccontextmanager
async def serving(*, port: int = 0, **options: Any) -> AsyncIterator[Postbox]:
    """A server on loopback; `options` are those of aiosmtpd's SMTP."""
    box = Postbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, ident="test", **({"authenticator": box.authenticate} | options)), HOST, port
    )
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for the server: the PEM file that trusts it, and the server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "smtp.pem", folder / "smtp.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
