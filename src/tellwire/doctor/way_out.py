"""The way out: can names be resolved, can the proxy be reached, are the certificates there?"""

import asyncio
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from tellwire.deliver.cohorts import read_certificates
from tellwire.deliver.egress import EgressPolicy, check_url, is_allowed
from tellwire.deliver.resolver import ResolveError, Resolver
from tellwire.errors import InvalidInputError, SettingsError
from tellwire.settings import Settings
from tellwire.wiring import options_for

from .finding import Finding, failure, ok, skipped, warning

_MOST_HOSTS: Final = 5
_WITHIN_S: Final = 5.0
_SOME_HOST: Final = "example.com"


async def examine(settings: Settings, urls: Iterable[str]) -> list[Finding]:
    """How the way out is, tried with the hosts of some endpoints at ``urls``. No request is sent to them."""
    found = [] if settings.egress_ca_file is None else [_certificates(str(settings.egress_ca_file))]
    if settings.egress_proxy is not None:
        found.append(await _proxy(settings.egress_proxy))
        return [*found, skipped("resolver", "the egress proxy resolves names, not we")]
    return found + await _names(settings, urls)


def _certificates(path: str) -> Finding:
    try:
        certificates = read_certificates(path)
    except SettingsError as error:
        return failure(
            "certificates", str(error), "mend egress_ca_file: without it the server does not deliver"
        )
    return ok("certificates", f"{len(certificates)} in {path}")


async def _proxy(url: str) -> Finding:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_WITHIN_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except (OSError, TimeoutError) as error:
        why = f"no answer within {_WITHIN_S:g} s" if isinstance(error, TimeoutError) else str(error)
        advice = "see that the proxy runs and that this machine may reach it, or mend egress_proxy"
        return failure("proxy", f"the egress proxy {host}:{port} cannot be reached: {why}", advice)
    return ok("proxy", f"the egress proxy {host}:{port} takes connections")


async def _names(settings: Settings, urls: Iterable[str]) -> list[Finding]:
    policy = options_for(settings).egress
    hosts = _hosts(urls, policy) or [_SOME_HOST]
    resolver = Resolver(settings.dns_servers, timeout_s=_WITHIN_S)
    try:
        answers = await asyncio.gather(*(_resolved(resolver, host) for host in hosts))
    finally:
        await resolver.aclose()
    faults = [(host, answer) for host, answer in zip(hosts, answers, strict=True) if isinstance(answer, str)]
    if len(faults) == len(hosts):
        host, why = faults[0]
        servers = ", ".join(settings.dns_servers) or "those of the system"
        # Where no endpoint needs a name, there may be no name server on purpose.
        tell = warning if host == _SOME_HOST else failure
        return [
            tell(
                "resolver",
                f"no name can be resolved, {host} for one: {why}",
                f"see that this machine reaches its name servers ({servers}), or set dns_servers",
            )
        ]
    found = [
        warning(
            "resolver", f"{host} cannot be resolved: {why}", "ask the owner of the endpoint for the right URL"
        )
        for host, why in faults
    ]
    for host, answer in zip(hosts, answers, strict=True):
        refused = [] if isinstance(answer, str) else [one for one in answer if not is_allowed(one, policy)]
        if refused and host != _SOME_HOST:
            found.append(
                warning(
                    "resolver",
                    f"{host} leads to {refused[0]}, which the egress guard refuses: nothing is delivered there",
                    "if it is a consumer of your own, add its network to egress_allow",
                )
            )
    return found or [ok("resolver", f"it resolved {', '.join(hosts)}")]


async def _resolved(resolver: Resolver, host: str) -> list[str] | str:
    try:
        return [str(address) for address in (await resolver.resolve(host)).addresses]
    except ResolveError as error:
        return str(error)


def _hosts(urls: Iterable[str], policy: EgressPolicy) -> list[str]:
    hosts: dict[str, None] = {}
    for url in urls:
        try:
            target = check_url(url, policy)
        except InvalidInputError:  # refused by the settings of today: its attempts tell so
            continue
        if target.address is None:
            hosts[target.host] = None
    return list(hosts)[:_MOST_HOSTS]
