"""Every setting, frozen, from `POLYVOX_*` in the environment; the only reader of the environment.

Secrets come from the environment or from files (`POLYVOX_KAFKA_PASSWORD`, or a file of that name in the directory
`POLYVOX_SECRETS_DIR`), and are never printed.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.errors import ConfigInvalid
from worker.role import Role

REPOSITORY = Path(__file__).resolve().parent.parent
DAY_S = 86_400


class Settings(BaseSettings):
    """The settings of one worker; see each field's description, or `docs/settings.md`."""

    model_config = SettingsConfigDict(env_prefix="POLYVOX_", frozen=True, extra="ignore", env_ignore_empty=True)

    role: Role = Field("all", description="the stage that this worker runs")
    app_id: str = Field("polyvox", description="prefix of the consumer groups")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")

    kafka_brokers: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    kafka_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how brokers are reached"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="used with the SASL protocols"
    )
    kafka_username: str | None = Field(None, description="SASL user")
    kafka_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ca_file: Path | None = Field(None, description="PEM of the authority that signed the brokers' certificates")
    kafka_cert_file: Path | None = Field(None, description="PEM of this client's certificate")
    kafka_key_file: Path | None = Field(None, description="PEM of this client's key")
    kafka_session_timeout_s: float = Field(45.0, gt=0, description="a silent worker loses its partitions after this")
    kafka_rebalance_timeout_s: float = Field(60.0, gt=0, description="how long a rebalance waits for all workers")

    kafka_fetch_wait_ms: int = Field(
        500, ge=1, description="how long a broker holds an empty fetch; Apache Kafka answers at once when records come"
    )
    kafka_idempotence: bool = Field(True, description="idempotent producer; off for brokers that lack it")

    input_topics: Annotated[dict[str, str], NoDecode] = Field(
        default={"posts.social": "social", "posts.financial": "financial"},
        description="topic=source class, comma-separated",
    )
    enriched_topic: str = Field("enriched", description="where analysed posts go")
    dead_letters_topic: str = Field("dead-letters", description="where records go that cannot be analysed")
    partitions: int = Field(4, ge=1, description="partitions of input topics that polyvox creates")
    replication_factor: int = Field(1, ge=1, description="replicas of topics that polyvox creates")
    start_at: Literal["earliest", "latest"] = Field("earliest", description="where a group without a position begins")
    recreated_topics: Literal["refuse", "accept"] = Field(
        "refuse",
        description="an input topic that was deleted and made again: refuse ends the process; accept reads it at a "
        "start as a new one",
    )
    commit_interval_s: float = Field(0.5, gt=0, description="how often offsets are committed; bounds repeats")
    max_record_bytes: int = Field(1_048_576, ge=10_000, description="largest record written; equals the broker's limit")

    inference: Literal["auto", "triton", "embedded"] = Field(
        "auto", description="auto: Triton; `analyze` falls back to the embedded engine when Triton is away"
    )
    models_dir: Path = Field(REPOSITORY / "triton_models", description="the model repository, for tokenizer and labels")
    model_name: str = Field("analyzer", description="the model that takes token ids")
    triton_url: str = Field("127.0.0.1:8001", description="gRPC address of Triton, host:port")
    triton_tls: bool = Field(False, description="reach Triton through TLS")
    triton_ca_file: Path | None = Field(None, description="PEM of the authority that signed Triton's certificate")
    triton_timeout_s: float = Field(20.0, gt=0, description="deadline of one inference call")
    abstain_below: float = Field(0.0, ge=0, le=1, description="sentiment under this confidence counts as abstained")

    pool_posts: int = Field(1024, ge=1, description="posts waiting for inference, at most")
    pool_wait_ms: int = Field(
        20,
        ge=0,
        description="how long a batch that is not full waits for more posts, when no further one could go to the model",
    )
    batch_tokens: int = Field(512, ge=16, description="padded tokens in one batch, at most")
    batch_posts: int = Field(16, ge=1, description="windows in one batch, at most; CPUs like small batches")
    batches_in_flight: int = Field(3, ge=1, description="batches at Triton at once")
    batching_file: Path | None = Field(
        None,
        description="what `polyvox calibrate` wrote: the three settings above, where the environment does not set "
        "them; that of another model version is passed over with a warning",
    )
    seen_windows_mb: int = Field(
        64,
        ge=0,
        description="memory for answers to texts that may come again, such as retweets, in 10^6 bytes; 0 keeps none",
    )
    shared_answers_s: int = Field(
        0,
        ge=0,
        le=30 * DAY_S,
        description="how long an answer is kept in Redis for other workers, restarts and second readings; 0 shares "
        "none; 1.6 KB each for posts of 34 tokens, of the memory that the counters need",
    )
    max_windows: int = Field(32, ge=1, description="windows of one text, at most; longer is a dead letter")
    strikes: int = Field(3, ge=1, description="failures of one record alone before it is a dead letter")
    dead_letter_window: int = Field(
        1000,
        ge=1,
        description="records over which the share of dead letters is taken, in each process; not judged before",
    )
    dead_letter_max_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="the process ends before it publishes more dead letters than this share; 1 never ends it",
    )
    dead_letter_max_consecutive: int = Field(
        500, ge=1, description="the process ends before it publishes more dead letters than this without a good record"
    )
    future_tolerance_s: float = Field(300, ge=0, description="published_at later than broker time by this is clamped")

    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="redis:// or rediss://")
    redis_timeout_s: float = Field(5.0, gt=0, description="deadline of one call")
    retention_minute_s: int = Field(2 * DAY_S, ge=3600, description="how long 1- and 5-minute cells are kept")
    retention_hour_s: int = Field(35 * DAY_S, ge=DAY_S, description="how long hour cells are kept")
    retention_day_s: int = Field(400 * DAY_S, ge=DAY_S, description="how long day cells are kept")
    retention_details_s: int = Field(
        2 * DAY_S,
        ge=3600,
        description="how long authors' sums and sample posts are kept; as long as their cells at most",
    )
    guard_retention_s: int = Field(
        14 * DAY_S,
        ge=DAY_S,
        description="how long applied offsets are remembered; longer than the input topics' retention",
    )
    story_retention_s: int = Field(
        2 * DAY_S,
        ge=3600,
        description="how long after its last copy a story is remembered, at most; at least half as long",
    )
    story_index_entries: int = Field(
        16_000_000,
        ge=0,
        le=33_000_000,
        description="fingerprints remembered in half a story retention, at most: 14 of a new story, 1 of a copy, "
        "13 bytes each; posts beyond it are stories of their own",
    )
    entity_forms_per_window: int = Field(2000, ge=1, description="entities counted by id per window and partition")
    authors_per_window: int = Field(
        500, ge=1, description="authors counted by themselves per hour and partition; as many again for mentions"
    )
    authors_per_minute: int = Field(
        60, ge=1, description="the same per minute and partition; as many again for mentions per five minutes"
    )
    author_key: SecretStr | None = Field(
        None, description="secret of the keyed hashes of authors; none: a random one, kept in Redis beside them"
    )
    author_max_share: float = Field(
        0.05, gt=0, le=1, description="most that one author weighs in a window; 1 caps nobody"
    )
    aggregate_batch: int = Field(512, ge=1, description="outcomes applied in one Redis call, at most")
    aggregate_wait_ms: int = Field(
        300, ge=0, description="how long fewer outcomes than that wait for more; each call costs as much as ten of them"
    )

    alerts_topic: str = Field(
        "alerts", description="where alerts go; give it a long retention: what it holds is not repeated"
    )
    alert_channel: str = Field("polyvox:alerts", description="Redis pub/sub channel that alerts are published on")
    alert_false_per_day: float = Field(
        1.0, gt=0, description="false alerts a day that the whole installation may raise, over all keys together"
    )
    alert_window: Literal["five_minutes", "hour"] = Field("five_minutes", description="the windows that are watched")
    alert_settling_s: int = Field(
        300, ge=0, description="a window is read once, when event time is so far beyond its end; later posts come late"
    )
    alert_min_posts: float = Field(
        5.0, ge=1, description="independent posts that a key needs in a window for its detector to read it"
    )
    alert_min_complete: float = Field(
        0.95, ge=0, le=1, description="windows of which less was analysed are skipped, and say so"
    )
    alert_warm_up_s: int = Field(
        3 * DAY_S, ge=300, description="a key is watched for so long before its first alert: its level is learned"
    )
    alert_cool_down_s: int = Field(6 * 3600, ge=0, description="a key that raised an alert raises no other for so long")
    alert_entities: int = Field(200, ge=0, description="entities watched in a window, those mentioned most")
    alert_contrast_posts: int = Field(
        5000, ge=0, description="newest posts in `enriched` that an alert's words and examples are looked for in"
    )
    alert_history: int = Field(10_000, ge=1, description="alerts kept in Redis, the newest ones")
    alert_webhooks: SecretStr = Field(
        SecretStr(""), description="URLs that alerts are posted to, comma-separated; secret, since many hold a token"
    )
    alert_webhook_secret: SecretStr | None = Field(
        None, description="signs webhooks (Standard Webhooks); whsec_ and base64 of 24 to 64 random bytes"
    )
    alert_webhook_timeout_s: float = Field(15.0, gt=0, description="deadline of one webhook call")
    alert_webhook_attempts: int = Field(
        10,
        ge=1,
        description="failed calls before an alert goes to the undelivered list; about 9 hours with the default",
    )
    alert_webhook_plain_http: bool = Field(False, description="allow http:// to other machines than this one")

    stalled_after_s: float = Field(
        600.0,
        gt=0,
        description="the process ends when records wait and no committed position moves for so long, no server being "
        "known to be away; longer than the slowest batch takes with all its retries",
    )
    health_host: str = Field("127.0.0.1", description="address of /live, /ready and /metrics")
    health_port: int = Field(8088, ge=0, le=65535, description="port of /live, /ready and /metrics; 0 picks a free one")

    @field_validator("input_topics", mode="before")
    @classmethod
    def _parse_topics(cls, value: object) -> object:
        """Read `topic=class,topic=class`."""
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if not pairs or any(not topic or not source_class for topic, _, source_class in pairs):
            raise ValueError("expected topic=class, comma-separated, such as posts.social=social")
        return {topic: source_class for topic, _, source_class in pairs}

    @model_validator(mode="after")
    def _check(self) -> Settings:
        """Refuse combinations that cannot work."""
        if self.kafka_protocol.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError("the SASL protocols need POLYVOX_KAFKA_USERNAME and POLYVOX_KAFKA_PASSWORD")
        outputs = {self.enriched_topic, self.dead_letters_topic, self.alerts_topic}
        if len(outputs) < 3 or outputs & set(self.input_topics):
            raise ValueError("input, enriched, dead-letter and alert topics must be different topics")
        if self.webhook_urls and self.alert_webhook_secret is None:
            raise ValueError("POLYVOX_ALERT_WEBHOOKS needs POLYVOX_ALERT_WEBHOOK_SECRET, which signs what is sent")
        return self

    @property
    def alert_window_s(self) -> int:
        """The width of the windows that are watched."""
        return {"five_minutes": 300, "hour": 3600}[self.alert_window]

    @property
    def webhook_urls(self) -> tuple[str, ...]:
        """Where alerts are posted to."""
        found = self.alert_webhooks.get_secret_value().split(",")
        return tuple(url.strip() for url in found if url.strip())

    @property
    def bundle_dir(self) -> Path:
        """The highest version directory of the model."""
        versions = [path for path in (self.models_dir / self.model_name).glob("[0-9]*") if path.name.isdigit()]
        if not versions:
            raise ConfigInvalid(
                f"no version of model '{self.model_name}' in {self.models_dir}: "
                "set POLYVOX_MODELS_DIR and POLYVOX_MODEL_NAME"
            )
        return max(versions, key=lambda path: int(path.name))


def load_settings(**overrides: object) -> Settings:
    """Read the environment; `overrides` win.

    Raises:
        ConfigInvalid: a setting is missing, malformed or contradicts another; names each.
    """
    secrets_dir = os.environ.get("POLYVOX_SECRETS_DIR") or None
    try:
        return Settings(_secrets_dir=secrets_dir, **overrides)  # type: ignore[call-arg,arg-type]  # pydantic's
    except ValidationError as error:
        problems = "; ".join(
            f"{'POLYVOX_' + str(part['loc'][0]).upper() if part['loc'] else 'settings'}: {part['msg']}"
            for part in error.errors(include_input=False, include_url=False)
        )
        raise ConfigInvalid(f"settings are unusable: {problems}") from None


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()
