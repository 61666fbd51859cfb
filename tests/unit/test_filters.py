"""The builder of query filters: what it refuses to build, and what its filters refuse."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from api import errors
from api.filters import Filter, FilterError, QueryFilter
from domain.values import Sku

DAY = timedelta(days=1)


def app_with(*filters: QueryFilter) -> FastAPI:
    """Answers what the filters made of the query."""
    app = FastAPI()
    errors.install(app)
    for each in filters:

        async def show(value: Annotated[Any, Depends(each)]) -> dict[str, Any]:
            return {"value": value}

        app.get(f"/{each.name}")(show)
    return app


async def ask(filter_: QueryFilter, query: str) -> httpx.Response:
    transport = httpx.ASGITransport(app_with(filter_))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        return await client.get(f"/{filter_.name}?{query}")


async def value(filter_: QueryFilter, query: str) -> Any:
    answer = await ask(filter_, query)
    assert answer.status_code == 200, answer.text
    return answer.json()["value"]


async def test_each_kind_takes_what_it_says_and_nothing_is_none():
    cases = [
        (Filter("state").one_of("queued", "dead"), "state=dead", "dead"),
        (Filter("kind").text(longest=20), "kind=%20orders.place%20", "orders.place"),
        (Filter("sku").matching(Sku), "sku=CHAI-1", "CHAI-1"),
        (Filter("size").number(at_least=0, at_most=9), "size=7", 7),
        (Filter("paid").flag(), "paid=false", False),
        (Filter("age").duration(at_most=DAY), "age=15m", 900.0),
        (Filter("state").one_of("a", "b").many(), "state=a&state=b", ["a", "b"]),
    ]
    for filter_, query, expected in cases:
        built = filter_.build()
        assert await value(built, query) == (f"PT{15}M" if expected == 900.0 else expected), query
        assert await value(built, "") is None
    since = await value(Filter("since").moment().build(), "since=2026-11-22T10:00:00Z")
    assert datetime.fromisoformat(since) == datetime(2026, 11, 22, 10, tzinfo=UTC)


async def test_what_does_not_fit_is_refused_by_name():
    cases = [
        (Filter("state").one_of("queued", "dead"), "state=lost"),
        (Filter("kind").text(longest=5), "kind=123456"),
        (Filter("kind").text(), "kind=%00"),
        (Filter("kind").text(), "kind=%20"),
        (Filter("sku").matching(Sku), "sku=$ne"),
        (Filter("size").number(at_least=0, at_most=9), "size=10"),
        (Filter("size").number(at_least=0, at_most=9999), "size=1_0"),
        (Filter("paid").flag(), "paid=yes"),
        (Filter("age").duration(at_most=DAY), "age=25h"),
        (Filter("age").duration(at_most=DAY), "age=yesterday"),
        (Filter("since").moment(), "since=2026-11-22T10:00:00"),
        (Filter("state").one_of("a").many(), "&".join(["state=a"] * 51)),
    ]
    for filter_, query in cases:
        built = filter_.build()
        answer = await ask(built, query)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), query
        assert answer.json()["errors"][0]["field"].startswith(f"query.{built.name}"), query


def test_a_filter_that_makes_no_sense_is_not_built():
    cases = [
        (Filter("state"), "of one kind, this of 0"),
        (Filter("state").one_of("a").text(), "of one kind, this of 2"),
        (Filter("state").one_of(), "one_of needs values"),
        (Filter("state").one_of("a", "a"), "a value twice"),
        (Filter("State").text(), "lower-case letters"),
        (Filter("kind").text(longest=0), "at most 200 characters"),
        (Filter("size").number(at_least=2, at_most=1), "at_least is not above at_most"),
        (Filter("age").duration(at_most=timedelta()), "above zero"),
        (Filter("age").duration(at_most=DAY).example("2d"), "does not pass the filter"),
    ]
    for filter_, rule in cases:
        with pytest.raises(FilterError, match=rule):
            filter_.build()
    with pytest.raises(FilterError, match="a value twice; a name is"):
        Filter("S").one_of("a", "a").build()


def test_a_filter_documents_itself():
    built = Filter("state").one_of("queued", "dead").described("Where it is.").example("dead").build()
    (said,) = app_with(built).openapi()["paths"]["/state"]["get"]["parameters"]
    assert (said["name"], said["in"], said["required"]) == ("state", "query", False)
    assert said["description"] == "Where it is."
    assert said["schema"]["anyOf"][0]["enum"] == ["queued", "dead"]
    assert said["schema"]["examples"] == ["dead"]
    size = Filter("size").number(at_least=0, at_most=9).example("7").build()
    (said,) = app_with(size).openapi()["paths"]["/size"]["get"]["parameters"]
    assert said["schema"]["examples"] == [7]
    assert said["schema"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 9}
