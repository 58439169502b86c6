"""The doctor on real databases: what is wrong is found, what is well is not complained of, nothing is changed."""

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Executable, create_engine, insert, update
from sqlalchemy.pool import NullPool
from tests.postgres import database_in
from typer.testing import CliRunner

from tellwire.cli.app import app
from tellwire.doctor import database
from tellwire.doctor.examine import examine
from tellwire.doctor.finding import Finding, Level
from tellwire.ids import DELIVERY, decode
from tellwire.model.delivery import State
from tellwire.settings import Settings
from tellwire.store import failing
from tellwire.store.endpoints import raw_id
from tellwire.store.tables import STATE_CODES, deliveries, holds, keys, lanes
from tellwire.wiring import tellwire_for

from .dns import NameServer

KEY = bytes(range(32)).hex()
HOOK = "https://hooks.example/in"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How quick the disk of this machine is at the moment is not what is looked at here."""
    monkeypatch.setattr(database, "_SLOW_MS", 60_000)


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        server.answer("hooks.example", "198.51.100.7")
        server.answer("example.com", "93.184.215.14")
        yield server


@pytest.fixture
def settings(tmp_path: Path, dns: NameServer) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'tellwire.db'}",
        secret_key=KEY,
        admin_key="k" * 40,
        dns_servers=(dns.address,),
        egress_allow=(ip_network("198.51.100.0/24"),),
    )


def levels(found: Sequence[Finding]) -> dict[str, Level]:
    """The worst level of each check."""
    order = list(Level)
    worst: dict[str, Level] = {}
    for one in found:
        worst[one.check] = max(worst.get(one.check, Level.OK), one.level, key=order.index)
    return worst


def only(found: Sequence[Finding], level: Level) -> Finding:
    """The one finding of a level."""
    (one,) = [one for one in found if one.level is level]
    return one


def change(settings: Settings, sql: str, *values: object) -> None:
    """Change the database behind everybody's back."""
    with sqlite3.connect(settings.database_url.removeprefix("sqlite:///")) as connection:
        connection.execute(sql, values)
    connection.close()


async def with_endpoint(settings: Settings, *, events: int = 0) -> str:
    """Make the database, with one endpoint and so many pending deliveries; gives the endpoint's id."""
    async with tellwire_for(settings, deliver=False) as tellwire:
        endpoint, _ = await tellwire.endpoints.create(HOOK, events=["*"])
        for _ in range(events):
            await tellwire.publish("a.b", {})
    return endpoint.id


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_all_is_well(settings: Settings, tmp_path: Path, kind: str) -> None:
    """On a sound set-up nothing is complained of, on either database."""
    if kind == "postgres":
        settings = msgspec.structs.replace(settings, database_url=database_in(tmp_path))
    await with_endpoint(settings, events=2)
    found = await examine(settings)

    assert {one.level for one in found} == {Level.OK, Level.SKIPPED}, found
    assert levels(found)["clock"] is (Level.OK if kind == "postgres" else Level.SKIPPED)
    assert levels(found)["disk"] is (Level.SKIPPED if kind == "postgres" else Level.OK)
    assert any("hooks.example" in one.says for one in found)


async def test_no_database(settings: Settings, tmp_path: Path) -> None:
    """A database that is not there is a failure, and is not made; what needs it is passed over."""
    found = await examine(settings)
    assert only(found, Level.FAILURE).check == "migrations"
    assert levels(found)["deliveries"] is Level.SKIPPED
    assert os.listdir(tmp_path) == []


async def test_a_database_that_cannot_be_reached(settings: Settings) -> None:
    """A server that does not answer is a failure that says so."""
    away = msgspec.structs.replace(settings, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    found = await examine(away)
    assert only(found, Level.FAILURE).check == "database"


async def test_no_database_file_at_all(settings: Settings, tmp_path: Path) -> None:
    """A file that is no database is a failure."""
    (tmp_path / "tellwire.db").write_bytes(b"no database at all, just text " * 50)
    os.chmod(tmp_path / "tellwire.db", 0o600)
    found = await examine(settings)
    assert only(found, Level.FAILURE).check == "database"


@pytest.mark.parametrize(("version", "words"), [("0001", "needs"), ("9999", "at most")])
async def test_other_versions(settings: Settings, version: str, words: str) -> None:
    """A database that is behind or ahead is told, and left as it is."""
    await with_endpoint(settings)
    change(settings, "UPDATE alembic_version SET version_num = ?", version)
    found = await examine(settings)
    failed = only(found, Level.FAILURE)
    assert (failed.check, words in failed.says) == ("migrations", True)
    with sqlite3.connect(settings.database_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (version,)
    connection.close()


async def test_another_key(settings: Settings) -> None:
    """A key that does not fit is a failure, and its text is shown nowhere."""
    await with_endpoint(settings)
    other = bytes(reversed(range(32))).hex()
    found = await examine(msgspec.structs.replace(settings, secret_key=other))
    assert only(found, Level.FAILURE).check == "secret key"
    assert other not in str(found)


async def test_two_keys(settings: Settings) -> None:
    """Until all is sealed with the first, that is to be done; then the other may go."""
    await with_endpoint(settings)
    both = msgspec.structs.replace(settings, secret_key=f"{'ab' * 32},{KEY}")
    told = only(await examine(both), Level.WARNING)
    assert told.check == "secret key"
    assert "older key" in told.says
    assert "tellwire reseal" in str(told.advice)
    async with tellwire_for(both, deliver=False) as tellwire:
        await tellwire.sealing.reseal()
    (told,) = [one for one in await examine(both) if one.check == "secret key"]
    assert (told.level, "can go" in told.says) == (Level.OK, True)


async def test_a_database_that_is_locked(settings: Settings) -> None:
    """Where somebody keeps the file locked, it cannot be written."""
    await with_endpoint(settings)
    locked = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    try:
        found = await examine(settings)
    finally:
        locked.close()
    assert only(found, Level.FAILURE).check == "database"


async def test_what_is_late_and_what_is_stuck(settings: Settings) -> None:
    """Deliveries that nobody sends and leases that nobody frees are failures, with the endpoint that waits longest."""
    endpoint = await with_endpoint(settings, events=2)
    hour_ago_ms = time.time_ns() // 1_000_000 - 3_600_000
    change(
        settings,
        "UPDATE deliveries SET due_ms = ?, lease_token = 7, lease_until_ms = ?",
        hour_ago_ms,
        hour_ago_ms,
    )
    found = await examine(settings)
    assert {one.check for one in found if one.level is Level.FAILURE} == {"deliveries", "leases"}
    late = next(one for one in found if one.check == "deliveries")
    assert endpoint in late.says
    assert "60 min" in late.says
    assert "2 deliveries" in next(one for one in found if one.check == "leases").says


@pytest.mark.parametrize("state", ["paused", "disabled"])
async def test_closed_endpoints_with_deliveries(settings: Settings, state: str) -> None:
    """Deliveries that wait for a closed endpoint are a warning with the command that sends them."""
    id = await with_endpoint(settings, events=3)
    async with tellwire_for(settings, deliver=False) as tellwire:
        await (tellwire.endpoints.pause(id) if state == "paused" else tellwire.endpoints.disable(id))
    warned = only(await examine(settings), Level.WARNING)
    assert (warned.check, state in warned.says, "3 deliveries" in warned.says) == ("endpoints", True, True)
    assert warned.advice is not None
    assert f"{'resume' if state == 'paused' else 'enable'} {id}" in warned.advice


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_endpoints_that_are_about_to_be_disabled(settings: Settings, tmp_path: Path, kind: str) -> None:
    """One that has failed for a quarter of its days is told with how long it has left; a shorter time is nothing."""
    if kind == "postgres":
        settings = msgspec.structs.replace(settings, database_url=database_in(tmp_path))
    id = await with_endpoint(settings)

    engine = create_engine(
        settings.database_url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool
    )

    def failed_for(hours: int) -> None:
        with engine.begin() as connection:
            failing.note(connection, set(), {raw_id(id): (0, hours * 3_600_000)})

    failed_for(29)
    assert levels(await examine(settings))["failing"] is Level.OK
    failed_for(31)
    found = only(await examine(settings), Level.WARNING)
    assert found.check == "failing"
    assert id in found.says
    assert id in str(found.advice)
    assert "for 31 h: after 5 d it is disabled" in found.says
    for days in (0, 10):  # with 0 nothing is ever disabled; a quarter of 10 days is still ahead
        calm = msgspec.structs.replace(settings, disable_after_days=days)
        assert levels(await examine(calm)).get("failing", Level.OK) is Level.OK


def on(settings: Settings, *statements: Executable) -> None:
    """Change a database of either kind behind everybody's back."""
    url = settings.database_url.replace("postgresql:", "postgresql+psycopg:")
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_lines(settings: Settings, tmp_path: Path, kind: str) -> None:
    """What waits in line for a retry is not late; what waits behind one that is exhausted is told, with what to do."""
    if kind == "postgres":
        settings = msgspec.structs.replace(settings, database_url=database_in(tmp_path))
    async with tellwire_for(settings, deliver=False) as tellwire:
        one = {"order": "endpoint", "on_exhausted": "block"}
        endpoint, _ = await tellwire.endpoints.create(HOOK, events=["*"], settings=one)
        for _ in range(3):
            await tellwire.publish("a.b", {})
        first = min(one.id for one in (await tellwire.deliveries.list()).data)
    now_ms = time.time_ns() // 1_000_000
    is_first = deliveries.c.id == decode(DELIVERY, first)
    on(settings, update(deliveries).values(due_ms=now_ms - 3_600_000))
    on(settings, update(deliveries).where(is_first).values(due_ms=now_ms + 3_600_000))
    assert {one.level for one in await examine(settings)} <= {Level.OK, Level.SKIPPED}

    on(settings, update(deliveries).where(is_first).values(state=STATE_CODES[State.EXHAUSTED], due_ms=None))
    told = only(await examine(settings), Level.WARNING)
    assert told.check == "order"
    assert f"2 deliveries wait in 1 line of {endpoint.id} " in told.says
    assert f"--endpoint {endpoint.id}" in str(told.advice)

    on(
        settings, update(deliveries).where(is_first).values(sequence=None)
    )  # it was cancelled, or has stepped aside
    assert only(await examine(settings), Level.FAILURE).check == "deliveries"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize(("why", "check"), [("held", "limits"), ("rate", "limits"), ("circuit", "circuits")])
async def test_lanes_that_hold_back(
    settings: Settings, tmp_path: Path, kind: str, why: str, check: str
) -> None:
    """What waits because its receiver takes no more, or keeps failing, is told as that."""
    if kind == "postgres":
        settings = msgspec.structs.replace(settings, database_url=database_in(tmp_path))
    id = await with_endpoint(settings, events=2)
    hour_ms = 3_600_000
    now_ms = time.time_ns() // 1_000_000
    on(settings, update(deliveries).values(due_ms=now_ms - hour_ms))
    assert only(await examine(settings), Level.FAILURE).check == "deliveries"
    if why == "held":
        on(settings, insert(holds).values(endpoint_id=raw_id(id), until_ms=now_ms + 2 * hour_ms))
    else:
        row = {"owner": 1, "until_ms": now_ms + hour_ms, "waiting_for": why}
        on(settings, insert(lanes).values(endpoint_id=raw_id(id), **row))
    told = only(await examine(settings), Level.WARNING)
    assert told.check == check
    assert f"2 deliveries wait for {id}" in told.says


async def test_no_key_for_the_api(settings: Settings) -> None:
    """Without an admin key and any other that is in force, nobody can use the API."""
    await with_endpoint(settings)
    without = msgspec.structs.replace(settings, admin_key=None)
    assert only(await examine(without), Level.WARNING).check == "keys"
    async with tellwire_for(without, deliver=False) as tellwire:
        key, _ = await tellwire.keys.create("ops")
    assert levels(await examine(without))["keys"] is Level.OK
    on(without, update(keys).values(expires_ms=1))
    assert levels(await examine(without))["keys"] is Level.WARNING
    on(without, update(keys).values(expires_ms=None))
    assert levels(await examine(without))["keys"] is Level.OK
    async with tellwire_for(without, deliver=False) as tellwire:
        await tellwire.keys.revoke(key.id)
    assert levels(await examine(without))["keys"] is Level.WARNING


async def test_names(settings: Settings, dns: NameServer) -> None:
    """One name that does not exist, or leads where nobody may go, is a warning; none at all is a failure."""
    await with_endpoint(settings)
    async with tellwire_for(settings, deliver=False) as tellwire:
        await tellwire.endpoints.create("https://gone.example/", events=["*"])
        await tellwire.endpoints.create("https://inside.example/", events=["*"])
    dns.answer("inside.example", "10.0.0.1")
    found = [one for one in await examine(settings) if one.check == "resolver"]
    assert [one.level for one in found] == [Level.WARNING, Level.WARNING]
    assert "gone.example" in found[0].says
    assert "10.0.0.1" in found[1].says

    nowhere = msgspec.structs.replace(settings, dns_servers=("127.0.0.1:1",))
    assert only(await examine(nowhere), Level.FAILURE).check == "resolver"


async def test_the_proxy(settings: Settings, tmp_path: Path) -> None:
    """A proxy that takes no connections is a failure, and so are certificates that are not there."""
    await with_endpoint(settings)
    proxy = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    through = msgspec.structs.replace(settings, egress_proxy=f"http://127.0.0.1:{port}")
    async with proxy:
        assert levels(await examine(through))["proxy"] is Level.OK
    assert only(await examine(through), Level.FAILURE).check == "proxy"

    certified = msgspec.structs.replace(settings, egress_ca_file=tmp_path / "none.pem")
    assert only(await examine(certified), Level.FAILURE).check == "certificates"


_SKEWED = """
import sys, time
ahead_ns = int(sys.argv.pop(1)) * 10**9
really = time.time_ns
time.time_ns = lambda: really() + ahead_ns
from tellwire.cli import main
main()
"""
"""The command on a machine whose clock is wrong."""


@pytest.mark.parametrize(
    ("ahead_s", "level", "code", "words"),
    [(-10, Level.WARNING, 7, "behind the database's"), (90, Level.FAILURE, 1, "ahead of the database's")],
)
async def test_the_clock(
    settings: Settings, tmp_path: Path, ahead_s: int, level: Level, code: int, words: str
) -> None:
    """A clock that is a little off is a warning, one far off a failure: by what is told, and by the exit code."""
    on_postgres = msgspec.structs.replace(settings, database_url=database_in(tmp_path))
    await with_endpoint(on_postgres)
    proxy = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        ended = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SKEWED, str(ahead_s), "doctor", "--json",
            env=os.environ | environment_of(on_postgres, url), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await ended.communicate()
    (finding,) = [one for one in json.loads(said)["findings"] if one["check"] == "clock"]
    assert (finding["level"], ended.returncode) == (level, code)
    assert words in finding["says"]
    assert "timedatectl" in finding["advice"]


def environment_of(settings: Settings, proxy: str) -> dict[str, str]:
    return {
        "TELLWIRE_DATABASE_URL": settings.database_url,
        "TELLWIRE_SECRET_KEY": KEY,
        "TELLWIRE_ADMIN_KEY": "k" * 40,
        "TELLWIRE_EGRESS_PROXY": proxy,
    }


def doctor(settings: Settings, *args: str, proxy: str, **more: str) -> Any:
    environment = environment_of(settings, proxy) | more
    return CliRunner().invoke(app, ["doctor", *args], env=environment, catch_exceptions=False)


async def test_the_command(settings: Settings) -> None:
    """It ends with 0 if all is well, 7 if there are only warnings, 1 if something fails; JSON says the same."""
    await with_endpoint(settings)
    proxy = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"

        async def run(*args: str, **more: str) -> Any:
            return await asyncio.to_thread(doctor, settings, *args, proxy=url, **more)

        well = await run("--json")
        assert well.exit_code == 0
        made = json.loads(well.stdout)
        assert (made["well"], made["failures"], made["warnings"]) == (True, 0, 0)
        assert {"check", "level", "says", "advice"} == set(made["findings"][0])

        warned = await run(TELLWIRE_ADMIN_KEY="short")
        assert warned.exit_code == 7
        assert "warning  settings" in warned.stdout
        assert "-> make one with" in warned.stdout
        assert KEY not in warned.stdout

    failed = await run("--json", TELLWIRE_ADMIN_KEY="short")
    made = json.loads(failed.stdout)
    assert (failed.exit_code, made["failures"], made["warnings"]) == (1, 1, 1)
    unset = await run("--json", TELLWIRE_PORT="many")
    assert unset.exit_code == 1
    (finding,) = json.loads(unset.stdout)["findings"]
    assert (finding["check"], finding["level"]) == ("settings", "failure")
