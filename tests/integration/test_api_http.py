"""What holds for every route: bodies, errors, headers, limits and documentation."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi.routing import APIRoute
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError
from structlog.testing import capture_logs

from api.app import create_app
from api.deps import Authenticated, Requires
from api.errors import status_of
from domain import errors
from domain.accounts.rules import SCOPES
from domain.settings import Api as ApiSettings
from domain.settings import Log, Settings
from tests.api import ORDER, Api, User, open_api, serving

JSON = {"Content-Type": "application/json"}
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "cache-control": "no-store",
}


@pytest.fixture
def user(api: Api) -> User:
    return api.user("orders:price")


async def place(user: User, content: Any, **headers: str) -> httpx.Response:
    known = user.headers() | JSON | {"Idempotency-Key": "one"} | headers
    return await user.client.post("/v1/orders", content=content, headers=known)


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["status"] == answer.status_code
    assert body["type"] == f"urn:stockyard:problem:{body['code']}"
    assert {"title", "detail"} <= body.keys()
    assert "Traceback" not in answer.text
    return (answer.status_code, body["code"]) == (status, code)


async def test_a_body_that_is_no_json_is_malformed(user: User, subtests: pytest.Subtests):
    good = json.dumps(ORDER)
    for body in (
        b"{",
        b'{"items": }',
        b"items=1",
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b'{"a": "\xc3\x28"}',
        b'{"a": "\\ud800"}',
        good.encode("utf-16"),
        good.encode() + b"}",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"\x00",
    ):
        with subtests.test(body=str(body[:20])):
            answer = await place(user, body)
            assert is_problem(answer, 400, "malformed_body")
            assert len(answer.content) < 1000


async def test_a_body_says_that_it_is_json(user: User):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
        answer = await place(user, json.dumps(ORDER), **{"Content-Type": content_type})
        assert is_problem(answer, 415, "unsupported_media_type")
    for content_type in ("application/json; charset=utf-8", "Application/JSON"):
        assert (await place(user, json.dumps(ORDER), **{"Content-Type": content_type})).is_success


async def test_an_empty_body_is_missing(user: User):
    answer = await place(user, b"")
    assert is_problem(answer, 422, "validation_error")
    assert answer.json()["errors"] == [{"field": "body", "code": "missing", "message": "Field required"}]


async def test_ten_megabytes_are_too_many_whether_announced_or_not(user: User):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(160):
            sent.append(65536)
            yield b" " * 65536

    sent: list[int] = []
    for body in (b" " * 10 * 1024 * 1024, chunks()):
        answer = await place(user, body)
        assert is_problem(answer, 413, "body_too_large")
    assert sum(sent) <= 2 * 1024 * 1024


async def test_bad_bodies_over_a_connection_are_answered_and_the_server_goes_on(api: Api, user: User):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b" " * 65536

    headers = user.headers() | JSON
    bodies: list[tuple[Any, int]] = [
        (b" " * 10 * 1024 * 1024, 413),
        (chunks(), 413),
        (b'{"items": "\xff\xfe"}', 400),
        (b"{", 400),
    ]
    async with serving(api) as (_, url), httpx.AsyncClient(base_url=url) as client:
        for number, (content, status) in enumerate(bodies):
            keyed = headers | {"Idempotency-Key": str(number)}
            answer = await client.post("/v1/orders", content=content, headers=keyed)
            assert is_problem(answer, status, {413: "body_too_large", 400: "malformed_body"}[status])
        keyed = headers | {"Idempotency-Key": "good"}
        assert (await client.post("/v1/orders", json=ORDER, headers=keyed)).status_code == 202


async def test_a_length_that_is_a_lie_or_no_number_does_not_get_through(user: User):
    assert is_problem(await place(user, b"{}", **{"Content-Length": "99999999999"}), 413, "body_too_large")
    assert is_problem(await place(user, b"{}", **{"Content-Length": "-1"}), 413, "body_too_large")


async def test_the_input_is_never_echoed(user: User):
    secret = "s3cr3t" * 10_000
    answer = await place(user, json.dumps({**ORDER, "items": secret, secret: secret}))
    assert answer.status_code == 422
    assert len(answer.content) < 2000
    many = await place(user, json.dumps({**ORDER, "items": [{"sku": "?"}] * 1000}))
    assert len(many.json()["errors"]) == 20


async def test_unknown_routes_and_wrong_methods_are_problems(api: Api, user: User):
    for path in ("/", "/v1", "/v1/orders/", "/v2/orders", "/v1/orders/a/b", "/%00", "/v1/jobs/%ff/x"):
        assert is_problem(await user.get(path), 404, "route_not_found"), path
    for method, path, allow in (
        ("PUT", "/v1/orders", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/v1/orders/x", "GET, HEAD, OPTIONS"),
        ("BREW", "/v1/orders/x", "GET, HEAD, OPTIONS"),
        ("PATCH", "/v1/reservations/x", "DELETE, GET, HEAD, OPTIONS"),
        ("HEAD", "/v1/auth/login", "OPTIONS, POST"),
    ):
        answer = await api.client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allow
        assert method == "HEAD" or is_problem(answer, 405, "method_not_allowed")


async def test_options_tells_the_methods(api: Api):
    answer = await api.client.options("/v1/orders")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_head_answers_as_get_without_a_body(api: Api, user: User):
    for path in ("/v1/products", "/v1/orders", "/healthz", "/readyz", "/openapi.json"):
        answer = await api.client.head(path, headers=user.headers())
        assert (answer.status_code, answer.content) == (200, b""), path
    assert (await api.client.head("/v1/orders")).status_code == 401


async def test_odd_ids_are_not_found(user: User):
    for odd in ("$ne", "%00", "%ff", "x" * 3000, "..%2f..", "\u00e9", "%0d%0aX-Evil:%201", "{}"):
        for path in ("/v1/jobs/", "/v1/orders/", "/v1/reservations/", "/v1/products/"):
            answer = await user.get(path + odd)
            assert answer.status_code == 404, path + odd
            assert "x-evil" not in answer.headers


async def test_every_answer_has_the_security_headers(api: Api, user: User):
    answers = [
        await api.client.get("/healthz"),
        await api.client.get("/v1/products"),
        await api.client.get("/v1/me"),
        await api.client.get("/nowhere"),
        await user.post("/v1/orders", ORDER),
        await place(user, b"{"),
        await place(user, b" " * 2_000_000),
    ]
    for answer in answers:
        assert answer.headers.items() >= SECURITY.items()
        assert "server" not in answer.headers


async def test_a_sane_request_id_is_kept_and_reaches_the_job(api: Api, user: User):
    answer = await place(user, json.dumps(ORDER), **{"X-Request-ID": "shop-42:abc.def"})
    assert answer.headers["x-request-id"] == "shop-42:abc.def"
    job = await api.services.jobs.get(answer.json()["job_id"], owner=None)
    assert job["request_id"] == "shop-42:abc.def"
    for bad in ("short", "x" * 129, "has spaces in it", 'quote"injection', "caf\u00e9caf\u00e9"):
        answer = await api.client.get("/healthz", headers=[(b"x-request-id", bad.encode())])
        assert len(answer.headers["x-request-id"]) == 36


async def test_one_line_is_logged_per_request(settings: Settings, capsys: pytest.CaptureFixture[str]):
    async with open_api(settings.model_copy(update={"log": Log(format="json")})) as api:
        user = api.user()
        answer = await user.get("/v1/orders/some-id")
        await api.client.get("/healthz")
    (line,) = [json.loads(each) for each in capsys.readouterr().err.splitlines() if '"request"' in each]
    facts = {"method": "GET", "route": "/v1/orders/{order_id}", "status": 404, "account_id": user.id}
    assert line.items() >= (facts | {"event": "request", "level": "info"}).items()
    assert line["request_id"] == answer.headers["x-request-id"]


async def test_what_nobody_foresaw_is_a_problem_without_a_trace(
    api: Api, user: User, monkeypatch: pytest.MonkeyPatch
):
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.services.jobs, "submit", fail)
    with capture_logs() as lines:
        answer = await user.post("/v1/orders", ORDER)
    assert is_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert answer.headers.items() >= SECURITY.items()
    assert any(line.get("exc_info") for line in lines)


async def test_a_store_that_is_away_is_503_and_a_fault_of_ours_is_500(
    api: Api, user: User, monkeypatch: pytest.MonkeyPatch
):
    for error, status, code in (
        (ServerSelectionTimeoutError("away"), 503, "unavailable"),
        (errors.TryAgain("busy"), 503, "unavailable"),
        (OperationFailure("no such index"), 500, "internal"),
    ):

        async def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(api.services.jobs, "submit", fail)
        with capture_logs():
            answer = await user.post("/v1/orders", ORDER)
        assert is_problem(answer, status, code)
        assert ("retry-after" in answer.headers) == (status == 503)


async def test_past_the_limit_requests_are_refused_and_probes_are_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    few = settings.model_copy(update={"api": ApiSettings(max_concurrency=2)})
    async with open_api(few) as api:
        user, release = api.user(), asyncio.Event()

        async def slow(*_: object, **__: object) -> list[object]:
            await release.wait()
            return []

        monkeypatch.setattr(api.services.orders, "page", slow)
        busy = [asyncio.create_task(user.get("/v1/orders")) for _ in range(2)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while api.app.state.gate.working < 2:  # noqa: ASYNC110 - the gate is no event
                await asyncio.sleep(0.01)
        refused = await user.get("/v1/orders")
        assert is_problem(refused, 503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await api.client.get("/healthz")).status_code == 200
        release.set()
        assert [answer.status_code for answer in await asyncio.gather(*busy)] == [200, 200]
        assert (await user.get("/v1/orders")).status_code == 200


async def test_browsers_of_listed_origins_may_call(settings: Settings):
    origin = "https://shop.example"
    async with open_api(settings.model_copy(update={"api": ApiSettings(cors_origins=[origin])})) as api:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "authorization,idempotency-key,content-type"
        preflight = await api.client.options("/v1/orders", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        answer = await api.client.get("/v1/me", headers={"Origin": origin})
        assert "location" in answer.headers["access-control-expose-headers"].lower()
        other = await api.client.options("/v1/orders", headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_readiness_degrades_without_redis_and_fails_without_the_store(api: Api):
    ready = await api.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["services"].keys() == {"mongodb", "rabbitmq", "redis"}

    async def fail() -> None:
        raise ConnectionError("secret address")

    pings: Any = api.services.pings
    pings["redis"] = fail
    degraded = await api.client.get("/readyz")
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    assert degraded.json()["services"]["redis"]["ok"] is False
    assert "secret" not in degraded.text
    pings["mongodb"] = fail
    unavailable = await api.client.get("/readyz")
    assert (unavailable.status_code, unavailable.json()["status"]) == (503, "unavailable")


def routes_of(settings: Settings) -> list[APIRoute]:
    found = [route for route in create_app(settings).routes if isinstance(route, APIRoute)]
    assert len(found) > 20
    return found


def test_every_route_states_a_scope_or_is_public(settings: Settings):
    public = set()
    for route in routes_of(settings):
        stated = [each.call for each in route.dependant.dependencies if isinstance(each.call, Requires)]
        is_public = (route.openapi_extra or {}).get("security") == []
        assert len(stated) + is_public == 1, f"{route.methods} {route.path} states nothing, or two things"
        assert all(set(each.scopes) <= SCOPES for each in stated), route.path
        assert all(each.scopes or isinstance(each, Authenticated) for each in stated), route.path
        public |= {route.path} if is_public else set()
    assert public == {
        "/v1/payments/webhooks/{provider}", "/v1/products", "/v1/products/{ref}", "/v1/product-types",
        "/v1/product-types/{name}", "/v1/auth/register", "/v1/auth/login", "/v1/auth/refresh", "/v1/carts",
        "/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/asyncapi.json",
    }  # fmt: skip


def test_every_domain_error_has_a_status():
    def family(kind: type[errors.DomainError]) -> Iterator[type[errors.DomainError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from family(child)

    kinds = set(family(errors.DomainError)) - {errors.DomainError}
    statuses = {kind.__name__: status_of(kind()) for kind in kinds}
    assert 400 not in statuses.values(), statuses
    assert statuses["OutOfStock"] == 409
    assert statuses["IdempotencyKeyReused"] == 422
    # Errors that are of another kind share its code, and say in words what was wanted.
    codes = [vars(kind)["code"] for kind in kinds if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


def test_every_example_in_the_documentation_is_valid(settings: Settings):
    document = create_app(settings).openapi()
    seen = 0
    for model in document["components"]["schemas"].values():
        for example in model.get("examples", []):
            validate(example, model, document)
            seen += 1
    for path in document["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for example in content.get("examples", {}).values():
                    validate(example["value"], content["schema"], document)
                    seen += 1
            for parameter in operation.get("parameters", []):
                for example in [parameter["example"]] if "example" in parameter else []:
                    validate(example, parameter["schema"], document)
                    seen += 1
    assert seen >= 15


def test_every_operation_is_documented(settings: Settings):
    document = create_app(settings).openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["tags"], path
            assert operation["summary"], path
            assert operation["description"], path
            assert ("security" in operation) or path == "/v1/me", path
            for status, answer in operation["responses"].items():
                if status >= "400" and path != "/readyz":
                    assert "application/problem+json" in answer["content"], (method, path, status)


async def test_documentation_is_served_only_if_wanted(settings: Settings):
    async with open_api(settings) as api:
        assert (await api.client.get("/openapi.json")).status_code == 200
        docs = await api.client.get("/docs")
        assert docs.status_code == 200
        assert "Place an order" in docs.text
    app = create_app(settings.model_copy(update={"api": ApiSettings(docs=False)}))
    assert {"/docs", "/openapi.json"}.isdisjoint(getattr(route, "path", "") for route in app.routes)


def validate(example: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(example)
