"""The egress guard's decisions on URLs and addresses."""

from ipaddress import ip_network

import pytest

from tellwire.deliver.egress import (
    EgressPolicy,
    check_url,
    is_allowed,
)
from tellwire.errors import InvalidInputError, LimitExceededError

STRICT = EgressPolicy()
DEV = EgressPolicy(
    allow=(
        ip_network("127.0.0.0/8"),
        ip_network("::1"),
    ),
    allow_http=True,
)


@pytest.mark.parametrize(
    ("url", "normalised", "host", "port"),
    [
        ("https://example.com", "https://example.com/", "example.com", 443),
        ("HTTPS://Example.COM:8443/a?b=c", "https://example.com:8443/a?b=c", "example.com", 8443),
        ("https://例え.jp/", "https://xn--r8jz45g.jp/", "xn--r8jz45g.jp", 443),
        ("https://ex%61mple.com./", "https://example.com./", "example.com.", 443),
        ("https://1.1.1.1/", "https://1.1.1.1/", "1.1.1.1", 443),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/", "2606:4700::1111", 443),
        ("https://[::ffff:1.1.1.1]/", "https://[::ffff:101:101]/", "::ffff:101:101", 443),
    ],
)
def test_public_url_passes_as_the_client_reads_it(url: str, normalised: str, host: str, port: int) -> None:
    """A target holds what the HTTP client will make of the URL."""
    target = check_url(url, STRICT)
    assert (target.url, target.host, target.port) == (normalised, host, port)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://x", "https is required (set TELLWIRE_ALLOW_HTTP=1 for development)"),
        ("ftp://example.com/", 'the scheme "ftp" is not https'),
        ("file:///etc/passwd", 'the scheme "file" is not https'),
        ("javascript:alert(1)", 'the scheme "javascript" is not https'),
        ("example.com/hook", "it cannot be read"),
        ("", "it cannot be read"),
        ("https://", "it cannot be read"),
        ("https://h:99999/", "it cannot be read"),
        ("https://1.2.3.4.5/", "it cannot be read"),
        ("https://[fe80::1%25eth0]/", "it cannot be read"),
        ("https://user:hunter2@example.com/", "user name or password"),
        ("https://@example.com/", "user name or password"),
        ("https://:@example.com/", "user name or password"),
        ("https://example.com/#top", "a fragment"),
        ("https://example.com/#", "a fragment"),
        ("https://example.com/a b", "percent-encoded"),
        ("https://exam\nple.com/", "percent-encoded"),
        ("https://example.com/\x00", "percent-encoded"),
        ("https://example.com\\@evil.example/", "percent-encoded"),
        ("https://example.com:22/", "port 22 is not allowed"),
        ("https://example.com:0/", "port 0 is not allowed"),
        ("https://example.com:1023/", "port 1023 is not allowed"),
    ],
)
def test_refusal_names_its_reason(url: str, reason: str) -> None:
    """A refused URL says what is wrong, at the field ``url``."""
    with pytest.raises(InvalidInputError) as caught:
        check_url(url, STRICT)
    (fault,) = caught.value.errors
    assert fault.loc == ("url",)
    assert reason in fault.msg
    assert fault.msg.startswith('endpoint URL "')


def test_the_message_in_full() -> None:
    """The message reads as the style guide's example."""
    with pytest.raises(InvalidInputError) as caught:
        check_url("http://x", STRICT)
    assert caught.value.errors[0].msg == (
        'endpoint URL "http://x" is refused: https is required (set TELLWIRE_ALLOW_HTTP=1 for development)'
    )


def test_a_refusal_repeats_no_secret() -> None:
    """Passwords and queries do not return in the message, which may end up in a log."""
    with pytest.raises(InvalidInputError) as caught:
        check_url("http://user:hunter2@example.com/hook?token=tops3cret#x", STRICT)
    assert "hunter2" not in str(caught.value)
    assert "tops3cret" not in str(caught.value)


def test_a_long_url_names_the_limit() -> None:
    """Over the limit, also where only normalisation makes it so long."""
    for url in ("https://example.com/" + "a" * 2048, "https://example.com/" + "é" * 1000):
        with pytest.raises(LimitExceededError) as caught:
            check_url(url, STRICT)
        assert (caught.value.limit, caught.value.maximum) == ("url_chars", 2048)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
        ),
        *("127.0.0.1.", "%31%32%37.0.0.1", "127.0.0.1", "127。0。0。1", "①②⑦.0.0.1"),
        *(
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
        ),
        *("169.254.169.254", "0xA9FEA9FE", "2852039166", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1", "203.0.113.1"),
        *(
            "[::]",
            "[::1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:0:127.0.0.1]",
        ),
        *(
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::1.1.1.1]",
            "[2002:7f00:1::]",
            "[2002:101:101::]",
        ),
        *("[2001::1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fe80::1]", "[fec0::1]", "[fc00::1]"),
        *("[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]", "[4000::1]"),
    ],
)
def test_literal_address_is_refused_in_every_notation(host: str) -> None:
    """Addresses that are not public are refused, however they are written."""
    with pytest.raises(InvalidInputError, match="is not a public address"):
        check_url(f"https://{host}/", STRICT)


def test_names_pass_until_they_are_resolved() -> None:
    """``localhost`` is a name: the attempt will refuse it."""
    assert check_url("https://localhost/", STRICT).address is None


def test_allowed_networks_and_http_open_the_development_machine() -> None:
    """With the settings of ``--dev`` loopback is reached over http, in every notation; nothing else is."""
    for host in ("127.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"):
        assert check_url(f"http://{host}:8000/", DEV).address is not None
    with pytest.raises(InvalidInputError):
        check_url("http://10.0.0.1/", DEV)


def test_nat64_of_a_public_address_is_allowed() -> None:
    """In networks with DNS64 every IPv4-only host looks like this."""
    assert is_allowed("64:ff9b::101:101", STRICT)
    assert not is_allowed("no address", STRICT)
