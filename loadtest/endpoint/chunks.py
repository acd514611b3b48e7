"""The bodies of a streaming job's chunks, each encoded once: the n-th chunk of every job is the same."""

from __future__ import annotations

import msgspec

from loadtest.endpoint.settings import Chunks
from loadtest.protocol.client_messages import Chunk


class Metrics(msgspec.Struct, frozen=True):
    """The metrics of a chunk, with the field names of the service's documentation; `stream_index` counts from 1."""

    output_tokens: int
    stream_index: int
    avg_gen_throughput: float = 0
    avg_prompt_throughput: float = 0
    cpu_kv_cache_usage: float = 0
    gpu_kv_cache_usage: float = 0
    input_tokens: int = 0
    pending: int = 0
    running: int = 1
    scenario: str = "stream"
    swapped: int = 0


class Output(msgspec.Struct, frozen=True):
    """The output of a chunk, with the same source of field names; the text of the n-th chunk is its number."""

    text: tuple[str]
    output_tokens: int
    input_tokens: int = 0


class ChunkBodies:
    """All chunks of a job; `all` is the completed job's output, the list of its chunks' outputs."""

    def __init__(self, chunks: Chunks) -> None:
        self._tokens = chunks.tokens
        self._made: list[Chunk] = []
        self.all = msgspec.Raw(msgspec.json.encode([self._output(index) for index in range(1, chunks.count + 1)]))

    def between(self, first: int, end: int) -> list[Chunk]:
        """Return the chunks from index `first`, counted from 0, up to but without `end`."""
        for index in range(len(self._made) + 1, end + 1):
            output = msgspec.json.encode(self._output(index))
            metrics = msgspec.json.encode(Metrics(self._tokens, index))
            self._made.append(Chunk(msgspec.Raw(output), msgspec.Raw(metrics)))
        return self._made[first:end]

    def _output(self, index: int) -> Output:
        return Output((f" {index}",), self._tokens)
