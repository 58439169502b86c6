"""No address that Python calls private ever passes the egress guard, however it is written."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.egress import EgressPolicy, is_allowed, vet_url

STRICT = EgressPolicy()

PRIVATE_V4 = st.sampled_from(
    [
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    ]
).flatmap(lambda text: st.ip_addresses(v=4, network=text))
ANY_V4 = st.ip_addresses(v=4) | PRIVATE_V4
SPECIAL_V6 = st.sampled_from(
    [
        *(
            "::/96",
            "::ffff:0:0/96",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
        ),
        *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "100::/64", "2000::/3"),
    ]
).flatmap(lambda text: st.ip_addresses(v=6, network=text))
ANY_V6 = st.ip_addresses(v=6) | SPECIAL_V6


def is_special(address: IPv4Address | IPv6Address) -> bool:
    """Whether Python's own tables call the address anything but public."""
    return (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or not address.is_global
        or (isinstance(address, IPv6Address) and address.is_site_local)
    )


@st.composite
def notations(draw: st.DrawFn, address: IPv4Address) -> str:
    """One of the ways to write an IPv4 address that URL parsers understand."""
    number = int(address)
    parts = draw(st.integers(1, 4))
    shift = 8 * (5 - parts)
    last = number & ((1 << shift) - 1)
    octets = [(number >> (24 - 8 * i)) & 255 for i in range(parts - 1)]
    bases: list[Callable[[int], str]] = [str, hex, lambda n: f"0{n:o}", lambda n: f"0X{n:X}"]
    text = ".".join(draw(st.sampled_from(bases))(value) for value in (*octets, last))
    if draw(st.booleans()):
        text = "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else char for char in text)
    return text + draw(st.sampled_from(["", "."]))


@given(ANY_V4)
def test_special_ipv4_is_never_allowed(address: IPv4Address) -> None:
    """What Python calls special is refused, bare and inside IPv6."""
    mapped, nat64 = IPv6Address(f"::ffff:{address}"), IPv6Address(f"64:ff9b::{address}")
    assert is_allowed(address, STRICT) == is_allowed(mapped, STRICT) == is_allowed(nat64, STRICT)
    if is_special(address):
        assert not is_allowed(address, STRICT)


@given(ANY_V6)
def test_special_ipv6_is_never_allowed(address: IPv6Address) -> None:
    """What Python calls special is refused; of the embedding forms, the IPv4 address inside decides."""
    if address.ipv4_mapped is not None:
        assert is_allowed(address, STRICT) == is_allowed(address.ipv4_mapped, STRICT)
        return
    if address.sixtofour is not None or address.teredo is not None:
        assert not is_allowed(address, STRICT)
    if address in ip_network("64:ff9b::/96"):
        assert is_allowed(address, STRICT) == is_allowed(IPv4Address(int(address) & 0xFFFFFFFF), STRICT)
        return
    if is_special(address):
        assert not is_allowed(address, STRICT)


@given(st.data())
def test_notation_makes_no_difference(data: st.DataObject) -> None:
    """An address in a URL is judged alike in decimal, octal, hexadecimal, short and full-width form."""
    address = IPv4Address(data.draw(ANY_V4))
    verdict = vet_url(f"https://{data.draw(notations(address))}/", STRICT)
    if is_allowed(address, STRICT):
        assert not isinstance(verdict, str)
        assert verdict.address == address
    else:
        assert isinstance(verdict, str)
        assert "not a public address" in verdict


@given(
    st.text(max_size=60), st.sampled_from(["", "https://", "https://[", "https://127.", "https:\\\\", "//"])
)
def test_any_text_gets_a_verdict(text: str, prefix: str) -> None:
    """Whatever is typed in is either a public https target or a reason; nothing is raised."""
    verdict = vet_url(prefix + text, STRICT)
    if not isinstance(verdict, str):
        assert verdict.scheme == "https"
        assert verdict.address is None or is_allowed(verdict.address, STRICT)
        assert vet_url(verdict.url, STRICT) == verdict
