"""The resolver against a name server on loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tellwire.deliver.resolver import ResolveError, Resolver

from .dns import NameServer


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
async def resolver(dns: NameServer) -> AsyncIterator[Resolver]:
    resolver = Resolver([dns.address])
    yield resolver
    await resolver.aclose()


async def addresses(resolver: Resolver, name: str) -> set[str]:
    return {str(address) for address in (await resolver.resolve(name)).addresses}


async def test_all_addresses_are_told(resolver: Resolver, dns: NameServer) -> None:
    """A and AAAA records together, each address once."""
    dns.answer("both.example", "192.0.2.1", "192.0.2.2", "2001:db8::1")
    assert await addresses(resolver, "both.example") == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}


async def test_hosts_file_is_honoured(resolver: Resolver, dns: NameServer) -> None:
    """``localhost`` is known without asking anybody."""
    assert "127.0.0.1" in await addresses(resolver, "localhost")
    assert not dns.questions


async def test_names_are_absolute(resolver: Resolver, dns: NameServer) -> None:
    """No search domain is appended to what a stranger wrote."""
    with pytest.raises(ResolveError):
        await resolver.resolve("intranet")
    assert set(dns.questions) == {"intranet"}


async def test_concurrent_look_ups_are_one_and_remembered(resolver: Resolver, dns: NameServer) -> None:
    """Fifty askers cost two questions (A and AAAA), and the next one none."""
    dns.answer("busy.example", "192.0.2.1")
    await asyncio.gather(*(resolver.resolve("busy.example") for _ in range(50)))
    await resolver.resolve("busy.example")
    assert dns.questions["busy.example"] == 2


async def test_answer_lives_as_long_as_it_says(dns: NameServer) -> None:
    """Between the least and the most time that we keep answers, the record's own time to live counts."""
    resolver = Resolver([dns.address], min_ttl_s=5, max_ttl_s=30)
    loop = asyncio.get_running_loop()
    for name, ttl_s, expected_s in (("a.example", 0, 5), ("b.example", 20, 20), ("c.example", 86_400, 30)):
        dns.answer(name, "192.0.2.1", ttl_s=ttl_s)
        left_s = (await resolver.resolve(name)).expires_at - loop.time()
        assert expected_s - 2 < left_s <= expected_s
    await resolver.aclose()


async def test_memory_is_bounded(dns: NameServer) -> None:
    """The answer that was learnt first is forgotten first."""
    resolver = Resolver([dns.address], min_ttl_s=60, max_ttl_s=60, max_names=2)
    for name in ("a.example", "b.example", "c.example", "b.example", "a.example"):
        dns.answer(name, "192.0.2.1", "2001:db8::1", ttl_s=0)  # or c-ares would remember it, too
        await resolver.resolve(name)
    assert dns.questions == {"a.example": 4, "b.example": 2, "c.example": 2}
    await resolver.aclose()


@pytest.mark.parametrize(
    "name", ["unknown.example", "empty.example", "a..b", "x" * 64 + ".example", "sp%20ace"]
)
async def test_name_without_address_is_an_error(resolver: Resolver, dns: NameServer, name: str) -> None:
    """Unknown, empty and impossible names say so."""
    dns.answer("empty.example")
    with pytest.raises(ResolveError, match=r"\w"):
        await resolver.resolve(name)


async def test_silence_ends_in_time(dns: NameServer) -> None:
    """A name server that does not answer is given up, and other names do not wait for it."""
    dns.answer("good.example", "192.0.2.1")
    resolver = Resolver([dns.address], timeout_s=3)
    silent = [f"s{i}.example" for i in range(200)]
    dns.silent.update(silent)
    waiting = [asyncio.create_task(resolver.resolve(name)) for name in silent]
    await asyncio.sleep(0)
    assert await addresses(resolver, "good.example") == {"192.0.2.1"}
    assert not all(task.done() for task in waiting)
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, ResolveError)
    await resolver.aclose()


async def test_a_slow_answer_after_quick_ones_is_waited_for(resolver: Resolver, dns: NameServer) -> None:
    """A name server that knew others at once may take a second for one that it has to ask for itself."""
    for number in range(20):
        dns.answer(f"h{number}.example", "192.0.2.1")
        await resolver.resolve(f"h{number}.example")
    dns.answer("far.example", "192.0.2.2")
    dns.slow["far.example"] = 1
    assert await addresses(resolver, "far.example") == {"192.0.2.2"}


async def test_closing_ends_what_is_asked(dns: NameServer) -> None:
    """Askers of a closed resolver are cancelled rather than left waiting."""
    dns.silent.add("slow.example")
    resolver = Resolver([dns.address])
    task = asyncio.create_task(resolver.resolve("slow.example"))
    async with asyncio.timeout(10):
        while not dns.questions:  # noqa: ASYNC110 - the name server counts, it does not signal
            await asyncio.sleep(0.01)
    await resolver.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task
