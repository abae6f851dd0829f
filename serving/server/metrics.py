"""Counters and latencies under TF Serving's names, as Prometheus reads them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator

METRICS_PATH = "/monitoring/prometheus/metrics"
REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"
WARMUP_LATENCY = ":tensorflow:serving:model_warmup_latency"
REQUEST_LOG_COUNT = ":tensorflow:serving:request_log_count"

LATENCY_BUCKETS = tuple(10 * 1.8**power for power in range(33))
"""Upper bounds in microseconds."""

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Metrics:
    """What the server counts. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, str], int] = {}
        self._histograms: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def count(self, name: str, **labels: str) -> None:
        """Adds one to a counter."""
        key = (name, _label_text(labels))
        with self._lock:
            self._counters[key] = self._counters.get(key, 0) + 1

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Adds a value to a histogram; latencies in microseconds."""
        key = (name, _label_text(labels))
        with self._lock:
            buckets, total = self._histograms.setdefault(key, ([0] * (len(LATENCY_BUCKETS) + 1), [0.0]))
            buckets[bisect_left(LATENCY_BUCKETS, value)] += 1
            total[0] += value

    def page(self) -> str:
        """Everything, in Prometheus' text format."""
        with self._lock:
            counters = dict(self._counters)
            histograms = {key: (list(buckets), total[0]) for key, (buckets, total) in self._histograms.items()}
        return "\n".join([*_counter_lines(counters), *_histogram_lines(histograms)]) + "\n"


def _label_text(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())


def _counter_lines(counters: dict[tuple[str, str], int]) -> Iterator[str]:
    previous = None
    for (name, labels), value in sorted(counters.items()):
        if name != previous:
            yield f"# TYPE {name} counter"
        previous = name
        yield f"{name}{{{labels}}} {value}"


def _histogram_lines(histograms: dict[tuple[str, str], tuple[list[int], float]]) -> Iterator[str]:
    previous = None
    for (name, labels), (buckets, total) in sorted(histograms.items()):
        if name != previous:
            yield f"# TYPE {name} histogram"
        previous = name
        cumulative = 0
        separator = "," if labels else ""
        for bound, count in zip([f"{bound:.6g}" for bound in LATENCY_BUCKETS] + ["+Inf"], buckets, strict=True):
            cumulative += count
            yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {cumulative}'
        yield f"{name}_sum{{{labels}}} {total:.6g}"
        yield f"{name}_count{{{labels}}} {cumulative}"
