"""Builds the ASGI app, owns the lifespan, runs the server: from settings to a process that stops gracefully."""

import asyncio
import gc
import itertools
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

import uvicorn

from .api.app import build_api, build_watch
from .api.asgi import App
from .api.auth import Door
from .api.cors import Cors
from .api.gate import Gate, Rates
from .api.issuer import Issuer, IssuerOptions
from .api.metrics import MetricsPage
from .api.publish import PublishRoutes
from .api.shortcut import ShortcutProtocol
from .clock import Clock, SystemClock
from .ending import end
from .errors import SettingsError
from .hub import Tellwire
from .ids import REQUEST, IdMaker, encode
from .listening import url_of
from .observe.metrics import Metrics
from .observe.page import page as metrics_page
from .settings import Settings
from .signing.jwt import TokenRules

_KEEP_ALIVE_S: Final = 65
_BACKLOG: Final = 2_048
_MAX_CONNECTIONS: Final = 10_000


def build_app(
    tellwire: Tellwire,
    metrics: Metrics | None = None,
    *,
    metrics_access: str = "key",
    rates: Rates = Rates(),  # noqa: B008 - frozen
    clock: Clock | None = None,
    issuer: Issuer | None = None,
    cors_origins: tuple[str, ...] = (),
) -> App:
    """The whole HTTP face of an open or opening ``tellwire``: the publish routes in front, everything else behind.

    ``metrics_access`` says who may read the ``metrics`` (see the setting ``metrics``), ``rates`` how much is
    accepted a second.
    """
    gate, door = Gate(tellwire, rates, clock or SystemClock()), Door(tellwire, issuer)
    new_request_id, page = _request_ids(), _page_of(tellwire, metrics, metrics_access)
    api = build_api(tellwire, new_request_id, door, gate, page, metrics_open=metrics_access == "open")
    app = PublishRoutes(api, tellwire, new_request_id, door, gate)
    return Cors(app, cors_origins, new_request_id) if cors_origins else app


def _request_ids() -> Callable[[], str]:
    # One id of this process, counted up in its last eight characters: a request id costs next to nothing.
    process = encode(REQUEST, IdMaker(SystemClock().now_ms)())[:-8]
    numbers = itertools.count()
    return lambda: f"{process}{next(numbers) & 0xFFFFFFFF:08x}"


def _page_of(tellwire: Tellwire, metrics: Metrics | None, access: str) -> MetricsPage | None:
    return partial(metrics_page, metrics or Metrics(tellwire)) if access != "off" else None


async def serve(
    tellwire: Tellwire,
    settings: Settings,
    started: Callable[[str], None],
    *,
    sockets: list[socket.socket] | None = None,
    watch_sockets: list[socket.socket] | None = None,
    metrics: Metrics | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; ``started`` is told the address once requests are answered.

    ``sockets`` are bound already; without them, the address of the settings is listened on. On ``watch_sockets``, where
    they are given, health and metrics are answered, and nothing else. ``metrics`` are those of this process, where they
    share a board with others.

    On a signal: no new requests, those under way may finish, then the engine stops (see ``Engine.stop``). A second
    signal ends the process at once.

    Raises:
        OSError: the address cannot be listened on.
        StoreError, SettingsError: see ``Tellwire.open``.
    """
    if metrics is None and settings.metrics != "off":
        metrics = Metrics(tellwire)
    issuer = _issuer_of(settings, tellwire)
    async with (
        traced_by(tellwire, settings),
        tellwire,
        _sampled(metrics),
        _beside(issuer.run if issuer else None),
        _watched(tellwire, settings, watch_sockets, metrics),
    ):
        rates = Rates(per_key=settings.key_rate, per_tenant=settings.tenant_rate)
        app = build_app(
            tellwire,
            metrics,
            metrics_access=settings.metrics,
            rates=rates,
            issuer=issuer,
            cors_origins=settings.cors_origins,
        )
        _spare_the_collector()
        server = http_server(app, settings.host, settings.port, grace_s=settings.grace, started=started)
        await server.serve(sockets=sockets)


async def work(
    tellwire: Tellwire,
    settings: Settings,
    started: Callable[[], None],
    *,
    sockets: list[socket.socket] | None = None,
    metrics: Metrics | None = None,
) -> None:
    """Deliver until SIGTERM or SIGINT, without an HTTP API; ``started`` is called once the engine runs.

    On ``sockets``, where they are given, health and metrics are answered meanwhile; ``metrics`` as for ``serve``.
    Then the engine stops (see ``Engine.stop``). A second signal ends the process at once.

    Raises:
        StoreError, SettingsError: see ``Tellwire.open``.
    """
    if metrics is None and sockets is not None and settings.metrics != "off":
        metrics = Metrics(tellwire)
    async with traced_by(tellwire, settings), tellwire, _sampled(metrics):
        _spare_the_collector()
        if sockets is not None:
            server = _watch_server(tellwire, settings, metrics, started)
            await server.serve(sockets=sockets)
            return
        stop = asyncio.Event()
        with _signals(lambda *_: stop.set()):
            started()
            await stop.wait()


def _watch_server(
    tellwire: Tellwire,
    settings: Settings,
    metrics: Metrics | None,
    started: Callable[[], None],
    *,
    heeds_signals: bool = True,
) -> uvicorn.Server:
    """The server of health and metrics alone."""
    page = _page_of(tellwire, metrics, settings.metrics)
    gate, door = Gate(tellwire, Rates(), SystemClock()), Door(tellwire)
    watch = build_watch(tellwire, _request_ids(), door, gate, page, metrics_open=settings.metrics == "open")
    return http_server(
        watch,
        settings.host,
        settings.metrics_port,
        grace_s=settings.grace,
        started=lambda _: started(),
        heeds_signals=heeds_signals,
    )


@asynccontextmanager
async def _watched(
    tellwire: Tellwire, settings: Settings, sockets: list[socket.socket] | None, metrics: Metrics | None
) -> AsyncIterator[None]:
    """Meanwhile, answer health and metrics on ``sockets`` too."""
    if sockets is None:
        yield
        return
    server = _watch_server(tellwire, settings, metrics, lambda: None, heeds_signals=False)
    running = asyncio.create_task(server.serve(sockets=sockets), name="tellwire-watch")
    try:
        yield
    finally:
        server.should_exit = True
        await running


def _issuer_of(settings: Settings, tellwire: Tellwire) -> Issuer | None:
    """The issuer that the settings name, if any."""
    if settings.oauth_issuer is None or settings.oauth_jwks_url is None:
        return None
    rules = TokenRules(
        issuer=settings.oauth_issuer,
        audiences=settings.oauth_audience,
        algorithms=settings.oauth_algorithms,
        leeway_s=settings.oauth_leeway,
        scope_claim=settings.oauth_scope_claim,
        tenant_claim=settings.oauth_tenant_claim,
        typed=settings.oauth_typed,
    )
    ca_file = None if settings.oauth_ca_file is None else str(settings.oauth_ca_file)
    options = IssuerOptions(rules=rules, keys_url=settings.oauth_jwks_url, ca_file=ca_file)
    return Issuer(options, tellwire, SystemClock())


@asynccontextmanager
async def _beside(run: Callable[[], Awaitable[None]] | None) -> AsyncIterator[None]:
    """Meanwhile, let this run too, if there is something."""
    if run is None:
        yield
        return
    running = asyncio.ensure_future(run())
    try:
        yield
    finally:
        await end([running])


@asynccontextmanager
async def traced_by(tellwire: Tellwire, settings: Settings) -> AsyncIterator[None]:
    """Traces are sent while the block runs, and what is left of them at its end. Raises SettingsError."""
    if settings.traces == "off":
        yield
        return
    try:
        from .observe.otlp import provider
    except ImportError as error:
        msg = f"the setting traces needs the extra otel: pip install 'tellwire[otel]' ({error})"
        raise SettingsError(msg) from None
    from .observe.traces import Traces

    sender = provider()
    Traces(sender).follow(tellwire)
    try:
        yield
    finally:
        await asyncio.to_thread(sender.shutdown)  # it sends, and waits for the answer


@asynccontextmanager
async def _sampled(metrics: Metrics | None) -> AsyncIterator[None]:
    """Meanwhile, let other processes of this server see the gauges of this one."""
    if metrics is None or metrics.board.rows == 1:
        yield
        return
    sampling = asyncio.create_task(metrics.keep_sampling(), name="tellwire-metrics")
    try:
        yield
    finally:
        sampling.cancel()


def http_server(
    app: App,
    host: str,
    port: int,
    *,
    grace_s: float,
    started: Callable[[str], None],
    heeds_signals: bool = True,
) -> uvicorn.Server:
    """The server of ``app`` as ``serve`` runs it: limits, time limits, quiet. Port 0 takes a free one.

    One that does not heed signals ends when its ``should_exit`` is set.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        backlog=_BACKLOG,
        limit_concurrency=_max_connections(),
        http=ShortcutProtocol,
        ws="none",
        proxy_headers=False,
    )
    return _Server(config, started, heeds_signals=heeds_signals)


def _max_connections() -> int:
    """How many connections are accepted at most: half of the file descriptors stay for deliveries and the database.

    The soft limit is raised to the hard one first; beyond the number, requests are answered with 503.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError):  # not allowed here: then with what there is
        pass
    return _MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(_MAX_CONNECTIONS, soft // 2))


def _spare_the_collector() -> None:
    """Keep what was loaded at the start out of garbage collection, and collect less often.

    Requests and attempts leave hardly any cycles behind; by default the collector would look at them after every 700
    allocations, a few percent of the time under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Server(uvicorn.Server):
    """uvicorn, but exits 0 after a signal, and tells when and where it listens."""

    def __init__(
        self, config: uvicorn.Config, started: Callable[[str], None], *, heeds_signals: bool
    ) -> None:
        super().__init__(config)
        self._tell = started
        self._heeds_signals = heeds_signals

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell(url_of(self.servers[0].sockets[0]))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._heeds_signals:
            yield
            return
        # uvicorn raises the signal again after it has stopped, so that the process would end as if killed.
        with _signals(self.handle_exit):
            yield


@contextmanager
def _signals(heed: Callable[[int, Any], None]) -> Iterator[None]:
    """Have ``heed`` called on SIGTERM and SIGINT; afterwards they end the process again, at once."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed, number, None)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
