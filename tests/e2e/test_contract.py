"""The OpenAPI document against the running API: whatever is sent, the answer is a documented one."""

import os
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from domain.settings import Settings
from domain.values import new_id
from ops.fleet import Fleet
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import PASSWORD, Town, log_in, open_town

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
#: Requests for each operation and way of making them.
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
EXAMPLES = 100 if LONG else 3
#: Streams end when their client goes away.
ENDLESS = {"/v1/stream"}
METHODS = {"get", "put", "post", "delete", "patch"}
WRITING = {"put", "post", "patch"}
#: The tests' own log-ins come from the address that all the wrong ones come from.
PATIENT = {"STOCKYARD_AUTH_ADDRESS_ATTEMPTS": "1000000"}


def operations() -> list[tuple[str, str, GenerationMode]]:
    """Method and path of everything that the document describes; twice where a request can be wrong.

    In the short form once: what only reads is asked rightly, what writes wrongly.
    """
    paths = create_app(Settings()).openapi()["paths"]
    return [
        (method, path, mode)
        for path, methods in sorted(paths.items())
        for method, operation in sorted(methods.items())
        if path not in ENDLESS and method in METHODS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or operation.keys() & {"parameters", "requestBody"}
        if LONG or (mode is GenerationMode.NEGATIVE) == (method in WRITING and "requestBody" in operation)
    ]


@dataclass(frozen=True, slots=True)
class Contract:
    """The document as the API serves it, and where."""

    schema: Any
    town: Town


@pytest.fixture(scope="module")
async def contract(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Contract]:
    environment = environment_on(stack) | PATIENT
    with Fleet(environment, folder=tmp_path_factory.mktemp("contract"), apis=1) as fleet:
        async with open_town(environment, fleet) as town:
            yield Contract(schemathesis.openapi.from_url(f"{fleet.urls[0]}/openapi.json"), town)


@pytest.fixture
async def headers(contract: Contract) -> dict[str, str]:
    """Of somebody who may do everything, and whom no test before this one has logged out."""
    town, email = contract.town, f"{new_id()}@example.com"
    if (await town.client.get("/v1/me", headers=town.ops.headers)).status_code == HTTPStatus.OK:
        return town.ops.headers
    account = await town.services.accounts.create_ops(email, PASSWORD)
    return (await log_in(town.client, email, account_id=account.id)).headers


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("method", "path", "mode"), operations(), ids=str)
def test_the_answer_is_documented(
    contract: Contract, headers: dict[str, str], method: str, path: str, mode: GenerationMode
) -> None:
    operation = contract.schema[path][method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        pytest.skip("there is no such request")
