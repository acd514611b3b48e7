"""The limits that a job has to meet to count as goodput, as text such as "ttft < 1s and itl < 50ms"."""

from __future__ import annotations

import re
from difflib import get_close_matches
from math import isfinite

from loadtest.scenario.metrics import Metric
from loadtest.units import StrictModel, quoted, seconds, seconds_text

PERCENTILE = re.compile(r"p([0-9]{2})(?:\.([0-9]))?")
EXAMPLE = "goodput > 95 % where ttft < 1s and tpot < 50ms"
_STATISTICS = ("mean", "max")
_TIMES = tuple(metric for metric in Metric if metric.is_time)


class JobLimit(StrictModel):
    """A limit of one time of a job, in seconds, which it must stay below."""

    metric: Metric
    """The metric, a time."""
    statistic: str = ""
    """Of the gaps between the job's tokens: `p95` and the like, or `max`; their mean if empty."""
    limit: float
    """The limit in seconds."""

    @property
    def per_mille(self) -> int | None:
        """Return the percentile in thousandths; None if the statistic is not a percentile."""
        match = PERCENTILE.fullmatch(self.statistic)
        return None if match is None else int(match[1]) * 10 + int(match[2] or 0)

    @property
    def subject(self) -> str:
        """Return the limited time, such as "ttft" or "itl p99"."""
        return f"{self.metric} {self.statistic}" if self.statistic else self.metric.value

    def __str__(self) -> str:
        """Return the limit as text; `parse_job_limits` reads back exactly the same."""
        return f"{self.subject} < {seconds_text(self.limit)}"


def job_limits_text(limits: tuple[JobLimit, ...]) -> str:
    """Return the limits as text."""
    return " and ".join(map(str, limits))


def parse_job_limits(text: str) -> tuple[JobLimit, ...]:
    """Return the limits of a text; ValueError names the part that is not valid and shows the nearest valid form."""
    found: list[JobLimit] = []
    for part in re.split(r"\s+and(?=\s|$)", f" {text}"):
        limit = _parse(" ".join(part.split()))
        if any(each.subject == limit.subject for each in found):
            raise ValueError(f'"{limit.subject}" is limited twice; write one limit of it')
        found.append(limit)
    return tuple(found)


def _parse(text: str) -> JobLimit:
    match = re.fullmatch(r"([^<>]*?)\s*([<>])\s*([^<>=]+)", text)
    if match is None:
        also = ', and "and" between two' if re.search(r"[<>].*[<>]|,|&", text) else ""
        raise ValueError(f'{quoted(text)} is not a limit of a job; write it like "ttft < 1s"{also}')
    head, sign, stated = match[1], match[2], match[3]
    metric, statistic = _subject(head, stated)
    if sign == ">":
        raise ValueError(f'"{head} >" asks for the worse value; write "{head} < {stated}"')
    limit_s = seconds(stated)
    if not isfinite(limit_s) or limit_s <= 0:
        raise ValueError(f'the limit {quoted(stated)} must be more than 0; write it like "1s"')
    return JobLimit(metric=metric, statistic=statistic, limit=limit_s)


def _subject(head: str, stated: str) -> tuple[Metric, str]:
    """Return the metric and the statistic that the words before the sign name."""
    name, _, statistic = (head, "", "") if head in set(Metric) else head.rpartition(" ")
    if name not in set(Metric):
        near = [each for each in _TIMES if each in head.lower()] or get_close_matches(head.lower(), _TIMES, n=1)
        hint = f'write "{near[0]} < {stated}"' if near else f"use one of {', '.join(_TIMES)}"
        raise ValueError(f"{quoted(head)} is not a time of a job; {hint}")
    metric = Metric(name)
    if not metric.is_time:
        raise ValueError(f'a job has no "{name}" of its own; limit one of its times, such as "ttft < 1s"')
    if not statistic or (metric.is_pooled and statistic == "mean"):
        return metric, ""
    percentile = PERCENTILE.fullmatch(statistic)
    if not metric.is_pooled and (percentile is not None or statistic in _STATISTICS):
        raise ValueError(f'each job has one "{name}", so it has no {statistic}; write "{name} < {stated}"')
    if statistic != "max" and (percentile is None or int(percentile[1]) < 50):
        form = f'"{name} < {stated}"' + (f', or like "{name} p99 < {stated}"' if metric.is_pooled else "")
        raise ValueError(f'"{head}" is not a time of a job; write {form}')
    return metric, statistic.removesuffix(".0")
