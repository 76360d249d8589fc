"""Every test of this folder carries the marker `integration`, so that `-m 'not integration'` leaves them out."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # pytest hands every item of the run to every conftest
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
