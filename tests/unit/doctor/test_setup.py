"""Dangerous settings are told, each with what to do; sound ones are not."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tellwire.doctor.finding import Level, counted, duration
from tellwire.doctor.setup import examine
from tellwire.settings import Settings
from tellwire.settings.values import LOOPBACK


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"admin_key": "short"}, ["admin_key"]),
        ({"admin_key": "x" * 40}, []),
        ({"dev": True, "allow_http": True, "egress_allow": LOOPBACK}, ["dev is on"]),
        ({"allow_http": True}, ["allow_http"]),
        ({"host": "0.0.0.0"}, ["plain HTTP"]),
        ({"host": "0.0.0.0", "metrics": "open"}, ["plain HTTP", "metrics are open"]),
        ({"metrics": "open"}, []),
        ({"egress_allow": (ip_network("10.0.0.0/8"),)}, ["so wide"]),
        ({"egress_allow": (ip_network("0.0.0.0/0"),)}, ["credentials"]),
        ({"egress_allow": (ip_network("169.254.169.254/32"),)}, ["credentials"]),
        ({"egress_allow": (ip_network("10.20.30.0/28"), ip_network("fd00::/124"))}, []),
        ({"egress_allow": (ip_network("fd00::/8"),)}, ["so wide"]),
        ({}, []),
    ],
)
def test_what_is_dangerous(changed: dict[str, Any], said: list[str]) -> None:
    """Each danger is a warning with advice; a set-up without any is well."""
    found = examine(Settings(**({"database_url": "postgresql://db.example/tellwire"} | changed)))
    assert [one.level for one in found] == ([Level.WARNING] * len(said) or [Level.OK])
    for one, words in zip(found, said, strict=False):
        assert words in one.says
        assert one.advice


def test_files_that_others_can_read(tmp_path: Path) -> None:
    """The database and its key file are their owner's alone."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}")
    assert [one.level for one in examine(settings)] == [Level.OK]
    for name, mode in (("a.db", 0o644), ("tellwire.key", 0o640)):
        (tmp_path / name).touch(mode=0o600)
        assert [one.level for one in examine(settings)] == [Level.OK]
        os.chmod(tmp_path / name, mode)
        (found,) = examine(settings)
        assert str(tmp_path / name) in found.says
        os.chmod(tmp_path / name, 0o600)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1500, "2 s"), (61_000, "61 s"), (300_000, "5 min"), (10**7, "3 h")],
)
def test_durations(ms: int, text: str) -> None:
    """Lengths of time are for people."""
    assert duration(ms) == text


def test_numbers_agree_with_their_nouns() -> None:
    """One is one, and thousands are grouped."""
    assert (counted(1, "delivery"), counted(2, "endpoint")) == ("1 delivery", "2 endpoints")
    assert counted(1_000, "delivery") == "1,000 deliveries"
