"""Egress guard: to which URLs and addresses a delivery may go at all.

Place in the life of an event: asked when an endpoint is created (``check_url``) and again at every send, by
the transport, for the URL and for each address that its name resolves to (``is_allowed``). Endpoint URLs
are typed in by strangers; without this guard they could make us post to our own network, to this machine,
or to a cloud's metadata service.

Pure decisions: no sockets, no names resolved here. A name such as ``localhost`` passes ``check_url`` and is
refused once it is resolved. URLs are parsed by the HTTP client's own parser (WHATWG), so what is vetted is
what is connected to.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import msgspec
from pyreqwest.http import Url

from tellwire.errors import FieldError, InvalidInputError, LimitExceededError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
PortRange = tuple[int, int]

DEFAULT_PORTS: Final[tuple[PortRange, ...]] = ((80, 80), (443, 443), (1024, 65535))

# Our own table rather than ipaddress.is_global, whose answers differ between Python versions.
# Source: the IANA special-purpose address registries, refused as a whole where they hold any exception.
_REFUSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; holds Alibaba's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service: a public address that never leaves the host
        "169.254.0.0/16",  # link-local; holds the metadata service of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; holds Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Beyond it: loopback, unique local, link-local, site-local, discard, multicast.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3ffe::/16",  # the 6bone, given back
        "3fff::/20",  # documentation
    )
)
LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
"""This very machine."""

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")

_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_AUTHORITY: Final = re.compile(r"[^:/?#]*:/*([^/?#]*)")
_SHOWN_CHARS: Final = 200


class EgressPolicy(msgspec.Struct, frozen=True):
    """What this installation lets deliveries reach.

    Attributes:
        allow: networks that are allowed although they are not public (``TELLWIRE_EGRESS_ALLOW``).
        allow_http: whether plain http is accepted besides https (``TELLWIRE_ALLOW_HTTP``).
        ports: inclusive ranges of ports.
    """

    allow: tuple[Network, ...] = ()
    allow_http: bool = False
    ports: tuple[PortRange, ...] = DEFAULT_PORTS

    @classmethod
    def for_development(cls) -> "EgressPolicy":
        """Public addresses, and plain http to this very machine besides."""
        return cls(allow=LOOPBACK, allow_http=True)


class Target(msgspec.Struct, frozen=True):
    """A URL that passed, as the HTTP client reads it.

    Attributes:
        url: the normalised text.
        scheme: ``https`` or ``http``.
        host: in ASCII, lower case, IPv6 without brackets.
        port: explicit, or the scheme's own.
        address: where the host is an IP literal in whatever notation; None where it is a name.
    """

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None


def check_url(url: str, policy: EgressPolicy, max_chars: int = 2048) -> Target:
    """What ``url`` means to the HTTP client, provided that deliveries may go there.

    Literal addresses are checked here; names only once they are resolved, at each attempt.

    Raises:
        LimitExceededError: where it is longer than ``max_chars``.
        InvalidInputError: where it is refused; the message says why and what to do.
    """
    if len(url) > max_chars:
        raise _too_long(max_chars)
    verdict = vet_url(url, policy)
    if isinstance(verdict, str):
        raise InvalidInputError.at("url", msg=f'endpoint URL "{_shown(url)}" is refused: {verdict}')
    if len(verdict.url) > max_chars:
        raise _too_long(max_chars)
    return verdict


def vet_url(url: str, policy: EgressPolicy) -> Target | str:
    """The target of ``url``, or the reason for refusing it: words that quote nothing secret of the URL."""
    if _UNSAFE.search(url):
        return "spaces, control characters and backslashes must be percent-encoded"
    authority = _AUTHORITY.match(url)
    if authority is not None and "@" in authority[1]:
        return "it must not contain a user name or password; use custom headers instead"
    try:
        parsed = Url(url)
    except ValueError as error:
        return f"it cannot be read ({error})"
    if parsed.scheme not in ("https", "http"):
        return f'the scheme "{parsed.scheme[:32]}" is not https'
    if parsed.scheme == "http" and not policy.allow_http:
        return "https is required (set TELLWIRE_ALLOW_HTTP=1 for development)"
    if parsed.username or parsed.password is not None:
        return "it must not contain a user name or password; use custom headers instead"
    if parsed.fragment is not None:
        return "a fragment (#...) is never sent; leave it out"
    return _vet_authority(parsed, policy)


def _vet_authority(parsed: Url, policy: EgressPolicy) -> Target | str:
    host, port = parsed.host_str, parsed.port_or_known_default
    if not host or port is None:
        return "it names no host"
    if not any(first <= port <= last for first, last in policy.ports):
        return f"port {port} is not allowed (see TELLWIRE_EGRESS_PORTS)"
    address: Address | None = None
    if parsed.domain is None:
        host = host.strip("[]")
        address = ip_address(host)
        if not is_allowed(address, policy):
            return f"{address} is not a public address (TELLWIRE_EGRESS_ALLOW lists exceptions)"
    return Target(url=str(parsed), scheme=parsed.scheme, host=host, port=port, address=address)


def is_allowed(address: Address | str, policy: EgressPolicy) -> bool:
    """Whether a delivery may connect to ``address``: globally routable, or in one of ``policy.allow``.

    IPv4 inside IPv6 (mapped, NAT64) is judged by the IPv4 address that would be reached. Text that is no
    address is refused.
    """
    if isinstance(address, str):
        try:
            address = ip_address(address)
        except ValueError:
            return False
    reached = _unwrap(address)
    if any(candidate in network for network in policy.allow for candidate in (address, reached)):
        return True
    if isinstance(reached, IPv4Address):
        return not any(reached in network for network in _REFUSED_V4)
    return reached in _GLOBAL_V6 and not any(reached in network for network in _REFUSED_V6)


def _unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, by mapping or by the well-known NAT64 prefix; else itself.

    Source: RFC 4291 section 2.5.5.2, RFC 6052 section 2.1. The local NAT64 prefix (64:ff9b:1::/48, RFC
    8215) and IPv4-compatible addresses (::/96) lie outside 2000::/3 and are refused as they are.
    """
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _too_long(max_chars: int) -> LimitExceededError:
    fault = FieldError(
        ("url",), f"endpoint URL is refused: it is longer than {max_chars} characters (url_chars)"
    )
    return LimitExceededError([fault], limit="url_chars", maximum=max_chars)


def _shown(url: str) -> str:
    """``url`` for an error message: without query, user and password, whose secrets would end up in logs."""
    text = re.sub(r"//[^/?#]*@", "//***@", re.split(r"[?#]", url, maxsplit=1)[0])
    text = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
