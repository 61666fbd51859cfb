"""Mailers: the fake and SMTP run the same cases, SMTP against a real server; then what only SMTP has."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from domain.adapters.smtp import SmtpMailer
from domain.ports import LetterRefused, MailAway, Mailer, OutgoingMail
from domain.settings import Mail
from domain.values import new_id
from tests.fakes import FakeMailer
from tests.smtp import HOST, Postbox, certificate, serving

MAIL = OutgoingMail(
    id=new_id(),
    to="ada@example.com",
    subject="Order confirmed",
    text="Thank you.\n",
    html="<p>Thank you.</p>",
    date=datetime(2026, 11, 22, 10, 45, tzinfo=UTC),
)


def mailer(box: Postbox, **settings: Any) -> SmtpMailer:
    given = {"host": HOST, "port": box.port, "security": "none", "sender": "Tea & Co <shop@example.com>"}
    return SmtpMailer(Mail(**{**given, **settings}))


@dataclass
class Service:
    """A mailer, what has arrived, and how it goes away or refuses somebody."""

    mailer: Mailer
    arrived: Callable[[], list[str]]
    go_away: Callable[[], None]
    refuse: Callable[[str], None]


@pytest.fixture(params=["fake", "smtp"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    if request.param == "fake":
        fake = FakeMailer()
        yield Service(
            fake,
            lambda: [mail.to for mail in fake.taken],
            lambda: setattr(fake, "away", True),
            fake.refused.add,
        )
        return
    async with serving() as box:
        yield Service(
            mailer(box),
            lambda: box.recipients,
            lambda: box.answers.append("421 later"),
            lambda _: box.recipient_answers.append("550 no such mailbox"),
        )


@pytest.fixture
async def box() -> AsyncIterator[Postbox]:
    async with serving() as box:
        yield box


async def test_a_message_is_taken(service: Service):
    await service.mailer.send(MAIL)
    assert service.arrived() == [MAIL.to]


async def test_an_address_that_is_refused_is_refused_for_good(service: Service):
    service.refuse(MAIL.to)
    with pytest.raises(LetterRefused, match="550 no such mailbox"):
        await service.mailer.send(MAIL)
    assert service.arrived() == []


async def test_a_server_that_is_away_may_take_it_later(service: Service):
    service.go_away()
    with pytest.raises(MailAway):
        await service.mailer.send(MAIL)
    assert service.arrived() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": "Order\r\nBcc: eve@example.com"},
        {"to": "ada@example.com\r\nBcc: eve@example.com"},
        {"to": "ada@example.com\r\nRCPT TO:<eve@example.com>"},
        {"to": "nobody"},
    ],
    ids=["subject", "address", "command", "no-address"],
)
async def test_nothing_is_sent_with_a_line_break_in_a_header(service: Service, wrong: dict[str, str]):
    with pytest.raises(LetterRefused):
        await service.mailer.send(replace(MAIL, **wrong))  # type: ignore[arg-type]
    assert service.arrived() == []


async def test_a_message_has_both_forms_and_says_what_it_is(box: Postbox):
    await mailer(box).send(MAIL)
    (message,) = box.messages
    assert message["From"] == "Tea & Co <shop@example.com>"
    assert message["To"] == MAIL.to
    assert message["Subject"] == MAIL.subject
    assert message["Message-ID"] == f"<{MAIL.id}@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == MAIL.date
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), said(text)) == ("text/plain", MAIL.text)
    assert (html.get_content_type(), said(html)) == ("text/html", f"{MAIL.html}\n")


def said(part: Message) -> str:
    return str(cast(EmailMessage, part).get_content()).replace("\r\n", "\n")


async def test_text_that_is_no_ascii_and_lines_of_dots_arrive(box: Postbox):
    text = f".\n..\n.Blåbærsyltetøy 茶\n{'x' * 2000}\n"
    await mailer(box).send(replace(MAIL, subject="Größe 茶 ist zurück", text=text))
    (message,) = box.messages
    assert message["Subject"] == "Größe 茶 ist zurück"
    assert said(next(iter(message.iter_parts()))) == text


async def test_a_domain_that_is_no_ascii_is_written_as_in_dns(box: Postbox):
    await mailer(box).send(replace(MAIL, to="ada@bücher.example"))
    assert box.recipients == ["ada@xn--bcher-kva.example"]


async def test_a_name_that_is_no_ascii_needs_a_server_that_takes_it(box: Postbox):
    with pytest.raises(LetterRefused, match="SMTPUTF8"):
        await mailer(box).send(replace(MAIL, to="åda@example.com"))
    async with serving(enable_SMTPUTF8=True) as able:
        await mailer(able).send(replace(MAIL, to="åda@example.com"))
        assert able.recipients == ["åda@example.com"]


@pytest.mark.parametrize(
    ("where", "answer", "raised"),
    [
        ("answers", "451 greylisted, try again", MailAway),
        ("answers", "554 no spam please", LetterRefused),
        ("recipient_answers", "450 mailbox busy", MailAway),
        ("recipient_answers", "552 mailbox full", LetterRefused),
        ("recipient_answers", "530 authentication required", MailAway),
    ],
    ids=["message-later", "message-never", "recipient-later", "recipient-never", "log-in"],
)
async def test_what_the_server_says_decides(box: Postbox, where: str, answer: str, raised: type[Exception]):
    getattr(box, where).append(answer)
    with pytest.raises(raised, match=answer):
        await mailer(box).send(MAIL)
    await mailer(box).send(MAIL)
    assert len(box.messages) == 1


async def test_a_server_that_is_not_there_or_says_nothing_is_away(box: Postbox):
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))
        with pytest.raises(MailAway):
            await mailer(box, port=nobody.getsockname()[1]).send(MAIL)
    box.delay = 30
    began = time.monotonic()
    with pytest.raises(MailAway):
        await mailer(box, timeout="200ms").send(MAIL)
    assert time.monotonic() - began < 10


async def test_a_sign_of_life_is_a_greeting_and_no_message(box: Postbox):
    await mailer(box).ping()
    assert box.recipients == []
    with pytest.raises(MailAway):
        await mailer(Postbox(port=1)).ping()


async def test_a_good_bye_that_fails_does_not_make_a_message_unsent(box: Postbox, monkeypatch):
    async def fails(*_: Any, **__: Any) -> str:
        raise ConnectionResetError

    monkeypatch.setattr("aiosmtplib.SMTP.quit", fails)
    await mailer(box).send(MAIL)
    assert len(box.messages) == 1


async def test_starttls_and_tls_are_checked_against_the_certificate(tmp_path: Path):
    trusted, context = certificate(tmp_path)
    login = {"username": "shop", "password": "open sesame"}
    async with serving(tls_context=context, require_starttls=True) as box:
        await mailer(box, security="starttls", ca_file=str(trusted), **login).send(MAIL)
        assert (box.logins, box.private) == (["shop"], [True])
        with pytest.raises(MailAway, match=r"(?i)certificate"):
            await mailer(box, security="starttls", **login).send(MAIL)
        wrong = {"username": "shop", "password": "wrong"}
        refused = mailer(box, security="starttls", ca_file=str(trusted), **wrong)
        with pytest.raises(MailAway, match="535"):
            await refused.send(MAIL)
        with pytest.raises(MailAway, match="535"):
            await refused.ping(log_in=True)
        # Who only looks does not log in: that is counted, and logged.
        await refused.ping()
    assert box.recipients == [MAIL.to]


async def test_without_tls_nothing_is_sent_where_it_is_asked_for(box: Postbox):
    with pytest.raises(MailAway):
        await mailer(box, security="starttls").send(MAIL)
    with pytest.raises(MailAway):
        await mailer(box, security="tls", timeout="500ms").send(MAIL)
    assert box.messages == []


async def test_many_are_sent_at_once(box: Postbox):
    sends = [mailer(box).send(replace(MAIL, to=f"{n}@example.com")) for n in range(20)]
    await asyncio.gather(*sends)
    assert len(set(box.recipients)) == 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "nobody"},
        {"sender": "Shop <shop@example.com>\nBcc: eve@example.com"},
        {"sender": "Shop <shop@bücher.example>"},
        {"username": "shop"},
        {"username": "shop", "password": "open sesame", "security": "none"},
    ],
    ids=["no-address", "line-break", "no-ascii", "no-password", "in-clear"],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        Mail(**wrong)
