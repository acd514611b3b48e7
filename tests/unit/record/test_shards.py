"""Shards that a crash or a fault of the disk has damaged: what is whole is read, and what is not is counted."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from loadtest.record.shards import END_OF_STREAM, Shard, batches, token_of, unread_bytes

SCHEMA = pa.schema([("at", pa.float64()), ("count", pa.int32()), ("text", pa.string())])
ROWS, BATCHES = 20, 5


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "x-0.arrow"
    written = Shard(path, SCHEMA, "token")
    for number in range(BATCHES):
        written.append([[float(number)] * ROWS, list(range(ROWS)), [f"é {each}" for each in range(ROWS)]])
    written.close()
    return path


def rows(path: Path) -> int:
    return sum(len(batch.to_pylist()) for batch in batches(path, SCHEMA))


def test_a_whole_shard_is_read_to_its_end_whether_it_was_closed_or_not(shard: Path) -> None:
    assert (rows(shard), unread_bytes(shard, SCHEMA), token_of(shard)) == (ROWS * BATCHES, 0, "token")
    content = shard.read_bytes()
    shard.write_bytes(content.removesuffix(END_OF_STREAM))
    assert (rows(shard), unread_bytes(shard, SCHEMA)) == (ROWS * BATCHES, 0)
    shard.write_bytes(b"")
    assert (rows(shard), unread_bytes(shard, SCHEMA), token_of(shard)) == (0, 0, None)


def test_every_cut_leaves_the_batches_before_it_and_counts_the_rest(shard: Path) -> None:
    content = shard.read_bytes()
    ends = {0}
    for size in range(0, len(content), 7):
        shard.write_bytes(content[:size])
        unread = unread_bytes(shard, SCHEMA)
        ends.add(size - unread)
        assert rows(shard) % ROWS == 0
    assert len(ends) <= BATCHES + 3, "the beginning, the schema, each batch, the end of the stream"


def test_damage_of_any_kind_neither_raises_nor_goes_uncounted(shard: Path) -> None:
    content, rng = shard.read_bytes(), random.Random(7)
    for _ in range(400):
        damaged = bytearray(content)
        at = rng.randrange(len(content))
        match rng.choice(("random", "zeros", "inserted", "followed")):
            case "random":
                damaged = bytearray(rng.randbytes(rng.randrange(1, 4000)))
            case "zeros":
                damaged[at : at + 600] = bytes(600)
            case "inserted":
                damaged[at:at] = rng.randbytes(rng.randrange(1, 40))
            case "followed":
                damaged += rng.randbytes(rng.randrange(1, 40))
        shard.write_bytes(damaged)
        token_of(shard)
        assert rows(shard) == ROWS * BATCHES or unread_bytes(shard, SCHEMA) > 0


def test_a_flipped_bit_never_raises(shard: Path) -> None:
    content, rng = shard.read_bytes(), random.Random(8)
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 20))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        shard.write_bytes(damaged)
        token_of(shard)
        assert rows(shard) % ROWS == 0


def test_a_shard_without_a_column_that_must_be_there_is_damage(shard: Path) -> None:
    other = SCHEMA.append(pa.field("more", pa.int64()))
    assert list(batches(shard, other)) == []
    assert unread_bytes(shard, other) > 0


def test_an_error_of_the_system_is_not_taken_for_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(batches(tmp_path / "missing", SCHEMA))
    with pytest.raises(IsADirectoryError):
        token_of(tmp_path)
