"""Mail over SMTP."""

import asyncio
import re
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, parseaddr

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from domain.ports import LetterRefused, MailAway, OutgoingMail
from domain.settings import Mail

#: Replies from here on are for good (RFC 5321, 4.2.1).
PERMANENT = 500
#: And yet these are about how we have logged in, not about the letter (RFC 4954, 6).
OURS = frozenset({530, 534, 535, 538})
#: Characters of a server's answer that are kept.
LONGEST_ANSWER = 300
#: Seconds for the good-bye after a message that is taken.
GOOD_BYE = 1.0
#: What would end an address.
_BREAKS = re.compile(r'[\s<>()\[\],:;@\\"\x00-\x1f\x7f-\x9f]')


class SmtpMailer:
    """`ports.Mailer` over one server, with a connection for each message."""

    def __init__(self, settings: Mail) -> None:
        self._settings = settings
        self._sender = sender_of(settings)
        self._timeout = settings.timeout.total_seconds()

    async def send(self, mail: OutgoingMail) -> None:
        """Returns once the server has taken the message. Raises LetterRefused and MailAway."""
        message = message_of(mail, self._sender)
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout):
                await client.connect()
                await client.send_message(
                    message, sender=self._sender.addr_spec, recipients=[message["To"].addresses[0].addr_spec]
                )
        except (SMTPRecipientsRefused, SMTPDataError, SMTPSenderRefused) as error:
            raise _refusal(error) from error
        except SMTPNotSupported as error:
            if "SMTPUTF8" in str(error):
                raise LetterRefused(_one_line(str(error))) from error
            raise MailAway(_one_line(str(error))) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise MailAway(_one_line(str(error) or type(error).__name__)) from error
        except ValueError as error:
            # A certificate that is not trusted is an OSError, too, and no matter of the address.
            raise LetterRefused(f"no address to send to: {_one_line(str(error))}") from error
        finally:
            await _leave(client)

    async def ping(self, *, log_in: bool = False) -> None:
        """Connects, with TLS as the settings say, and greets. Raises MailAway, also where `log_in` fails."""
        client = self._client(log_in=log_in)
        try:
            async with asyncio.timeout(self._timeout):
                await client.connect()
                await client.ehlo()
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            raise MailAway(_one_line(str(error) or type(error).__name__)) from error
        finally:
            await _leave(client)

    def _client(self, *, log_in: bool = True) -> SMTP:
        settings = self._settings
        log_in = log_in and settings.username is not None
        return SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username if log_in else None,
            password=settings.password.get_secret_value() if log_in and settings.password else None,
            # What is named to the server; looking up this machine's own name may take seconds.
            local_hostname=self._sender.domain,
            timeout=self._timeout,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            cert_bundle=settings.ca_file,
        )


def sender_of(settings: Mail) -> Address:
    """Whom mail is from."""
    name, spec = parseaddr(settings.sender)
    return Address(name, addr_spec=spec)


def message_of(mail: OutgoingMail, sender: Address) -> EmailMessage:
    """The message as it is sent. Raises LetterRefused for an address that is none.

    No header can be added by what a letter is about: line breaks in one are refused here, where the letter
    has not made spaces of them.
    """
    message = EmailMessage(policy=POLICY)
    try:
        message["From"] = sender
        message["To"] = mailbox(mail.to)
        message["Subject"] = mail.subject
    except (MessageError, ValueError, IndexError) as error:
        raise LetterRefused(f"no address or subject to send: {type(error).__name__}") from error
    message["Date"] = format_datetime(mail.date)
    message["Message-ID"] = f"<{mail.id}@{sender.domain}>"
    # Nobody's holiday notice is to answer it (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def mailbox(address: str) -> str:
    """The address with its domain in the form of DNS. Raises ValueError and MessageError."""
    local, _, domain = address.rpartition("@")
    fit = f"{local}@{domain.encode('idna').decode()}"
    if local.isascii():
        return Address(addr_spec=fit).addr_spec
    # RFC 6531, which Python's Address does not know; the server may not either.
    if _BREAKS.search(local):
        raise ValueError("the name before the @ has signs that belong in quotes")
    return fit


def _refusal(error: SMTPException) -> Exception:
    """Why it was not taken: for good, or for now."""
    refusals = error.recipients if isinstance(error, SMTPRecipientsRefused) else [error]
    codes = [each.code for each in refusals if isinstance(each, SMTPResponseException)]
    said = [f"{each.code} {each.message}" for each in refusals if isinstance(each, SMTPResponseException)]
    told = _one_line("; ".join(said) or str(error))
    for_good = codes and min(codes) >= PERMANENT and not OURS.intersection(codes)
    return LetterRefused(told) if for_good else MailAway(told)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_ANSWER]


async def _leave(client: SMTP) -> None:
    """What goes wrong now does not matter: the message is taken, or it is not."""
    with suppress(SMTPException, OSError, TimeoutError):
        if client.is_connected:
            async with asyncio.timeout(GOOD_BYE):
                await client.quit()
    client.close()
