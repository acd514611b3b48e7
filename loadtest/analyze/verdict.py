"""The verdict of a run, and its reason in one sentence."""

from __future__ import annotations

from loadtest.analyze.summary import GateResult, Validity, Verdict
from loadtest.record.run import Ending, RunRecord
from loadtest.record.sample import Outcome


def verdict(run: RunRecord, validity: Validity, gates: list[GateResult], jobs: dict[str, int]) -> tuple[Verdict, str]:
    """Return the verdict and its reason: first whether the run ended, then whether it is valid, then its gates."""
    if run.ending is not Ending.COMPLETE:
        return Verdict.ABORTED, _abort_reason(run)
    failing = [check for check in validity.checks if not check.ok]
    if failing:
        more = f" {_count(len(failing) - 1, 'more check')} failed." if len(failing) > 1 else ""
        return Verdict.INVALID, f"The measurement is not valid: {failing[0].detail}{more}"
    for bad in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        missed = [gate for gate in gates if gate.verdict is bad]
        if missed:
            word = "failed" if bad is Verdict.FAIL else f"{'is' if len(missed) == 1 else 'are'} inconclusive"
            return bad, f"{_count(len(missed), 'gate')} of {len(gates)} {word}: {missed[0].gate}. {missed[0].detail}"
    measured = f"{jobs['completed']} of {_count(jobs['submitted'], 'job')} completed{_others(jobs)}"
    return (
        Verdict.PASS,
        f"{measured} and the measurement is valid; {'every gate passed' if gates else 'no gate was set'}.",
    )


def _others(jobs: dict[str, int]) -> str:
    """Return the other outcomes of the jobs, the most frequent first, in brackets."""
    counts = [
        (jobs.get(outcome, 0), outcome.replace("_", " ")) for outcome in Outcome if outcome is not Outcome.COMPLETED
    ]
    text = ", ".join(f"{count} {words}" for count, words in sorted(counts, reverse=True) if count)
    return f" ({text})" if text else ""


def _abort_reason(run: RunRecord) -> str:
    if run.ending is None:
        return "The run has no end on record: its master process died."
    why = f": {run.reason}" if run.reason else " before its load had ended"
    return f"The run was {run.ending.value}{why if why.endswith('?') else why.rstrip('.') + '.'}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
