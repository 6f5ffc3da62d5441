"""What Prometheus reads: names in the style of text-embeddings-inference where it has them, and our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of a server."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = own = CollectorRegistry()
        self.requests = Counter("te_request_count", "Requests.", ["method"], registry=own)
        self.successes = Counter(
            "te_request_success", "Requests that were answered.", ["method"], registry=own
        )
        self.failures = Counter(
            "te_request_failure", "Requests that were not answered.", ["method", "err"], registry=own
        )
        self.duration = Histogram(
            "te_request_duration", "Seconds from a request to its answer.", ["method"],
            buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self.queued = Histogram(
            "te_request_queue_duration", "Seconds before the model began.", buckets=_SECONDS, registry=own
        )
        self.worked = Histogram(
            "te_request_inference_duration",
            "Seconds from then to the answer.",
            buckets=_SECONDS,
            registry=own,
        )
        self.queue = Gauge("te_queue_size", "Inputs that wait or are computed.", registry=own)
        self.batch_items = Histogram("te_batch_next_size", "Inputs of a batch.", buckets=_ITEMS, registry=own)
        self.batch_tokens = Histogram(
            "te_batch_next_tokens", "Tokens of a batch, without padding.", buckets=_TOKENS, registry=own
        )
        self._add_our_own()

    def _add_our_own(self) -> None:
        from prometheus_client import Counter, Gauge

        own = self.registry
        self.tokens = Counter("tunesmith_tokens", "Tokens computed.", ["run"], registry=own)
        self.padding = Counter(
            "tunesmith_padding_tokens", "Padding that batches have.", ["run"], registry=own
        )
        self.busy = Counter("tunesmith_batch_seconds", "Seconds in which batches ran.", ["run"], registry=own)
        self.rejected = Counter(
            "tunesmith_rejected", "Requests refused with 429 for want of room.", registry=own
        )
        self.cancelled = Counter("tunesmith_cancelled", "Requests whose client left.", registry=own)
        self.expired = Counter("tunesmith_expired", "Requests that took too long.", registry=own)
        self.unlogged = Gauge(
            "tunesmith_unlogged", "Answers that found no room in the prediction log.", registry=own
        )
        self.abstained = Counter(
            "tunesmith_abstained", "Answers from which the model abstained.", ["run"], registry=own
        )
        self.out_of_scope = Counter(
            "tunesmith_out_of_scope", "Texts unlike the training texts.", ["run"], registry=own
        )
        self.truncated = Counter("tunesmith_truncated", "Texts that were cut.", ["run"], registry=own)
        self.stages = Counter(
            "tunesmith_cascade_answers", "Answers of a cascade, by the stage that gave them.",
            ["run", "stage"], registry=own,
        )  # fmt: skip
        self.restarts = Counter(
            "tunesmith_worker_restarts", "Workers started in place of others.", registry=own
        )
        self._add_champions()

    def _add_champions(self) -> None:
        from prometheus_client import Counter, Gauge

        own = self.registry
        self.promotion = Gauge(
            "tunesmith_promotion", "Number of the promotion whose run answers.", ["run"], registry=own
        )
        self.switches = Counter("tunesmith_switches", "Switches to a new champion.", ["run"], registry=own)
        self.switch_failures = Counter(
            "tunesmith_switch_failures", "New champions that could not be served.", ["run"], registry=own
        )
        self.shadow_answers = Counter(
            "tunesmith_shadow_answers", "Answers of the challenger, same as the champion's or other.",
            ["run", "kind"], registry=own,
        )  # fmt: skip
        self.shadow_failures = Counter(
            "tunesmith_shadow_failures", "Inputs that the challenger did not answer.", ["run"], registry=own
        )
        self.shadow_dropped = Counter(
            "tunesmith_shadow_dropped", "Inputs that the challenger had no time for.", ["run"], registry=own
        )
        self.canary = Gauge(
            "tunesmith_canary_share", "Share of requests of the canary.", ["run"], registry=own
        )
        self.canary_requests = Counter(
            "tunesmith_canary_requests", "Requests of the canary, answered or failed.", ["run", "kind"],
            registry=own,
        )  # fmt: skip
        self.canary_stops = Counter(
            "tunesmith_canary_stops", "Canaries that were rolled back.", ["run", "rule"], registry=own
        )

    def batch(self, batch: JsonObject) -> None:
        """Counts a batch."""
        if batch["items"]:
            self.batch_items.observe(batch["items"])
            self.batch_tokens.observe(batch["tokens"])
        self.tokens.labels(batch["run"]).inc(batch["tokens"])
        self.padding.labels(batch["run"]).inc(max(batch["padded"] - batch["tokens"], 0))
        self.busy.labels(batch["run"]).inc(batch["seconds"])

    def answers(self, run: str, answers: list[JsonObject], *, is_cascade: bool = False) -> None:
        """Counts what is doubtful in answers, and which stage of a cascade gave them."""
        for answer in answers:
            if is_cascade:
                self.stages.labels(run, answer.get("stage", "full")).inc()
            if answer.get("abstained"):
                withheld = answer["abstained"]
                self.abstained.labels(run).inc(len(withheld) if isinstance(withheld, list) else 1)
            if answer.get("truncated"):
                self.truncated.labels(run).inc()
            if answer.get("out_of_scope", {}).get("is_out"):
                self.out_of_scope.labels(run).inc()

    def text(self) -> bytes:
        """All counters, as Prometheus reads them."""
        from prometheus_client import generate_latest

        found: bytes = generate_latest(self.registry)
        return found
