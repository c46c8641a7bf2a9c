"""What the OpenAPI description allows, and what it forbids, is answered as it says: never with a 5xx.

MNEMIC_TEST_EXAMPLES sets how many requests are made up per operation.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hashing_encoder import HashingEncoder
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from store_server import StoreServer, serving

from mnemic.storage.server.stores import Stores

EXAMPLES = int(os.environ.get("MNEMIC_TEST_EXAMPLES", "6"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    stores = Stores.open(tmp_path_factory.mktemp("fuzz") / "memory.db", encoder=HashingEncoder())
    with serving(stores) as running:
        running.client().post(
            "/v1/events", json={"events": [{"text": "Ada is here.", "facts": [
                {"subject": "Ada", "predicate": "is", "object": "here"}]}]}
        )  # fmt: skip
        yield running
    stores.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_made_up_requests(server: StoreServer, mode: GenerationMode) -> None:
    headers = {"Authorization": f"Bearer {server.key('anna')}"}
    made: Counter[str] = Counter()
    for found in schemathesis.openapi.from_url(f"{server.url}/openapi.json").get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
            phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            made[case.operation.label] += 1
            case.call_and_validate(headers=headers, checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:  # nothing wrong can be sent where everything is allowed
            assert mode is GenerationMode.NEGATIVE
            made[operation.label] += 0
    print(f"{made.total():,} requests to {len(made)} operations, {mode.value}")
    assert len(made) > 15
    assert made.total() >= 8 * EXAMPLES


def test_the_store_is_whole_after_all_that(server: StoreServer) -> None:
    assert server.stores.of("anna").check() == []
