"""The odd ids that the hostile endpoint gives to jobs, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.hostile.replies import Learns

IDS: dict[str, tuple[Learns, Callable[[int], Any]]] = {
    "id_with_space": (Learns.ID, lambda number: f"a b{number}"),
    "id_with_question_mark": (Learns.ID, lambda number: f"a?b={number}"),
    "id_with_slash": (Learns.ID, lambda number: f"../health/{number}"),
    "id_with_percent": (Learns.ID, lambda number: f"a%2Fb#{number}"),
    "id_not_ascii": (Learns.ID, lambda number: f"jöb→{number}"),
    "id_of_dots_and_slash": (Learns.ID, lambda number: f"./{number}/.."),
    "id_percent_encoded_dots": (Learns.ID, lambda number: f"%2e%2e%2f{number}"),
    "id_with_spaces_around": (Learns.EITHER, lambda number: f" {number} "),
    "id_emoji": (Learns.EITHER, lambda number: f"\U0001f600{number}"),
    "id_bidi": (Learns.EITHER, lambda number: f"{number}\u202eb"),
    "id_negative": (Learns.EITHER, lambda number: -1 - number),
    "id_float": (Learns.EITHER, lambda number: number + 0.5),
    "id_true": (Learns.EITHER, lambda number: True),
    "id_list": (Learns.EITHER, lambda number: [f"a{number}"]),
    "id_beyond_64_bits": (Learns.EITHER, lambda number: 10**30 + number),
    "id_of_512": (Learns.ID, lambda number: f"{number:0512d}"),
    "id_of_513": (Learns.EITHER, lambda number: f"{number:0513d}"),
    "id_long": (Learns.EITHER, lambda number: f"{number}-" + "x" * 3000),
    "id_with_line_end": (Learns.EITHER, lambda number: f"a{number}\r\nX-Injected: yes"),
    "id_with_control_character": (Learns.EITHER, lambda number: f"a{number}\x00\x1b[2J"),
    "id_lone_surrogate": (Learns.EITHER, lambda number: f"a{number}\ud800"),
    "id_dots": (Learns.EITHER, lambda number: ".."),
    "id_empty": (Learns.EITHER, lambda number: ""),
    "id_number": (Learns.EITHER, lambda number: number),
    "id_null": (Learns.EITHER, lambda number: None),
    "id_false": (Learns.EITHER, lambda number: False),
    "id_colliding": (Learns.EITHER, lambda number: "the-same"),
}
"""Ids by name: what a client may make of one, and the id of a job with a number."""
