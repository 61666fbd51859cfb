"""Calls of webhooks over real sockets: whatever the receiver does, the answer comes, and soon."""

import asyncio
import gzip
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.adapters import webhook_connections
from domain.adapters.webhook_connections import SLOW, Resolver
from domain.adapters.webhooks import READ, SHOWN, HttpWebhookSender
from domain.ports import WebhookAnswer
from domain.settings import Webhooks
from tests.factories import eventually
from tests.receiver import Call, Receiver, answer, receiving

Lookups = dict[str, list[str]]


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncIterator[HttpWebhookSender]:
    async with opened(allow_loopback=True, timeout="500ms") as sender:
        yield sender


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    """What names lead to; asking for any other is an error."""
    known: Lookups = {}

    def look_up(host: str, port: None, type: int) -> list[Any]:  # noqa: A002 - as it is called
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, type, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@asynccontextmanager
async def opened(
    *, only_https: bool = False, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[HttpWebhookSender]:
    sender = HttpWebhookSender(Webhooks(**settings), only_https=only_https, tls=tls)
    try:
        yield sender
    finally:
        await sender.close()


async def send(sender: HttpWebhookSender, url: str) -> WebhookAnswer:
    async with asyncio.timeout(3):
        return await sender.send(url, body=b"{}", headers={"webhook-id": "1"})


async def test_a_call_is_a_post_with_its_body_and_headers(sender: HttpWebhookSender, receiver: Receiver):
    receiver.answers["/in?a=1"] = answer(204)
    sent = await sender.send(
        receiver.url("/in?a=1"), body=b'{"a": 1}', headers={"webhook-id": "7", "Content-Type": "x/y"}
    )
    assert (sent.status, sent.error, sent.taken) == (204, None, True)
    (call,) = receiver.at("/in?a=1")
    assert call.body == b'{"a": 1}'
    expected = {"webhook-id": "7", "content-type": "x/y", "host": f"127.0.0.1:{receiver.port}"}
    assert call.headers.items() >= expected.items()


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 410, 429, 500, 503])
async def test_only_two_hundreds_are_taken_and_no_redirect_is_followed(
    sender: HttpWebhookSender, receiver: Receiver, status: int
):
    path = f"/status/{status}"
    receiver.answers[path] = answer(status, "no", Location=receiver.url("/elsewhere"), Retry_After="5")
    sent = await send(sender, receiver.url(path))
    # 199 is one of those that announce another answer, which never comes.
    expected = (None, "timeout") if status == 199 else (status, None)
    assert (sent.status, sent.error, sent.taken) == (*expected, False)
    assert sent.retry_after == ("5" if sent.status else None)
    assert receiver.at("/elsewhere") == []


async def test_connections_are_kept_for_the_next_call(sender: HttpWebhookSender, receiver: Receiver):
    before = receiver.connections
    for _ in range(3):
        assert (await send(sender, receiver.url("/kept"))).taken
    assert receiver.connections == before + 1


async def test_only_the_beginning_of_an_answer_is_read(sender: HttpWebhookSender, receiver: Receiver):
    written = 0

    async def endless(_: Call, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    receiver.answers["/endless"] = endless
    sent = await send(sender, receiver.url("/endless"))
    assert (sent.status, sent.body) == (200, "x" * SHOWN)
    assert written < 20_000_000


async def test_an_answer_is_not_unpacked(sender: HttpWebhookSender, receiver: Receiver):
    bomb = gzip.compress(b"0" * 10_000_000)

    async def packed(_: Call, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        writer.write(head.encode() + bomb)

    receiver.answers["/bomb"] = packed
    sent = await send(sender, receiver.url("/bomb"))
    assert (sent.status, sent.body) == (200, "")
    assert receiver.at("/bomb")[0].headers["accept-encoding"] == "identity"


async def test_what_is_shown_is_text_that_steers_nothing(sender: HttpWebhookSender, receiver: Receiver):
    receiver.answers["/odd"] = answer(500, "a\x00b\x1b[2Jc\nd\u202ee")
    assert (await send(sender, receiver.url("/odd"))).body == "a\ufffdb\ufffd[2Jc\nd\ufffde"


async def test_a_receiver_that_is_slow_at_every_byte_is_left_after_the_time(
    sender: HttpWebhookSender, receiver: Receiver
):
    async def drip(_: Call, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async def nothing(_: Call, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    receiver.answers |= {"/drip": drip, "/nothing": nothing}
    for path in ("/drip", "/nothing"):
        sent = await send(sender, receiver.url(path))
        assert (sent.status, sent.error) == (None, "timeout")
        assert 0.5 <= sent.seconds < 5


async def test_once_the_status_is_known_a_slow_body_changes_nothing(
    sender: HttpWebhookSender, receiver: Receiver
):
    async def late(_: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await writer.drain()
        await asyncio.Event().wait()

    receiver.answers["/late"] = late
    sent = await send(sender, receiver.url("/late"))
    assert (sent.status, sent.error, sent.body) == (200, None, "half")


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200\x00 OK\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"x" * 200_000 + b"\r\n\r\n",
        b"",
    ],
    ids=["ssh", "nul", "status", "header", "nothing"],
)
async def test_an_answer_that_is_none_is_a_bad_one(
    sender: HttpWebhookSender, receiver: Receiver, garbage: bytes
):
    async def write(_: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await writer.drain()
        writer.close()

    receiver.answers["/garbage"] = write
    sent = await send(sender, receiver.url("/garbage"))
    assert (sent.status, sent.error) == (None, "bad_answer")


async def test_nobody_there_is_a_failed_connection(sender: HttpWebhookSender):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        assert (await send(sender, url)).error == "connection_failed"


# -- where calls may go ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://shop.example/hooks?x=1", None),
        ("https://shop.example:8443/", None),
        ("https://93.184.215.14/", None),
        ("https://[2606:4700:4700::1111]/", None),
        ("https://b\u00fccher.example/", None),
        ("http://shop.example/", "scheme"),
        ("ftp://shop.example/", "scheme"),
        ("file:///etc/passwd", "form"),
        ("gopher://shop.example:443/_", "scheme"),
        ("//shop.example/", "form"),
        ("shop.example", "form"),
        ("https://", "form"),
        ("https:///x", "form"),
        ("https://shop.example/#part", "form"),
        ("https://shop.example/a b", "form"),
        ("https://shop.example\\@10.0.0.1/", "form"),
        ("https://shop.example/\r\nX-Evil: 1", "form"),
        ("https://shop.example/\x00", "form"),
        ("https://" + "a" * 2000 + ".example/", "form"),
        ("https://shop.example:99999/", "form"),
        ("https://ada@shop.example/", "credentials"),
        ("https://ada:secret@shop.example/", "credentials"),
        ("https://shop.example:22/", "port"),
        ("https://shop.example:80/", "port"),
        ("https://127.0.0.1/", "address"),
        ("https://169.254.169.254/latest/meta-data/", "address"),
        ("https://10.0.0.1/", "address"),
        ("https://[::1]/", "address"),
        ("https://[::ffff:10.0.0.1]/", "address"),
        ("https://[64:ff9b::a9fe:a9fe]/", "address"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_a_url_that_cannot_be_called_is_told_why(url: str, reason: str | None):
    async with opened(only_https=True) as sender:
        assert sender.objection(url) == reason


async def test_a_name_is_judged_by_every_address_that_it_leads_to(receiver: Receiver, names: Lookups):
    names |= {
        "inside.example": ["10.0.0.1"],
        "metadata.example": ["169.254.169.254"],
        "both.example": ["93.184.215.14", "127.0.0.1"],
        "localhost": ["127.0.0.1"],
        # What C libraries read as an address, they look up.
        "0x7f.1": ["127.0.0.1"],
        "2130706433": ["127.0.0.1"],
    }
    before = receiver.connections
    async with opened(ports=[]) as sender:
        for host in names:
            sent = await send(sender, receiver.url("/", host))
            assert (sent.status, sent.error) == (None, "address_refused"), host
        assert (await send(sender, receiver.url("/", "nowhere.example"))).error == "name_unresolved"
    assert receiver.connections == before


async def test_a_name_that_leads_elsewhere_the_second_time_is_judged_by_what_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def look_up(host: str, port: None, type: int) -> list[Any]:  # noqa: A002 - as it is called
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(socket.AF_INET, type, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with opened(allow_loopback=True) as sender:
        assert (await send(sender, receiver.url("/", "rebound.example"))).taken
        assert asked == ["rebound.example"]
    assert receiver.at("/")[-1].headers["host"] == f"rebound.example:{receiver.port}"


async def test_the_next_address_is_tried_where_one_does_not_answer(receiver: Receiver, names: Lookups):
    names["two.example"] = ["127.0.0.2", "127.0.0.1"]
    async with opened(allow_loopback=True) as sender:
        assert (await send(sender, receiver.url("/two", "two.example"))).taken


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Names that begin with `hangs` are not answered while the test runs, others at once; who was asked."""
    asked, release = Counter[str](), threading.Event()

    def look_up(host: str, port: None, type: int) -> list[Any]:  # noqa: A002 - as it is called
        asked[host] += 1
        if host.startswith("hangs"):
            release.wait(10)
        return [(socket.AF_INET, type, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(webhook_connections, "SLOW_AFTER", 0.05)
    yield asked
    release.set()


async def test_a_name_server_that_hangs_is_asked_once_for_each_of_its_names(
    receiver: Receiver, hanging: Counter[str]
):
    async with opened(allow_loopback=True, timeout="300ms") as sender:
        calls = [send(sender, receiver.url("/", "hangs.example")) for _ in range(100)]
        *lost, good = await asyncio.gather(*calls, send(sender, receiver.url("/", "good.example")))
    assert {each.error for each in lost} == {"timeout"}
    assert good.taken
    assert hanging["hangs.example"] == 1


async def test_names_that_hang_keep_no_other_waiting_however_many_they_are(
    receiver: Receiver, hanging: Counter[str]
):
    names = [f"hangs-{n}.example" for n in range(60)]
    async with opened(allow_loopback=True, timeout="800ms") as sender:
        await sender._resolver.addresses("known.example")
        calls = [asyncio.create_task(send(sender, receiver.url("/", name))) for name in names]
        await asyncio.sleep(0)
        # One that was asked for before waits for none of them; a new one for those before it, a moment each.
        known, new = await asyncio.gather(
            *(send(sender, receiver.url("/", name)) for name in ("known.example", "new.example"))
        )
        assert (known.taken, new.taken) == (True, True)
        assert {(await each).error for each in calls} == {"timeout"}
        assert hanging == Counter([*names, "known.example", "known.example", "new.example"])


async def test_names_that_were_slow_wait_for_each_other_alone():
    answers, looks = threading.Semaphore(0), Counter[str]()

    def look_up(host: str) -> list[str]:
        looks[host] += 1
        if host.startswith("slow"):
            answers.acquire(timeout=10)
        return ["127.0.0.1"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhook_connections, "_look_up", look_up)
        patch.setattr(webhook_connections, "SLOW_AFTER", 0.05)
        resolver, names = Resolver(), [f"slow-{n}" for n in range(SLOW + 5)]
        first = asyncio.gather(*(resolver.addresses(name) for name in names))
        await eventually(lambda: looks.total() == len(names))
        await asyncio.sleep(0.06)
        answers.release(len(names))
        await first
        again = asyncio.gather(*(resolver.addresses(name) for name in names))
        await eventually(lambda: looks.total() == len(names) + SLOW)
        assert await resolver.addresses("new") == await resolver.addresses("new") == ["127.0.0.1"]
        assert looks.total() == len(names) + SLOW + 2
        answers.release(len(names))
        await again
        resolver.close()


async def test_proxies_of_the_environment_are_not_used(
    sender: HttpWebhookSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await send(sender, receiver.url("/direct"))).taken


# -- TLS ---------------------------------------------------------------------------------------------


def certificates(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a receiver of that name shows, and what a sender trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.pem").write_bytes(private + pem)
    (folder / "ca.pem").write_bytes(pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cafile=folder / "ca.pem")


async def test_the_certificate_is_asked_for_and_checked_by_the_urls_name(tmp_path: Path, names: Lookups):
    names |= {"shop.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    server, trust = certificates(tmp_path, "shop.example")
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    async with receiving(server) as receiver:
        async with opened(only_https=True, tls=trust, allow_loopback=True) as sender:
            assert (await send(sender, receiver.url("/", "shop.example"))).taken
            assert (await send(sender, receiver.url("/", "other.example"))).error == "tls_failed"
            assert (await send(sender, receiver.url("/", "shop.example"))).taken
        async with opened(only_https=True, allow_loopback=True) as sender:
            assert (await send(sender, receiver.url("/", "shop.example"))).error == "tls_failed"
        assert asked[:2] == ["shop.example", "other.example"]
        assert len(receiver.calls) == 2


async def test_a_call_that_is_not_to_be_made_is_not_made(receiver: Receiver):
    before = len(receiver.calls)
    async with opened(only_https=True, allow_loopback=True) as sender:
        assert (await send(sender, receiver.url("/"))).error == "url_refused"
    assert len(receiver.calls) == before


def test_more_is_read_than_shown():
    assert READ >= SHOWN
