"""The chunks that a simulated job streams, as the service's documentation shows them."""

from __future__ import annotations

import msgspec

from loadtest.endpoint.settings import Chunks
from loadtest.protocol.client_messages import Chunk

_ZERO_METRICS = ("avg_gen_throughput", "avg_prompt_throughput", "cpu_kv_cache_usage", "gpu_kv_cache_usage")
_OTHER_METRICS = dict.fromkeys((*_ZERO_METRICS, "input_tokens", "pending"), 0) | {
    "running": 1,
    "scenario": "stream",
    "swapped": 0,
}
"""Metrics of a chunk, with the field names of the service's documentation, next to its tokens and its index."""


class ChunkBodies:
    """The bodies of a job's chunks, each encoded once: the n-th chunk of every job is the same.

    `all` is the completed job's output, the list of its chunks' outputs.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._tokens = chunks.tokens
        self._made: list[Chunk] = []
        self.all = msgspec.Raw(msgspec.json.encode([self._output(index) for index in range(1, chunks.count + 1)]))

    def between(self, first: int, end: int) -> list[Chunk]:
        """Return the chunks from index `first`, counted from 0, up to but without `end`."""
        for index in range(len(self._made) + 1, end + 1):
            output = msgspec.json.encode(self._output(index))
            metrics = {"output_tokens": self._tokens, "stream_index": index, **_OTHER_METRICS}
            self._made.append(Chunk(msgspec.Raw(output), msgspec.Raw(msgspec.json.encode(metrics))))
        return self._made[first:end]

    def _output(self, index: int) -> dict[str, object]:
        return {"text": [f" {index}"], "output_tokens": self._tokens, "input_tokens": 0}
