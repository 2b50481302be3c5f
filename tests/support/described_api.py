"""An API that is described, asked by Schemathesis: each of its addresses, with what fits and what does not."""

from collections.abc import Mapping
from typing import Any

import hypothesis
import hypothesis.strategies
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    negative_data_rejection,
)  # fmt: skip
BUSY = 503
EXAMPLES = 1
"""Of each address what fits and what does not: some sixty requests in all, always the same ones."""


def fuzzed(made: Mapping[str, Any], base: str, tokens: Mapping[tuple[str, str], str]) -> None:
    """Send what fits and what does not to every address, and hold each answer against the description."""
    schema = schemathesis.openapi.from_dict(dict(made))
    schema.config.update(base_url=base)
    met = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        key = operation.path, operation.method.upper()
        met.add(key)
        headers = {"Authorization": f"Bearer {tokens[key]}"}
        for mode in schemathesis.GenerationMode:
            held_against(operation.as_strategy(generation_mode=mode), headers)
    assert met == tokens.keys()


def held_against(cases: hypothesis.strategies.SearchStrategy[Any], headers: dict[str, str]) -> None:
    """Send some of `cases`."""

    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        phases=(hypothesis.Phase.generate,), suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=cases)
    def check(case: Any) -> None:
        response = case.call(headers=headers)
        # Busy is an answer that a busy machine may give, and that is described.
        if response.status_code != BUSY:
            case.validate_response(response, checks=list(CHECKS))

    check()
