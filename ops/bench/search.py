"""`python -m ops.bench.search`: how long questions to the catalogue take, over HTTP, one after the other.

Fills a shop of its own with products made of Northwind's names, cities and companies, starts an API over it,
asks, and prints percentiles with the plan of some questions. The last line is one JSON object. The questions
are the same in every run.
"""

import argparse
import asyncio
import csv
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from domain.bootstrap import Services, open_services
from domain.inventory.models import STOCK
from domain.inventory.stock import empty
from domain.products.editing import new_product
from domain.products.forms import NewProduct
from domain.products.models import PRODUCTS, SKUS
from domain.products.rules import sku_rows
from domain.products.search_rules import words
from domain.settings import Settings
from domain.values import new_id, utcnow
from ops.bench import watch
from ops.bench.children import ChildError
from ops.bench.figures import percentile, tidy
from ops.bench.platforms import Platform, Shape
from ops.fleet import FleetError
from ops.sample.northwind import FOLDER, Northwind
from ops.servers import StackError
from ops.stack import Stack

NAME = "bench-search"
#: Questions of each kind that are not counted.
WARM_UP = 5
#: Documents of one insert.
CHUNK = 500
#: What a two-word question may take, p95, in milliseconds, of 10,000 products.
TARGET = 50.0

Params = Mapping[str, Any]


@dataclass(slots=True)
class Case:
    """One kind of question, how long each took, and the processor time of one. All in milliseconds."""

    name: str
    ask: Callable[[], Params]
    took: list[float] = field(default_factory=list)
    #: By who spent it.
    processor: dict[str, float] = field(default_factory=dict)

    def figures(self) -> list[float]:
        """p50, p95, the longest, and the processor time of the API and of the store, where it is ours."""
        times = [percentile(self.took, 50), percentile(self.took, 95), max(self.took)]
        return [*times, self.processor["api"], self.processor.get("store", 0.0)]


class Goods:
    """Products made of what Northwind sells, where its customers live. The same ones each time."""

    def __init__(self, count: int) -> None:
        self._random = random.Random(7)
        with (FOLDER / "customers.csv").open(encoding="utf-8", newline="") as file:
            self._customers = list(csv.DictReader(file))
        self._wares = Northwind().products
        self.products = [self._product(number) for number in range(count)]

    def two_words(self) -> Params:
        """A word of a product's name and the beginning of another of its words."""
        product = self._random.choice(self.products)
        first = self._random.choice(list(words(product["name"])))
        second = self._random.choice(list(words(f"{product['name']} {product['description']}")))
        return {"q": f"{first} {second[: self._random.randint(3, 8)]}"}

    def with_facets(self) -> Params:
        """The same with every count."""
        return {**self.two_words(), "facet": ["type", "category", "price", "attribute", "in_stock"]}

    def in_stock(self) -> Params:
        """The same, of what can be sold."""
        return {**self.two_words(), "in_stock": "true"}

    def two_letters(self) -> Params:
        """What is asked while somebody begins to type: thousands of products."""
        return {"q": " ".join(self._random.sample("abcdefghilmnoprstuv", 2))}

    def listing(self) -> Params:
        """A category by price."""
        return {"category": self._random.choice(self._wares).category, "sort": "price"}

    def everything(self) -> Params:
        """No filter, and every count over all products."""
        return {"facet": ["type", "category", "price", "attribute"]}

    def _product(self, number: int) -> dict[str, Any]:
        pick = self._random.choice
        ware, customer = pick(self._wares), pick(self._customers)
        price = max(1, ware.price * self._random.randint(50, 150) // 100)
        form = NewProduct.model_validate(
            {
                "name": f"{ware.name} {customer['city']}",
                "description": f"From {customer['companyName']}, {customer['address']}. "
                f"Chosen by {customer['contactName']}, {customer['contactTitle']}, {customer['country']}.",
                "category": ware.category,
                "type": "grocery",
                "attributes": {
                    "net_weight_g": pick([100, 250, 500, 1000]),
                    "organic": pick([True, False]),
                    "allergens": [pick(["milk", "nuts", "gluten", "fish"])],
                },
                "sku": f"SEARCH-{number:06}",
                "price": {"amount": price, "currency": "USD"},
            }
        )
        slug, now = f"search-{number:06}", utcnow()
        return new_product(form, product_id=new_id(), slug=slug, revision=new_id(), now=now)


async def fill(services: Services, goods: Goods) -> None:
    """Writes all products at once, past the catalogue's verbs; half of them with units."""
    for start in range(0, len(goods.products), CHUNK):
        part = goods.products[start : start + CHUNK]
        rows = [row for product in part for row in sku_rows(product)]
        stocks = [
            {**empty(row["_id"], low_at=None), "available": number % 2} for number, row in enumerate(rows)
        ]
        for collection, documents in ((PRODUCTS, part), (SKUS, rows), (STOCK, stocks)):
            await services.database[collection].insert_many(documents, ordered=False)
    await services.search.rebuild()


async def plans(services: Services, questions: Sequence[str]) -> dict[str, list[tuple[str, int, int]]]:
    """How each text is looked up."""
    return {text: await services.search.plan(text) for text in questions}


def ask(url: str, cases: Sequence[Case], questions: int, pids: Mapping[str, Sequence[int]]) -> float:
    """Fills in the cases, one after the other; answers what the very first question took."""
    with httpx.Client(base_url=url, timeout=300) as client:
        first = _timed(client, {"q": "chai"})
        for case in cases:
            for _ in range(WARM_UP):
                _timed(client, case.ask())
            before = watch.cpu_seconds(pids)
            case.took = [_timed(client, case.ask()) for _ in range(questions)]
            used = watch.cpu_seconds(pids)
            case.processor = {name: (used[name] - before[name]) * 1000 / questions for name in pids}
    return first


def _timed(client: httpx.Client, params: Params) -> float:
    began = time.perf_counter()
    client.get("/v1/products", params={"limit": 20, **params}).raise_for_status()
    return (time.perf_counter() - began) * 1000


def table(cases: Sequence[Case]) -> Iterator[str]:
    """A line for each case."""
    headings = ("p50", "p95", "longest", "CPU: API", "store")
    yield f"{'milliseconds over HTTP':34}" + "".join(f"{heading:>10}" for heading in headings)
    for case in cases:
        yield f"{case.name:34}" + "".join(f"{value:10.1f}" for value in case.figures())


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 after one line on standard error, or where two words took longer than the target."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.search", description=__doc__.split("\n")[0])
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=200, help="of each kind (%(default)s)")
    asked = parser.parse_args(argv)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack(NAME, environ=own)
    try:
        urls = stack.up(fresh=True).as_env()
        platform = Platform(
            "search", urls, shape=Shape(workers=0, schedulers=0), folder=stack.folder / "processes"
        )
        store = [pid for pid in [stack.mongo.pid] if pid]
        return measure(platform, products=asked.products, questions=asked.questions, store=store)
    except (StackError, FleetError, ChildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()


def measure(platform: Platform, *, products: int, questions: int, store: Sequence[int]) -> int:
    """Fills, asks and prints."""
    os.environ.update(platform.environment)
    goods = Goods(products)
    texts = [goods.two_words()["q"] for _ in range(5)]
    plan = asyncio.run(_prepare(goods, texts))
    cases = [
        Case("two words", goods.two_words),
        Case("two words, with every count", goods.with_facets),
        Case("two words, in stock", goods.in_stock),
        Case("two letters", goods.two_letters),
        Case("a category by price", goods.listing),
        Case("no filter, with counts of all", goods.everything),
    ]
    try:
        platform.fleet.start()
        pids = {"api": [each.pid for each in platform.fleet.apis], "store": store}
        first = ask(platform.fleet.urls[0], cases, questions, pids)
    finally:
        platform.fleet.stop()
    print(f"{products:,} products; the first question, which reads them all: {first:,.0f} ms")
    print(*table(cases), sep="\n")
    print("plans: word, words that begin with it, entries to look at; the fewest first, the rest within them")
    for text, steps in plan.items():
        print(f"  {text!r}: " + ", then ".join(f"{word} ({known}, {size})" for word, known, size in steps))
    names = ("p50", "p95", "longest", "api_cpu", "store_cpu")
    outcome = {
        "products": products,
        "ms": {case.name: dict(zip(names, map(tidy, case.figures()), strict=True)) for case in cases},
        "first_ms": tidy(first),
        "target_ms": TARGET,
        "machine": watch.machine(),
    }
    print(json.dumps(outcome))
    return 1 if percentile(cases[0].took, 95) > TARGET else 0


async def _prepare(goods: Goods, texts: Sequence[str]) -> dict[str, list[tuple[str, int, int]]]:
    async with open_services(Settings()) as services:
        await fill(services, goods)
        return await plans(services, texts)


if __name__ == "__main__":
    sys.exit(main())
