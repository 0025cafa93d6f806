"""The pytest plugin: each test has its own store by itself, made on first use and gone with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # A project's package is found by its tests as it is by the loader, from the folder with headrace.toml.
    if (config.rootpath / "headrace.toml").is_file():
        sys.path.insert(0, str(config.rootpath))
    config.addinivalue_line("markers", "headrace_project: this test works on the project's own store")


@pytest.fixture(autouse=True)
def headrace_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point everything that opens a store at a folder of this test. Costs nothing where Headrace is not used."""
    if request.node.get_closest_marker("headrace_project") is not None:
        yield
        return
    from headrace.base.place import own_place

    with own_place(lambda: tmp_path_factory.mktemp("headrace")):
        yield
