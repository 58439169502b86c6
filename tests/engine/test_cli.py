"""The command line on a real database, and as real processes: server, receiver, publisher."""

import json
import signal
import socket
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from tellwire.cli.app import app

from .cli_process import Process
from .test_api_control import PLAIN

URL = "http://127.0.0.1:9000/"
Run = Callable[..., Result]


@pytest.fixture
def start(tmp_path: Path, workers: list[Process]) -> Callable[..., Process]:
    """Starts processes in an empty folder."""

    def start(*args: str) -> Process:
        workers.append(Process(tmp_path, *args))
        return workers[-1]

    return start


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one command in this process, on a database in an empty folder."""

    def run(*args: str, input: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        environment = {"TELLWIRE_DATABASE_URL": f"sqlite:///{tmp_path}/tellwire.db", "TELLWIRE_DEV": "1"}
        environment |= env or {}
        return CliRunner().invoke(app, list(args), input=input, env=environment, catch_exceptions=False)

    return run


def found(result: Result) -> Any:
    """The JSON document of a command that went well."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_no_database_is_made_by_mistake(run: Run, tmp_path: Path) -> None:
    """Who looks at a database that is not there is told so, and none appears; exit code 5."""
    result = run("events", "list")

    assert result.exit_code == 5
    assert "there is no database" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_migrate(run: Run) -> None:
    """``--check`` exits 1 until ``migrate`` has run, and changes nothing."""
    assert run("migrate", "--check").exit_code == 1
    assert run("migrate", "--check").exit_code == 1
    assert found(run("migrate", "--json"))["changed"] is True
    assert found(run("migrate", "--json"))["changed"] is False
    assert run("migrate", "--check").exit_code == 0
    assert "CREATE TABLE" in run("migrate", "--sql").stdout
    assert run("migrate", "--sql", "--check").exit_code == 2


def test_reseal(run: Run, tmp_path: Path) -> None:
    """A key may be given up when all is sealed with another; ``--check`` tells whether it is."""
    run("migrate")
    assert found(run("endpoints", "create", URL, "--json"))["url"] == URL
    file = tmp_path / "tellwire.key"
    old, new = file.read_text(), "ab" * 32 + "\n"
    assert found(run("reseal", "--check", "--json"))["older"] == 0
    file.write_text(new + old)
    assert run("reseal", "--check").exit_code == 1
    resealed = found(run("reseal", "--json"))
    assert resealed == {"values": resealed["values"], "older": resealed["values"], "changed": True}
    assert "first key" in run("reseal", "--check").stdout
    file.write_text(new)
    assert found(run("endpoints", "list", "--json"))["data"][0]["url"] == URL
    file.write_text(old)
    assert run("endpoints", "list").exit_code != 0


def test_a_server_that_is_not_there_is_named(run: Run, unused_port: int) -> None:
    """Who cannot reach PostgreSQL is told which one, and why, in one line and without its password."""
    url = f"postgresql://shop:geheim@127.0.0.1:{unused_port}/shop"
    for command in (["events", "list"], ["migrate", "--check"]):
        result = run(*command, env={"TELLWIRE_DATABASE_URL": url, "TELLWIRE_SECRET_KEY": "A" * 43 + "="})

        assert result.exit_code == 5
        assert f"database shop on 127.0.0.1:{unused_port} cannot be reached" in result.stderr
        assert "geheim" not in result.stderr


def test_the_version_is_told_by_a_flag_too(run: Run) -> None:
    """``--version`` is what many programs take."""
    assert run("--version").stdout == run("version").stdout != ""


def test_newer_database(run: Run, tmp_path: Path) -> None:
    """A database of a newer version is refused in a sentence, by every command, and left alone."""
    run("migrate")
    with sqlite3.connect(tmp_path / "tellwire.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    for args in (["migrate"], ["migrate", "--check"], ["events", "list"], ["publish", "a.b", "{}"]):
        result = run(*args)
        assert result.exit_code == 5
        assert "upgrade Tellwire" in result.stderr


def test_other_secret_key(run: Run, tmp_path: Path) -> None:
    """With another secret key the database is refused; exit code 6."""
    run("migrate")
    (tmp_path / "tellwire.key").unlink()

    assert run("events", "list").exit_code == 6


def test_damaged_database(run: Run, tmp_path: Path) -> None:
    """A file that is no database is named; exit code 5."""
    run("migrate")  # for the key file
    for left in tmp_path.glob("tellwire.db*"):
        left.unlink()
    (tmp_path / "tellwire.db").write_text("no database" * 100)

    for args in (["migrate", "--check"], ["events", "list"]):
        result = run(*args)
        assert result.exit_code == 5
        assert "tellwire.db" in result.stderr


def test_life_of_an_endpoint(run: Run) -> None:
    """An endpoint is made, shown, changed, switched, given a new secret and removed."""
    made = found(
        run("endpoints", "create", URL, "-e", "order.*,user.*", "-H", "X-A: b", "--metadata", "k=v", "--json")
    )
    id = made["id"]

    assert (made["events"], made["headers"], made["metadata"]) == (
        ["order.*", "user.*"],
        {"X-A": "***"},
        {"k": "v"},
    )
    assert found(run("endpoints", "secret", id, "--json")) == {"secret": made["secret"]}
    assert found(run("endpoints", "rotate", id, "--json"))["secret"] != made["secret"]
    assert found(run("endpoints", "update", id, "--metadata", "k=", "--json"))["metadata"] == {}
    assert found(run("endpoints", "subscribe", id, "a.b", "--json"))["events"] == ["order.*", "user.*", "a.b"]
    assert found(run("endpoints", "unsubscribe", id, "user.*", "a.b", "--json"))["events"] == ["order.*"]
    for switch, state in {
        "pause": "paused",
        "resume": "enabled",
        "disable": "disabled",
        "enable": "enabled",
    }.items():
        assert found(run("endpoints", switch, id, "--json"))["state"] == state
    assert found(run("endpoints", "test", id, "--json"))["state"] == "pending"
    assert [it["id"] for it in found(run("endpoints", "list", "--json"))["data"]] == [id]
    assert id in run("endpoints", "list").stdout
    assert found(run("endpoints", "get", id, "--json"))["url"] == URL
    assert found(run("endpoints", "delete", id, "--json"))["deleted"] is True
    assert run("endpoints", "get", id).exit_code == 3


def test_refusals(run: Run) -> None:
    """What is refused says why and ends in the code of its kind, never in a traceback."""
    run("tenants", "create", "acme")

    for args, code, says in (
        (["endpoints", "create", "ftp://x"], 1, "url"),
        (["endpoints", "create", URL, "--secret", "nonsense"], 1, "secret"),
        (["endpoints", "create", URL, "-H", "nonsense"], 2, "--header"),
        (["endpoints", "create", "http://127.0.0.1/", "--no-dev"], 1, "https is required"),
        (["tenants", "create", "acme"], 4, "acme"),
        (["tenants", "create", "a b"], 1, "id"),
        (["tenants", "get", "nobody"], 3, "nobody"),
        (["events", "get", "evt_nonsense"], 3, "evt_nonsense"),
        (["events", "list", "--limit", "100000"], 1, "at most 250"),
        (["events", "list", "--cursor", "!"], 1, "cursor"),
        (["events", "list", "--since", "yesterday"], 2, "yesterday"),
        (["events", "list", "--type", "a..b"], 1, "type"),
        (["deliveries", "list", "--state", "lost"], 2, "lost"),
        (["deliveries", "retry", "dlv_x"], 3, "dlv_x"),
        (["keys", "create", "a", "--expires-at", "2020-01-01T00:00:00Z"], 1, "past"),
        (["publish", "a.b", "[]"], 1, "data"),
        (["publish", "a b", "{}"], 1, "type"),
        (["publish", "a.b"], 2, "DATA"),
        (["publish", "a.b", "{}", "--tenant", "nobody"], 1, "nobody"),
        (["publish", "-", "--tenant", "acme"], 2, "each event"),
        (["receive", "--secret", "nonsense"], 1, "--secret"),
        (["nonsense"], 2, "nonsense"),
    ):
        result = run(*args, input="")
        assert (result.exit_code, result.stdout) == (code, ""), (args, result.output)
        assert says in result.stderr, (args, result.stderr)


def test_keys(run: Run) -> None:
    """A key is shown once, when it is made; lists and revocation know it by its id."""
    made = found(run("keys", "create", "ci", "--scope", "publish", "--expires-at", "90d", "--json"))
    listed = run("keys", "list", "--json")

    assert made["key"].startswith("tw_")
    assert made["scopes"] == ["publish"]
    assert made["key"] not in listed.output
    assert found(listed)["data"][0]["id"] == made["id"]
    assert found(run("keys", "revoke", made["id"], "--json"))["revoked_at"] is not None
    assert "revoked" in run("keys", "list").stdout


def test_publish_one(run: Run) -> None:
    """A published event can be read back byte for byte; publishing it again under its key stores nothing."""
    run("migrate")
    data = '{"a": 1.10, "b": 12345678901234567890}'
    args = (
        "publish",
        "order.paid",
        data,
        "--idempotency-key",
        "k",
        "--occurred-at",
        "2026-01-31T09:30:00Z",
        "--json",
    )
    first, again = found(run(*args)), found(run(*args))
    shown = run("events", "get", first["id"], "--json")

    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert again["id"] == first["id"]
    assert found(shown)["occurred_at"] == "2026-01-31T09:30:00.000Z"
    assert data in shown.stdout
    assert run("publish", "order.paid", "{}", "--idempotency-key", "k").exit_code == 4
    assert (
        found(run("publish", "order.paid", "-", "--json", input='{"from": "stdin"}'))["type"] == "order.paid"
    )


def test_publish_lines(run: Run) -> None:
    """Good lines of a stream are stored though others are bad; those are named, and the exit code is 1."""
    run("migrate")
    lines = [f'{{"type":"a.b","data":{{"n":{n}}}}}' for n in range(1_200)]
    lines[3] = "nonsense"
    lines[700] = '{"type":"a.b","data":{},"tenant":"nobody"}'
    lines[701] = ""
    lines[900] = '{"type":"a.b","data":{"text":"' + "x" * 2_000_000 + '"}}'
    result = run("publish", "--json", input="\n".join(lines))
    receipts = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 1
    assert len(receipts) == 1_196
    assert len({receipt["id"] for receipt in receipts}) == 1_196
    faults = [line for line in result.stderr.splitlines() if line.startswith("line ")]
    assert sorted(line.partition(":")[0] for line in faults) == ["line 4", "line 701", "line 901"]
    assert "1,196 events accepted, 3 lines refused" in result.stderr


def test_publish_an_array(run: Run) -> None:
    """One JSON array does what as many lines do, however it is laid out; an end that is missing is told."""
    run("migrate")
    events: list[Any] = [{"type": "a.b", "data": {"n": n, "text": "],[{\\"}} for n in range(700)]
    events[3], events[4] = 5, {"type": "a.b", "data": {}, "tenant": "nobody"}
    result = run("publish", "--json", input="\n " + json.dumps(events, indent=2) + "\n")
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 698)
    faults = [line for line in result.stderr.splitlines() if line.startswith("event ")]
    assert sorted(line.partition(":")[0] for line in faults) == ["event 4", "event 5"]
    assert "698 events accepted, 2 events refused" in result.stderr

    cut = run("publish", "-", input='[{"type":"a.b","data":{}},\n{"type":"a.b","da')
    assert (cut.exit_code, "event 2: the array on standard input has no end" in cut.stderr) == (1, True)
    assert "1 event accepted, 1 event refused" in cut.stdout
    assert "0 events accepted" in run("publish", "-", input="[ ]").stdout


def test_publish_from_a_slow_writer(start: Callable[..., Process], run: Run) -> None:
    """Lines are published as they come; Ctrl-C while nobody writes ends it with a count and exit code 130."""
    run("migrate")
    publisher = start("publish", "-", "--json")
    for n in range(3):
        publisher.write(f'{{"type":"a.b","data":{{"n":{n}}}}}\n')
        assert json.loads(publisher.line())["type"] == "a.b"

    assert publisher.stop(signal.SIGINT) == 130
    assert "3 events accepted" in publisher.rest("err")


def test_serve_deliver_receive(start: Callable[..., Process], run: Run, tmp_path: Path) -> None:
    """What the command line publishes, a running server delivers, signed; then both end by SIGTERM with code 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    made = found(run("endpoints", "create", f"http://127.0.0.1:{port}/", "-e", "order.*", "--json"))
    receiver = start("receive", "--port", str(port), "--secret", made["secret"], "--json")
    assert str(port) in receiver.line("err")
    server = start("serve", "--dev", "--port", "0", "--json")
    started = json.loads(server.line())
    headers = {"Authorization": f"Bearer {started['admin_key']}"}

    event = found(run("publish", "order.paid", '{"n": 1}', "--json"))
    seen = json.loads(receiver.line())
    assert (seen["id"], seen["verified"]) == (event["id"], True)

    answer = httpx.post(
        f"{started['url']}/v1/events",
        json={"type": "order.paid", "data": {}},
        headers=headers,
        trust_env=False,
    )
    assert answer.status_code == 202
    assert json.loads(receiver.line())["id"] == answer.json()["id"]

    assert server.stop() == 0
    assert receiver.stop() == 0
    (delivery,) = found(run("deliveries", "list", "--event", event["id"], "--json"))["data"]
    whole = found(run("deliveries", "get", delivery["id"], "--json"))
    assert (whole["state"], len(whole["attempts"])) == ("succeeded", 1)
    assert "attempt 1  succeeded" in run("deliveries", "get", delivery["id"]).stdout
    assert (tmp_path / "tellwire.dev-key").read_text().strip() == started["admin_key"]


def test_a_list_shows_what_deliveries_wait_for(run: Run) -> None:
    """For people too, not only in JSON."""
    made = found(run("endpoints", "create", "https://hooks.example/", "-e", "order.*", "--json"))
    run("endpoints", "pause", made["id"])
    run("publish", "order.paid", "{}")
    shown = run("deliveries", "list").stdout
    assert "waiting_for" in shown
    assert "paused" in shown


def test_serve_without_a_key_says_how_to_make_one(start: Callable[..., Process]) -> None:
    """A server that nobody can use tells how to make a key; Ctrl-C ends it with code 0."""
    server = start("serve", "--port", "0")

    assert "listens on http://127.0.0.1:" in server.line()
    assert "tellwire keys create" in server.line("err")
    assert server.stop(signal.SIGINT) == 0


def test_a_server_is_watched_on_a_port_of_its_own(start: Callable[..., Process], unused_port: int) -> None:
    """That port answers health and metrics, and nothing of the API; both ports end with the server."""
    flags = ["--port", "0", "--metrics-port", str(unused_port), "--metrics", "open", "--json"]
    server = start("serve", "--dev", *flags)
    said = json.loads(server.line())
    assert said["watch_url"] == f"http://127.0.0.1:{unused_port}"
    with httpx.Client(trust_env=False) as client:
        for url in (said["url"], said["watch_url"]):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert client.get(url + path).status_code == 200
        key = {"authorization": f"Bearer {said['admin_key']}"}
        event = {"type": "a", "data": {}}
        assert client.post(said["url"] + "/v1/events", json=event, headers=key).status_code == 202
        assert "tellwire_events_published_total 1" in client.get(said["watch_url"] + "/metrics").text
        for path in ("/v1/events", "/openapi.json", "/docs"):
            refused = client.get(said["watch_url"] + path, headers=key)
            assert (refused.status_code, refused.json()["status"]) == (404, 404)
    assert server.stop() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(said["watch_url"] + "/healthz", trust_env=False)


@pytest.mark.parametrize(
    "flags",
    [["serve", "--port"], ["receive", "--port"], ["serve", "--port", "0", "--metrics-port"]],
    ids=["serve", "receive", "watch"],
)
def test_taken_port(start: Callable[..., Process], flags: list[str], tmp_path: Path) -> None:
    """A port that is taken is named in one sentence, nothing is made, and the exit code is 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(*flags, str(port))
        code = process.wait()

    said = process.rest("err")
    assert code == 1
    assert f"port {port}: address already in use" in said
    assert f"choose another {flags[-1]}" in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_filters(run: Run) -> None:
    """An endpoint gets a filter; it is tried on events, and the last events are previewed with it and with others."""
    filter = '{"data": {"amount": {"$gte": 0.1}}}'
    made = found(run("endpoints", "create", URL, "-e", "order.*", "--filter", filter, "--json"))
    wanted = {"events": ["order.*"], "filter": {"data": {"amount": {"$gte": 0.1}}}, **PLAIN}
    assert made["subscriptions"] == [wanted]
    assert '{"data":{"amount":{"$gte":0.1}}}' in run("endpoints", "get", made["id"]).stdout
    published = [
        found(run("publish", type, data, "--json"))
        for type, data in [("order.paid", '{"amount":0.1}'), ("order.paid", '{"amount":0}'), ("a.b", "{}")]
    ]
    assert [one["deliveries"] for one in published] == [1, 0, 0]
    assert found(run("filters", "test", filter, "--event", published[0]["id"], "--json"))["matches"] is True
    told = run("filters", "test", filter, "--data", '{"amount": 0.09}').stdout
    assert "does not match" in told
    assert "data.amount" in told
    assert "0.09 is less than 0.1" in told
    previewed = found(run("filters", "preview", "--endpoint", made["id"], "--json"))
    assert [one["matches"] for one in previewed["data"]] == [False, False, True]
    assert previewed["matched"] == 1
    assert found(run("filters", "preview", "-e", "*", "--json"))["matched"] == 3
    assert found(run("filters", "preview", "--filter", '{"type": "a.b"}', "--json"))["matched"] == 1
    assert "0 is less than 0.1" in run("filters", "preview", "--endpoint", made["id"]).stdout
    changed = found(run("endpoints", "update", made["id"], "-e", "a.b", "--filter", "{}", "--json"))
    assert changed["subscriptions"] == [{"events": ["a.b"], "filter": {}, **PLAIN}]
    shaped = found(run("endpoints", "update", made["id"], "-e", "a.b", "--envelope", "raw", "--json"))
    assert shaped["subscriptions"] == [{"events": ["a.b"], "filter": None, **PLAIN, "envelope": "raw"}]
    shaped = found(
        run("endpoints", "update", made["id"], "-e", "a.b", "--transform", "{n: data.n}", "--json")
    )["subscriptions"]
    assert shaped == [{"events": ["a.b"], "filter": None, **PLAIN, "transform": "{n: data.n}"}]
    assert "transform {n: data.n}" in run("endpoints", "get", made["id"]).stdout
    asked = ["filters", "preview", "-e", "order.*", "--fields", "amount", "--bodies"]
    seen = found(run(*asked, "--envelope", "raw", "--json"))["data"]
    assert [one["request"] and one["request"]["body"] for one in seen] == [
        None,
        '{"amount":0}',
        '{"amount":0.1}',
    ]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["endpoints", "create", URL, "--filter", "{}"], 2, "needs --events"),
        (["endpoints", "create", URL, "--fields", "a"], 2, "needs --events"),
        (["endpoints", "create", URL, "-e", "a", "--transform", "data.["], 1, "it ends too early"),
        (["endpoints", "create", URL, "--envelope", "raw"], 2, "needs --events"),
        (["endpoints", "create", URL, "-e", "*", "--filter", "{"], 2, "not JSON"),
        (["endpoints", "create", URL, "-e", "*", "--filter", "[]"], 2, "is not a JSON object"),
        (["filters", "test", '{"amount": 1}'], 1, "did you mean"),
        (["filters", "test", "{}", "--event", "evt_nope"], 3, "there is no event"),
        (["filters", "preview"], 1, "give endpoint, events or subscriptions"),
    ],
)
def test_filters_that_are_none_are_refused(run: Run, args: list[str], code: int, said: str) -> None:
    """Each fault is told in a sentence."""
    run("migrate")
    result = run(*args)
    assert result.exit_code == code
    assert said in result.stderr
