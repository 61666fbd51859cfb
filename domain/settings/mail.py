"""Mail."""

from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration
from domain.values import Duration


def mailbox(text: str) -> str:
    """The text, which is `name@host` or `Name <name@host>`. Raises ValueError."""
    name, spec = parseaddr(text)
    try:
        fit = bool(text.isprintable() and spec.isascii() and Address(name, addr_spec=spec).domain)
    except (MessageError, IndexError):
        fit = False
    if not fit:
        msg = "this is no address such as Shop <shop@example.com>"
        raise ValueError(msg)
    return text


class Mail(BaseSettings):
    """The SMTP server that takes our mail. Without a host no mail is written."""

    model_config = config("MAIL")
    host: str | None = None
    port: int = Field(default=587, ge=1, le=65535)
    #: "starttls" refuses to go on without it, "tls" begins with it, "none" is for a server on this machine.
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    #: Whom mail is from; the name is the shop's, in letters, too.
    sender: Annotated[str, AfterValidator(mailbox)] = "Stockyard <no-reply@localhost>"
    #: Certificates that the server's is checked against, as a PEM file, in the place of the system's.
    ca_file: str | None = None
    #: The longest that the server may take for one message.
    timeout: Duration = duration("20s")
    #: Messages that one process has on their way at once.
    connections: int = Field(default=4, ge=1, le=64)
    #: First pause before a message is sent again that the server did not take; doubles, up to the longest.
    backoff: Duration = duration("30s")
    max_backoff: Duration = duration("30m")

    @model_validator(mode="after")
    def _log_in_in_private(self) -> Self:
        if (self.username is None) != (self.password is None):
            msg = "a user name and a password belong together"
            raise ValueError(msg)
        if self.username is not None and self.security == "none":
            msg = "a password is not sent without TLS"
            raise ValueError(msg)
        return self
