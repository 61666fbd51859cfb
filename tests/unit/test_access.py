"""The line that a request leaves, in each form."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from api.access import Answered, access_log, combined
from api.device import _host
from domain.settings import Log

AT = datetime(2026, 11, 22, 9, 5, 7, tzinfo=UTC)


def answered(**more: Any) -> Answered:
    scope = {
        "method": "GET",
        "sent_method": "GET",
        "path": "/v1/orders",
        "raw_path": b"/v1/orders",
        "query_string": b"limit=2",
        "http_version": "1.1",
        "client": ("203.0.113.9", 4711),
        "headers": [(b"user-agent", b"curl/8"), (b"referer", b"https://shop.example/")],
        "request_id": "shop-42:abc",
        "account_id": "ada",
    }
    return Answered(scope | more, "/v1/orders", "GET", 200, 188, 0.0123456)


def test_combined_is_what_apache_writes():
    assert combined(answered(), at=AT) == (
        '203.0.113.9 - ada [22/Nov/2026:09:05:07 +0000] "GET /v1/orders?limit=2 HTTP/1.1" 200 188 '
        '"https://shop.example/" "curl/8"'
    )
    assert combined(answered(client=None, account_id=None, headers=[]), at=AT).startswith("- - - [22/Nov")


def test_nobody_writes_lines_of_their_own():
    evil = b'x" 200 1 "-"\r\n10.0.0.1 - root \x1b[31m \xff\\'
    line = combined(answered(headers=[(b"user-agent", evil)], raw_path=b'/a"b\n', sent_method='G"T'), at=AT)
    assert line.isprintable()
    assert len(re.findall(r'(?<!\\)"', line)) == 6
    assert "\\x22" in line


def test_dev_is_short(capsys: pytest.CaptureFixture[str]):
    access_log(Log(access="dev"))(answered())
    assert capsys.readouterr().err == "GET /v1/orders?limit=2 200 12.346 ms - 188\n"


def test_the_form_follows_that_of_the_logs_unless_it_is_chosen(capsys: pytest.CaptureFixture[str]):
    def written(**settings: Any) -> str:
        access_log(Log(**settings))(answered())
        return capsys.readouterr().err

    assert json.loads(written(format="json"))["route"] == "/v1/orders"
    assert written(format="console").startswith("GET ")
    assert json.loads(written(format="console", access="json"))["status"] == 200
    assert "HTTP/1.1" in written(format="json", access="combined")
    for form in ("json", "dev", "combined"):
        assert written(access=form, level="WARNING") == ""
    assert written(access="off") == ""


@pytest.mark.parametrize(
    ("said", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:50412", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_is_the_same_from_every_port(said: str, host: str):
    assert _host(said) == host
