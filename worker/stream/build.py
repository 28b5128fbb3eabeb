"""The Faust application: assignment, the group protocol, agents. What is promised is kept in the stages.

An agent's body only hands records over and leaves them unacknowledged (`stream.noack().events()`: `take()` and plain
iteration acknowledge what failed). No exception leaves a body: an unexpected one ends the process.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import faust
from aiohttp import web
from faust.app.base import BootStrategy
from faust.tables import TableManager

from worker.settings import Settings
from worker.stream.driver import seeking_transport
from worker.stream.ending import end_process, end_process_of, end_stopped, limit_stop
from worker.stream.health import serve
from worker.stream.heaps import give_back
from worker.stream.kafka import ssl_context
from worker.stream.positions import REDIS, started_over
from worker.stream.records import TopicPartition
from worker.stream.stages import Stages
from worker.stream.watchdog import Watchdog, Watched, holds_record, kafka_lags
from worker.telemetry import LAG, Log, configure_logging, get_logger
from worker.timing import SystemClock

LAG_INTERVAL_S = 2.0
GIVE_BACK_S = 10.0
BUFFERED_RUNS = 64
"""Of one agent; a partition whose runs do not fit is not fetched from until they do."""


class WithoutWeb(BootStrategy):  # type: ignore[misc]  # Faust ships no types
    """Starts no web server: `faust worker` would open one on all interfaces, whatever the configuration says."""

    enable_web = False


class WithoutTables(TableManager):  # type: ignore[misc]  # Faust ships no types
    """Waits for no tables to be declared: Faust's own sleeps for a second of every start."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class PolyvoxApp(faust.App):  # type: ignore[misc]  # Faust ships no types
    """A Faust app that opens its stages before it joins the group, and closes them after it left."""

    BootStrategy = WithoutWeb
    stages: Stages
    worker_settings: Settings
    _health: web.AppRunner | None = None
    _watch: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        await super().on_start()
        settings = self.worker_settings
        try:
            self._health, port = await serve(settings.health_host, settings.health_port, self.stages.readiness)
            get_logger().info(Log.WORKER_STARTED, role=settings.role, health=f"{settings.health_host}:{port}")
            await self.stages.open()
            self._watch = asyncio.create_task(_watchdog(self.stages, settings).run())
            self._watch.add_done_callback(end_process_of)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be lost in Faust
            end_process(error)

    async def on_stop(self) -> None:
        limit_stop()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """The consumer has left its group by now, and what was acknowledged is committed."""
        if self._watch is not None:
            self._watch.cancel()
        await self.stages.aclose()
        if self._health is not None:
            await self._health.cleanup()
        if self.crash_reason is not None:
            end_process(self.crash_reason)
        end_stopped()


def create_app(settings: Settings) -> PolyvoxApp:
    """An application with the agents of the settings' role."""
    configure_logging(settings.log_level)
    stages = Stages(settings)
    app = PolyvoxApp(
        f"{settings.app_id}.{settings.role}",
        broker=[f"kafka://{broker.strip()}" for broker in settings.kafka_brokers.split(",")],
        broker_credentials=_credentials(settings),
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.kafka_session_timeout_s,
        broker_heartbeat_interval=min(3.0, settings.kafka_session_timeout_s / 3),
        broker_rebalance_timeout=settings.kafka_rebalance_timeout_s,
        consumer_auto_offset_reset=settings.start_at,
        consumer_max_fetch_size=262_144,
        consumer_metadata_max_age_ms=30_000,
        stream_buffer_maxsize=BUFFERED_RUNS,
        stream_wait_empty=False,  # waits for whole messages, our runs; the stages drain by record
        store="memory://",
        TableManager=WithoutTables,
        datadir=str(Path(tempfile.gettempdir()) / f"{settings.app_id}-faust"),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        worker_redirect_stdouts=False,
    )
    app.stages, app.worker_settings = stages, settings
    outputs = frozenset({settings.enriched_topic, settings.dead_letters_topic})
    transport = seeking_transport(outputs, stages.positions, settings.kafka_fetch_wait_ms, end_process)
    app.transport = transport(app.conf.broker_consumer, app)
    if settings.role in ("enrich", "all"):
        _add_agent(app, "enrich", list(settings.input_topics))
    if settings.role in ("aggregate", "all"):
        _add_agent(app, "aggregate", sorted(outputs))
    _connect_signals(app, stages, outputs)
    return app


def _watchdog(stages: Stages, settings: Settings) -> Watchdog:
    watched = Watched(
        assigned=lambda: stages.assigned,
        outages=lambda: stages.outages,
        lags=partial(kafka_lags, settings),
        holds_record=partial(holds_record, settings),
    )
    return Watchdog(watched, SystemClock(), settings.stalled_after_s)


def _add_agent(app: PolyvoxApp, name: str, topics: list[str]) -> None:
    """An agent that hands every record of `topics` to the stage of its name; its events carry a `driver.Run` each."""

    async def agent(stream: faust.StreamT[bytes]) -> None:
        try:
            stage = app.stages.stage(name)
            async for event in stream.noack().events():
                run = event.message.value
                for record in run.records():
                    if stage.full:
                        await stage.room()
                    if not run.current():
                        break  # partitions moved meanwhile: it is read again from where they were settled
                    stage.admit(record)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # an exception that leaves the body loses events
            end_process(error)

    channel = app.topic(*topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    app.agent(channel, name=name)(agent)


def _connect_signals(app: PolyvoxApp, stages: Stages, outputs: frozenset[str]) -> None:
    @app.on_partitions_revoked.connect(weak=False)
    async def _on_revoked(_app: PolyvoxApp, revoked: set[Any], **_: object) -> None:
        await stages.settle_shortly()
        await app.consumer.commit()
        stages.forget()
        get_logger().info(Log.PARTITIONS_REVOKED, partitions=len(revoked))

    @app.on_partitions_assigned.connect(weak=False)
    async def _on_assigned(_app: PolyvoxApp, assigned: set[Any], **_: object) -> None:
        stages.assign({TopicPartition(*tp) for tp in assigned})
        get_logger().info(Log.PARTITIONS_ASSIGNED, partitions=len(assigned))

    @app.on_before_shutdown.connect(weak=False)
    async def _on_shutdown(_app: PolyvoxApp, **_: object) -> None:
        await stages.drain()

    @app.timer(LAG_INTERVAL_S)
    async def _measure_lag() -> None:
        for tp in stages.assigned:
            end, read = app.consumer.highwater(tp), app.consumer._committed_offset.get(tp)
            if end is not None and read is not None:
                if end < read and tp.topic in outputs:
                    end_process(started_over(REDIS, TopicPartition(*tp), read, end))
                LAG.labels(topic=tp.topic, partition=str(tp.partition)).set(max(0, end - read))

    @app.timer(GIVE_BACK_S)
    async def _give_back_memory() -> None:
        await asyncio.to_thread(give_back)


def _credentials(settings: Settings) -> Any:
    """Faust's form of the TLS and SASL settings; None for plain text."""
    context = ssl_context(settings)
    if settings.kafka_protocol.startswith("SASL") and settings.kafka_password:
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None
