"""The check of a closed load: were the users at work that it asked for, in each stage and at the end of each ramp?"""

from __future__ import annotations

from loadtest.analyze.checks.inputs import CheckInputs
from loadtest.analyze.summary import Check, CheckId, Users
from loadtest.protocol.operations import Op
from loadtest.scenario.flows import SUBMIT_OPERATION

LATE_S = 0.25
"""How long each user may be away from its work besides the share that is allowed, as a job of an open load may be
late: in a short stage the start of its users would decide."""


def users_at_work(inputs: CheckInputs) -> Check:
    """Check that nearly all users of a closed load were at work, in each stage and at the end of each ramp."""
    minimum, parts = inputs.limits.started, {name: each for name, each in inputs.users.items() if each.wanted > 0}
    if not parts:
        return Check(CheckId.USERS_AT_WORK, True, None, minimum, "No user was asked for before the load ended.")
    missed = [name for name, part in parts.items() if _missed(part, minimum)]
    worst = min(missed or parts, key=lambda name: parts[name].share)
    part = parts[worst]
    detail = f"In {worst}, {part.at_work:.3g} of {part.wanted:.3g} users were at work on average"
    if missed:
        detail = f"{detail}; the minimum is {100 * minimum:g} %. The others were held back{_cause(inputs)}"
    return Check(CheckId.USERS_AT_WORK, not missed, part.share, minimum, f"{detail}.")


def _missed(part: Users, minimum: float) -> bool:
    """Return whether users were away for longer than the allowed share, and than a late start of each explains."""
    allowed = (1 - minimum) * part.wanted + part.wanted * LATE_S / part.duration_s
    return part.held_back > allowed


def _cause(inputs: CheckInputs) -> str:
    """Return the limits for which the users may have waited, and what to do, as the end of a sentence."""
    scenario = inputs.scenario
    operations = dict.fromkeys(SUBMIT_OPERATION[flow] for flow in scenario.flows)
    limits = [text for op in operations if (text := _limit_text(inputs, op))]
    if not limits:
        return ": the generator did not start them in time; send from more processes (--processes)"
    return f" by {' and '.join(limits)}: raise the limit if the endpoint allows it, or ask for fewer users"


def _limit_text(inputs: CheckInputs, op: Op) -> str:
    limit = inputs.scenario.limit(op)
    return "" if limit is None else f"limits.{op} ({limit})"
