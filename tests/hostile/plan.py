"""The plan of one hostile run, drawn from a seed and its number: scenario, behaviour of the endpoint, incidents."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from tests.hostile.endpoint import POLLS, SUBMISSIONS, Behaviour, Spell
from tests.hostile.faults import FAULTS
from tests.hostile.ids import IDS

Kind = Literal["kill", "join", "cut", "suspend", "signal", "step"]
SPELL_FAULTS = (
    "status_409",
    "status_429",
    "status_500",
    "status_502",
    "status_503",
    "status_503_retry_after",
    "status_500_taken",
    "status_401",
    "retry_after_seconds",
    "close_before_head",
    "close_untaken",
    "redirect_307",
    "html_page",
    "unknown_status",
    "empty",
)
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
INPUTS = {"template": ["${seq}", "${integer 0 to 1000000000000}"]}
"""Each job has another input, also if processes number their jobs themselves."""

KEYS = ("sk-{:020x}", "sk-{:020x}", 'sk-"{:020x}\\', "sk&<'{:020x}%2f", "{:020x}.*+?[(|)]{{3}}^$")
"""Forms of keys: some are written otherwise in JSON, in HTML or in a URL."""


@dataclass(frozen=True)
class Incident:
    """Something that happens to the run: seconds after its start, for how long, and to which of its processes."""

    kind: Kind
    at_s: float
    for_s: float = 0.0
    process: int = 0
    by: str = ""
    """The signal's name, or the seconds by which the clock steps."""


@dataclass(frozen=True)
class Plan:
    """One run. `generators` is the number of processes that send."""

    seed: int
    number: int
    scenario: dict[str, Any]
    behaviour: Behaviour
    generators: int
    incidents: tuple[Incident, ...]
    key: str
    tls: bool = False
    offsets_s: tuple[float, ...] = ()
    """How far the clocks of the generators are ahead."""

    def incident(self, kind: Kind) -> Incident | None:
        """Return the first incident of a kind."""
        return next((each for each in self.incidents if each.kind == kind), None)

    @property
    def kills_the_master(self) -> bool:
        """Return whether the only process of the run is killed, after which none is left to write how it ended."""
        return self.generators == 1 and self.incident("kill") is not None

    def __str__(self) -> str:
        happens = ", ".join(
            f"{each.kind}{' ' * bool(each.by)}{each.by} at {each.at_s:.2f} s" for each in self.incidents
        )
        flows = "+".join(self.scenario["flows"])
        return f"{self.generators} generators, {flows}, {happens or 'no incident'}"


def draw_plan(seed: int, number: int, real: bool) -> Plan:
    """Return the plan of the run with this number; real runs are shorter, and have other incidents."""
    rng = random.Random(f"{seed}/{'real' if real else 'virtual'}/{number}")
    load_s = rng.uniform(1.5, 3.0) if real else rng.uniform(3.0, 8.0)
    generators = rng.choice((1, 1, 2, 3))
    drain_s = rng.choice((1.0, 2.0))
    incidents = _real_incidents(rng, load_s) if real else _virtual_incidents(rng, load_s + drain_s, generators)
    return Plan(
        seed,
        number,
        _scenario(rng, load_s, drain_s, real),
        _behaviour(rng, number, load_s),
        generators,
        incidents,
        key=KEYS[number % len(KEYS)].format(rng.getrandbits(80)),
        tls=real and rng.random() < 0.3,
        offsets_s=tuple(rng.choice((0.0, rng.uniform(-100, 100))) for _ in range(generators)),
    )


def _scenario(rng: random.Random, load_s: float, drain_s: float, real: bool) -> dict[str, Any]:
    rate = rng.choice((10, 20, 40))
    duration = f"{load_s:.1f}s"
    closed = rng.random() < 0.25
    # Virtual generators have no receiver of webhooks.
    flows = ("run", "runsync", "stream", "webhook") if real else ("run", "runsync", "stream")
    load: dict[str, Any] = {"arrivals": rng.choice(("constant", "poisson", {"gamma_cv": 3}))}
    load["stages"] = [{"rate": f"{rate}/s", "for": duration}]
    if closed:
        load = {"model": "closed", "stages": [{"users": rng.choice((3, 10)), "for": duration}]}
    scenario: dict[str, Any] = {
        "name": "hostile",
        "load": load,
        "seed": rng.randrange(2**32),
        "flows": {name: _flow(rng) for name in rng.sample(flows, rng.choice((1, 1, 2, 3)))},
        "drain": {"within": f"{drain_s:g}s", "cancel_within": "10s"},
        "limits": _limits(rng, rate, real),
        "validity": {"send_lag": "30s", "cpu": "100 %", "started": "10 %", "censored": "100 %", "throttled": "100 %"},
        "price": 0.001,
    }
    scenario["ceilings"] = {}
    if rng.random() < 0.25:
        scenario["ceilings"]["jobs"] = rng.randrange(10, 80)
    if rng.random() < 0.15:
        scenario["ceilings"]["cost"] = rng.choice((0.002, 0.01))
    if rng.random() < 0.2:
        scenario["abort"] = {"errors": "30 %", "over": "2s", "jobs": 10}
    if rng.random() < 0.3:
        scenario["job_timeout"] = "1.5s" if real else rng.choice(("1.5s", "4s"))
    if rng.random() < 0.5:
        scenario["gates"] = [rng.choice(("errors < 5 %", "end-to-end p95 < 2s", "throughput > 1/s"))]
    return scenario


def _flow(rng: random.Random) -> dict[str, Any]:
    polling = {"policy": rng.choice(("fixed", "backoff", "shared", "long")), "every": rng.choice(("100ms", "300ms"))}
    return {"inputs": INPUTS, "polling": polling}


def _limits(rng: random.Random, rate: int, real: bool) -> dict[str, str]:
    """Return limits of which submissions meet theirs in some runs; short, since lost shares return after a window.

    The command refuses a load that its limit does not allow in the mean.
    """
    window_s = rng.choice((1, 2))
    headroom = rng.choice((1.3, 1.3, 5) if real else (0.6, 1.5, 5))
    submissions = f"{round(rate * window_s * headroom)} per {window_s} s, {rng.choice((5, 100))} at once"
    polls = f"{rng.choice((40, 400)) * window_s} per {window_s} s, {rng.choice((5, 400))} at once"
    return {
        **dict.fromkeys(SUBMISSIONS, submissions),
        **dict.fromkeys(POLLS, polls),
        "cancel": f"{rng.choice((10, 100)) * window_s} per {window_s} s, 20 at once",
        "purge-queue": "2 per 2 s",
    }


def _behaviour(rng: random.Random, number: int, load_s: float) -> Behaviour:
    names, ids = sorted(FAULTS), sorted(IDS)
    # Each name has its turn: a seed that draws well meets all of them in a hundred runs.
    faults = (names[number % len(names)], *rng.sample(names, rng.choice((2, 5))))
    spells = tuple(_spell(rng, load_s) for _ in range(rng.choice((0, 1, 1, 2))))
    return Behaviour(
        faults=faults,
        misbehaviour_share=rng.choice((0.0, 0.05, 0.2)),
        ids=(ids[number % len(ids)], rng.choice(ids)),
        id_share=rng.choice((0.0, 0.0, 0.3)),
        spells=spells,
        service_s=rng.choice((0.05, 0.3)),
        never_ends=rng.choice((0.0, 0.0, 0.0, 0.1, 0.5, 1.0)),
        fails=rng.choice((0.0, 0.1)),
        gone=rng.choice((0.0, 0.0, 0.02)),
        network_s=rng.choice((0.002, 0.02)),
        slow_connects=rng.choice((0.0, 0.2, 1.0)),
        slow_connect_s=rng.choice((0.4, 1.0, 7.0)),
        knows_status_sync=rng.random() < 0.7,
        healthy=rng.random() < 0.98,
    )


def _spell(rng: random.Random, load_s: float) -> Spell:
    operations = rng.choice((SUBMISSIONS, POLLS, ("cancel",), (*SUBMISSIONS, *POLLS, "cancel", "health")))
    begins_s = rng.uniform(0, load_s)
    return Spell(operations, rng.choice(SPELL_FAULTS), begins_s, begins_s + rng.choice((0.3, 1.0, 3.0)))


def _virtual_incidents(rng: random.Random, within_s: float, generators: int) -> tuple[Incident, ...]:
    incidents = []
    for kind, share in (("kill", 0.15), ("cut", 0.15), ("suspend", 0.1), ("join", 0.2), ("signal", 0.25)):
        if rng.random() < share and (generators > 1 or kind in ("join", "signal")):
            for_s = rng.uniform(0.5, 8.0)
            incidents.append(Incident(kind, rng.uniform(0, within_s), for_s, rng.randrange(generators)))  # type: ignore[arg-type]
    return tuple(incidents)


def _real_incidents(rng: random.Random, load_s: float) -> tuple[Incident, ...]:
    kind = rng.choice(("signal", "signal", "kill", "join", "step", "suspend", "none"))
    at_s = rng.uniform(0, load_s + 1.0)
    match kind:
        case "signal":
            # Until the load begins, and from then on.
            by, at_s = rng.choice(SIGNALS), at_s - rng.choice((0.0, 5.0))
            again = Incident("signal", at_s + rng.uniform(0.0, 0.5), by=rng.choice(SIGNALS))
            return (Incident("signal", at_s, by=by), again)[: rng.choice((1, 1, 2))]
        case "kill":
            return (Incident("kill", at_s),)
        case "join":
            return (Incident("join", at_s),)
        case "suspend":
            return (Incident("suspend", at_s, rng.choice((0.5, 2.0, 6.0))),)
        case "step":
            return (Incident("step", at_s * 0.5, by=rng.choice(("-25", "90", "3600"))),)
    return ()
