"""Settings: sources and their order, faults, secrets, the dev preset, and the page of the documentation."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tellwire.errors import SettingsError
from tellwire.model.limits import Limits
from tellwire.policy.retry import RetrySchedule
from tellwire.settings import TABLE, Loaded, Settings, kinds, load
from tellwire.settings.reference import render
from tellwire.settings.values import default_of, written_default
from tellwire.signing import jwt

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"

_NO_ORIGIN = "{!r} is no origin: scheme and host in lower case, and a port, nothing behind"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_toml(text: str, name: str = "tellwire.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def fault(name: str, value: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load({}, flags={name: value})
    return str(caught.value)


def value(name: str, given: object) -> object:
    return getattr(load({}, flags={name: given}).settings, name)


def test_nothing_given() -> None:
    """Without any source every setting has its default, and says so."""
    loaded = load({})

    assert loaded.settings == Settings()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}
    assert loaded.warnings == ()
    assert loaded.toml_path is None


def test_table_covers_the_settings() -> None:
    """Every field stands in the table once, in its order, and every limit is a setting of the same name."""
    assert tuple(setting.name for setting in TABLE) == Settings.__struct_fields__
    limits = {name for name in Settings.__struct_fields__ if name.startswith("max_")}
    assert limits == {f"max_{name}" for name in Limits.__struct_fields__}


def test_limits() -> None:
    """The limits property carries the max_ settings, and the defaults of the model."""
    assert Settings().limits == Limits()
    assert load({"TELLWIRE_MAX_BATCH_EVENTS": "7"}).settings.limits == Limits(batch_events=7)


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.name)
def test_written_values_are_read_again(setting: object) -> None:
    """What is shown as a default can be written into a file and means the same."""
    row = next(row for row in TABLE if row is setting)
    default = default_of(row)
    if default is not None:
        assert row.kind.read(row.kind.write(default)) == default


def test_order_of_sources() -> None:
    """Flags win over the environment, it over the file, it over defaults; the origin names the winner."""
    write_toml('host = "file"\nport = 1\nretention_days = 3\n')

    loaded = load(
        {"TELLWIRE_PORT": "2", "TELLWIRE_RETENTION_DAYS": "4", "OTHER": "x"},
        flags={"retention_days": 5, "host": None},
    )

    assert loaded.settings == Settings(host="file", port=2, retention_days=5)
    assert str(loaded.origins["host"]) == "tellwire.toml:host"
    assert str(loaded.origins["port"]) == "environment TELLWIRE_PORT"
    assert str(loaded.origins["retention_days"]) == "flag --retention-days"
    assert str(loaded.origins["grace"]) == "default"
    assert loaded.toml_path == Path("tellwire.toml")


def test_the_winner_alone_is_read() -> None:
    """A faulty value that another source overrides does no harm."""
    assert load({"TELLWIRE_PORT": "nonsense"}, flags={"port": 1}).settings.port == 1


def test_empty_variables_are_not_set() -> None:
    """Compose files pass unset variables as empty ones, which must not fail nor override."""
    write_toml("port = 1")
    loaded = load({"TELLWIRE_PORT": "", "TELLWIRE_EGRESS_PROXY": "", "TELLWIRE_UNKNOWN": ""})
    assert (loaded.settings.port, loaded.warnings) == (1, ())


def test_which_file() -> None:
    """An argument wins over TELLWIRE_CONFIG, which wins over tellwire.toml in the working directory."""
    write_toml("port = 1")
    second, third = write_toml("port = 2", "second.toml"), write_toml("port = 3", "third.toml")

    assert load({}).settings.port == 1
    assert load({"TELLWIRE_CONFIG": str(second)}).settings.port == 2
    assert load({"TELLWIRE_CONFIG": str(second)}, third).settings.port == 3


def test_missing_files() -> None:
    """A file that is named but not there is a fault, not a silent default."""
    with pytest.raises(SettingsError, match=r"TELLWIRE_CONFIG: there is no file 'no\.toml'"):
        load({"TELLWIRE_CONFIG": "no.toml"})
    with pytest.raises(SettingsError, match=r"there is no settings file 'no\.toml'"):
        load({}, Path("no.toml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"port = ", "tellwire.toml is not TOML: Invalid value (at end of document); write lines such as"),
        (b"\xff", "tellwire.toml is not UTF-8"),
        (b"prot = 1", "tellwire.toml: there is no setting 'prot' (did you mean 'port'?)"),
        (b"[port]\nx = 1", "port = {'x': 1} (tellwire.toml:port) cannot be used: it is a table"),
        (b"port = [1]", "port = [1] (tellwire.toml:port) cannot be used: it is a list"),
        (b"port = true", "port = True (tellwire.toml:port) cannot be used: it is not a whole number"),
        (b"port = 1979-05-27", "cannot be used: it is not a whole number"),
    ],
)
def test_faulty_files(content: bytes, message: str) -> None:
    """A fault in the file names the file, the key and what is wrong with it."""
    Path("tellwire.toml").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load({})
    assert message in str(caught.value)


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without permission is a fault that says so."""

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = write_toml("port = 1")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SettingsError, match=r"tellwire\.toml cannot be read \(Permission denied\)"):
        load({}, path)


def test_toml_types() -> None:
    """The file may use TOML's own numbers, switches and lists."""
    write_toml('allow_http = true\ndelivery_timeout = 2.5\negress_ports = [443, "8000-8999"]\n')
    settings = load({}).settings
    assert settings == Settings(
        allow_http=True, delivery_timeout=2.5, egress_ports=((443, 443), (8000, 8999))
    )


def test_all_faults_at_once() -> None:
    """Faults of all sources come in one error: each names the setting, its origin and what to give."""
    write_toml("prot = 1\nmax_page_items = 0\n")

    with pytest.raises(SettingsError) as caught:
        load({"TELLWIRE_PORT": "99999"}, flags={"log_format": "xml", "vrbose": True})

    lines = str(caught.value).splitlines()
    assert lines[0] == "5 settings cannot be used:"
    assert lines[3] == (
        "  - port = '99999' (environment TELLWIRE_PORT) cannot be used: it is too large;"
        " give a whole number, from 0 to 65535"
    )
    assert "tellwire.toml: there is no setting 'prot'" in lines[1]
    assert "flag --vrbose: there is no setting" in lines[2]
    assert "log_format = 'xml' (flag --log-format)" in lines[4]
    assert "max_page_items = 0 (tellwire.toml:max_page_items)" in lines[5]


def test_unknown_variables() -> None:
    """An unknown TELLWIRE_ variable is a warning that names the nearest known one."""
    loaded = load({"TELLWIRE_DATABSE_URL": "x", "PATH": "y"})
    assert loaded.warnings == (
        "environment TELLWIRE_DATABSE_URL is unknown and ignored (did you mean 'TELLWIRE_DATABASE_URL'?)",
    )


def test_kubernetes_service_links() -> None:
    """A Kubernetes Service named tellwire must not stop the server through the variables it injects."""
    loaded = load(
        {
            "TELLWIRE_PORT": "tcp://10.96.0.7:8400",
            "TELLWIRE_SERVICE_HOST": "10.96.0.7",
            "TELLWIRE_SERVICE_PORT_HTTP": "8400",
            "TELLWIRE_PORT_8400_TCP_ADDR": "10.96.0.7",
        }
    )
    assert loaded.settings.port == 8400
    assert len(loaded.warnings) == 1
    assert "enableServiceLinks: false" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("port", " 0 ", 0),
        ("allow_http", "1", True),
        ("allow_http", "OFF", False),
        ("delivery_timeout", "15s", 15.0),
        ("delivery_timeout", 1500, None),
        ("delivery_timeout", "1500ms", 1.5),
        ("grace", "1m", 60.0),
        ("max_payload_bytes", "64KiB", 65536),
        ("max_payload_bytes", "1 MiB", 1024 * 1024),
        ("max_payload_bytes", 1024 * 1024 + 1, None),
        ("max_payload_bytes", "1 GB", None),
        ("max_custom_headers", 0, 0),
        ("egress_allow", "10.0.0.0/8, fd00::/8,1.2.3.4", ("10.0.0.0/8", "fd00::/8", "1.2.3.4/32")),
        ("egress_ports", "443,8000 - 8999", ((443, 443), (8000, 8999))),
        ("egress_ports", "0", None),
        ("egress_ports", "9-1", None),
        ("egress_ports", ",", None),
        ("egress_proxy", "http://u:p@proxy:3128", "http://u:p@proxy:3128"),
        ("egress_proxy", "", None),
        ("oauth_algorithms", "ES256, RS256,ES256", ("ES256", "RS256")),
        ("oauth_scope_claim", "scp", "scp"),
        (
            "cors_origins",
            "https://a.example, http://[::1]:3000,*",
            ("https://a.example", "http://[::1]:3000", "*"),
        ),
        ("oauth_tenant_claim", "", None),
        ("oauth_leeway", "1m", 60.0),
        ("dns_servers", "1.1.1.1, 8.8.8.8:5353,::1,[::1],[2606:0::1]:53", 5),
        ("dns_servers", "", ()),
        ("log_level", "WARNING", "warning"),
        ("retry_schedule", "5s,1m", RetrySchedule((5_000, 60_000))),
        ("retry_schedule", "", RetrySchedule(())),
        ("host", "::", "::"),
        ("database_url", "sqlite:///data/t.db", "sqlite:///data/t.db"),
        ("database_url", "sqlite:////var/lib/t.db", "sqlite:////var/lib/t.db"),
    ],
)
def test_values(name: str, given: object, expected: object) -> None:
    """Each kind of setting is read in the forms that people write it in."""
    if expected is None and given != "":
        assert f"{name} = " in fault(name, given)
    elif name == "egress_allow":
        assert isinstance(expected, tuple)
        assert value(name, given) == tuple(map(ip_network, expected))
    elif expected == 5:
        assert value(name, given) == ("1.1.1.1", "8.8.8.8:5353", "::1", "::1", "[2606::1]:53")
    else:
        assert value(name, given) == expected


@pytest.mark.parametrize(
    ("name", "given", "wrong"),
    [
        ("database_url", "sqlite://", "a server cannot keep its events in memory"),
        ("database_url", "sqlite:///:memory:", "a server cannot keep its events in memory"),
        ("database_url", "sqlite://tellwire.db", "a relative path needs three slashes"),
        (
            "database_url",
            "sqlite:///t.db?mode=memory",
            "it must end in the name of a file, without parameters",
        ),
        ("database_url", "postgresql+asyncpg://db/x", "it is neither an SQLite nor a PostgreSQL URL"),
        ("database_url", "postgres://db", "it must end in the name of a database"),
        ("database_url", "mysql://db/x", "it is neither an SQLite nor a PostgreSQL URL"),
        ("host", "http://0.0.0.0", "it is not a host name or address"),
        ("port", "", "it is not a whole number"),
        ("port", "-1", "it is too small"),
        ("port", "9" * 5000, "it is not a whole number"),
        ("dev", "maybe", "it is neither yes nor no"),
        ("delivery_timeout", "31", "it is too large"),
        ("delivery_timeout", "0.5", "it is too small"),
        ("delivery_timeout", "soon", "it is not a length of time"),
        (
            "egress_allow",
            "10.0.0.1/8",
            "'10.0.0.1/8' has bits set beyond its prefix (did you mean '10.0.0.0/8'?)",
        ),
        ("egress_allow", "example.com", "'example.com' is not a network"),
        ("egress_proxy", "proxy:3128", "it is not the URL of a proxy"),
        ("oauth_algorithms", "none", "'none' is none of them; neither none nor HMAC can be allowed"),
        ("oauth_algorithms", "RS256,HS256", "'HS256' is none of them; neither none nor HMAC can be allowed"),
        ("oauth_algorithms", ",", "no algorithm would be left"),
        ("cors_origins", "https://a.example/", _NO_ORIGIN.format("https://a.example/")),
        ("cors_origins", "a.example", _NO_ORIGIN.format("a.example")),
        ("cors_origins", "null", _NO_ORIGIN.format("null")),
        ("oauth_scope_claim", " ", "it is empty"),
        ("oauth_tenant_claim", "a b", "it must be a text without spaces"),
        ("oauth_jwks_url", "http://issuer.example/keys", "https is required, but for this very machine"),
        ("oauth_jwks_url", "https://u:p@issuer.example/keys", "it is no https:// URL"),
        ("oauth_jwks_url", "keys.json", "it is no https:// URL"),
        ("egress_proxy", "http://proxy:99999", "it is not the URL of a proxy"),
        ("egress_proxy", "socks5://proxy", "it is not the URL of a proxy"),
        ("egress_ca_file", "nowhere.pem", "there is no such file"),
        ("dns_servers", "dns.example.com", "'dns.example.com' is not the address of a name server"),
        ("dns_servers", "1.1.1.1:0", "'1.1.1.1:0' is not the address of a name server"),
        ("dns_servers", "1.1.1.999", "'1.1.1.999' is not the address of a name server"),
        ("retry_schedule", "5x", "'5x' is no delay"),
        ("retry_schedule", ",".join(["1s"] * 31), "has 31 delays"),
        ("log_level", "loud", "there is no such choice"),
    ],
)
def test_faulty_values(name: str, given: str, wrong: str) -> None:
    """A faulty value is refused with what is wrong and what to give instead."""
    said = fault(name, given)
    assert f"cannot be used: {wrong}" in said
    assert "; give " in said
    assert len(said) < 400


def test_ca_file() -> None:
    """A CA file that is there is taken as a path."""
    assert value("egress_ca_file", write_toml("", "ca.pem")) == Path("ca.pem")


@pytest.mark.parametrize("name", ["admin_key", "secret_key"])
def test_faulty_secrets_stay_secret(name: str) -> None:
    """The message about a faulty secret does not repeat it."""
    said = fault(name, "hun ter2")
    assert "hun" not in said
    assert said.startswith(f"{name} (flag --{name.replace('_', '-')}) cannot be used: ")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("egress_proxy", "ftp://user:hunter2@proxy"),
        ("egress_proxy", "user:hunter2@proxy:3128"),
        ("egress_proxy", "http://user:hun/hunter2@ter@proxy:x"),
        ("database_url", "postgresql+asyncpg://user:hunter2@db/x"),
        ("database_url", "postgresql+asyncpg://db/x?password=hunter2"),
    ],
)
def test_faulty_urls_hide_passwords(name: str, given: str) -> None:
    """The message about a faulty URL does not repeat the password in it."""
    assert "hunter2" not in fault(name, given)


def rows_of(loaded: Loaded) -> dict[str, tuple[str, str]]:
    return {row.name: (row.value, row.origin) for row in loaded.rows()}


def test_secrets_are_hidden() -> None:
    """Neither repr nor the rows of `tellwire config` show a secret or the password of a URL."""
    env = {"TELLWIRE_ADMIN_KEY": "tw_hunter2", "TELLWIRE_EGRESS_PROXY": "http://u:hunter2@proxy:3128"}
    loaded = load(env, flags={"port": 1})
    rows = rows_of(loaded)

    assert loaded.settings.admin_key == "tw_hunter2"
    assert rows["admin_key"] == ("set (hidden)", "environment TELLWIRE_ADMIN_KEY")
    assert rows["secret_key"] == ("not set", "default")
    assert rows["egress_proxy"][0] == "http://***@proxy:3128"
    assert rows["port"] == ("1", "flag --port")
    assert rows["egress_ports"] == ("80,443,1024-65535", "default")
    assert rows["retry_schedule"][0] == "5s,5m,30m,2h,5h,10h,14h,20h,24h"
    assert "hunter2" not in repr(loaded) + str(loaded.settings) + repr(loaded.settings.__rich_repr__())


def test_dev_preset() -> None:
    """The dev preset allows http and loopback, besides what is allowed already."""
    loaded = load({"TELLWIRE_EGRESS_ALLOW": "10.0.0.0/8"}, flags={"dev": True})

    assert loaded.settings.allow_http
    assert loaded.settings.egress_allow == tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.0/8", "::1/128")))
    assert str(loaded.origins["allow_http"]) == "dev preset"
    assert str(load({}, flags={"dev": True}).origins["egress_allow"]) == "dev preset"


def test_dev_preset_yields() -> None:
    """What is set explicitly wins over the dev preset, and nothing is allowed twice."""
    loaded = load({"TELLWIRE_DEV": "1", "TELLWIRE_ALLOW_HTTP": "0", "TELLWIRE_EGRESS_ALLOW": "127.0.0.0/8"})

    assert not loaded.settings.allow_http
    assert loaded.settings.egress_allow == tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))


def test_page_is_current() -> None:
    """docs/reference/settings.md is what the table says; write it anew with tellwire.settings.reference."""
    assert PAGE.read_text() == render()


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.name)
def test_page_names_each_setting(setting: object) -> None:
    """The page names each setting and its variable, with its default."""
    row = next(row for row in TABLE if row is setting)
    (line,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{row.name}`<br>")]
    default = written_default(row) or "not set"
    assert f"`TELLWIRE_{row.name.upper()}`" in line
    assert default in line.split("|")[2]


def test_issuer_is_whole_or_not_there() -> None:
    """An issuer needs its audience and where its keys are; none of the three means anything alone."""
    with pytest.raises(SettingsError, match="oauth_issuer needs oauth_audience and oauth_jwks_url besides"):
        load({"TELLWIRE_OAUTH_ISSUER": "https://issuer.example"})
    with pytest.raises(SettingsError, match="oauth_audience needs oauth_issuer"):
        load({"TELLWIRE_OAUTH_AUDIENCE": "a,b"})
    whole = {
        "TELLWIRE_OAUTH_ISSUER": "https://issuer.example",
        "TELLWIRE_OAUTH_AUDIENCE": "a,b",
        "TELLWIRE_OAUTH_JWKS_URL": "http://localhost:8080/keys",
    }
    assert load(whole).settings.oauth_audience == ("a", "b")


def test_algorithms_of_the_settings_are_those_of_tokens() -> None:
    """What can be set can be verified, and the other way round; the defaults are the same."""
    assert kinds.ALGORITHM_NAMES == jwt.ALGORITHMS
    assert Settings().oauth_algorithms == jwt.TokenRules(issuer="", audiences=()).algorithms
