"""Exact and measured figures of systems whose workers start on demand, from the literature and from AWS Lambda."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve


@dataclass(frozen=True)
class Setup:
    """A queue of `workers` at a load, whose starts take `start` on average in units of a service time.

    A worker starts for each job that finds none idle or starting for it, and stops when idle; all times are
    exponential. `time` is the mean time of a job in the system, `starting` the mean number of workers that start.
    """

    workers: int
    load: float
    start: float
    time: float
    starting: float


SETUPS = (
    Setup(1, 0.5, 10, 12.0, 0.4166667),
    Setup(2, 0.5, 10, 7.11781, 0.86936),
    Setup(4, 0.3, 10, 4.13546, 2.17744),
    Setup(4, 0.5, 10, 4.45338, 1.74540),
    Setup(4, 0.7, 2, 2.30916, 0.84565),
    Setup(4, 0.7, 10, 5.18979, 1.10329),
    Setup(8, 0.5, 10, 2.95840, 3.41173),
    Setup(8, 0.7, 10, 3.42845, 2.20143),
    Setup(26, 2 / 26, 10, 2.51768, 5.32505),
)
"""M/M/1 with setup, 1/(μ − λ) + 1/α; M/M/c with setup; and M/M/∞ with setup at λ = 2, where 26 workers are as good as
no limit. All are those of the Markov chain below: starts are never called off."""
CALLED_OFF = (
    Setup(2, 0.5, 10, 7.11781, 0.82914),
    Setup(4, 0.3, 10, 4.15920, 1.84746),
    Setup(4, 0.7, 2, 2.31791, 0.73789),
    Setup(40, 2 / 40, 10, 2.6769521, 3.3539041),
)
"""The same if a start is called off when no job waits for it any longer, as in the literature: Gandhi, Harchol-Balter
and Adan 2010 (Performance Evaluation 67, p. 1123), Phung-Duc 2014 (arXiv 1406.3084), who give these figures."""


def solved(asked: Setup, called_off: bool = False, longest: int = 120) -> tuple[float, float]:
    """Return the mean time in the system and the mean number of starting workers, from the stationary Markov chain.

    States are the busy workers, the waiting jobs (`longest` at most), and the starting workers.
    """
    rate, states, moves = asked.workers * asked.load, {(0, 0, 0): 0}, []
    todo = [(0, 0, 0)]
    for state in todo:
        for speed, to in _moves(*state, asked, rate, called_off, longest):
            if to not in states:
                states[to] = len(states)
                todo.append(to)
            moves.append((states[to], states[state], speed))
            moves.append((states[state], states[state], -speed))
    rows, columns, speeds = zip(*moves, strict=True)
    balance = coo_array((speeds, (rows, columns)), shape=(len(states), len(states))).tolil()
    balance[0, :] = 1.0
    shares = spsolve(balance.tocsc(), np.eye(1, len(states)).ravel())
    busy, waiting, starting = np.array(list(states)).T @ shares
    return float(busy + waiting) / rate, float(starting)


def _moves(
    busy: int, waiting: int, starting: int, asked: Setup, rate: float, called_off: bool, longest: int
) -> list[tuple[float, tuple[int, int, int]]]:
    found = []
    if waiting < longest:
        starts = busy + starting < min(asked.workers, busy + waiting + 1)
        found.append((rate, (busy, waiting + 1, starting + starts)))
    if busy and waiting:
        found.append((float(busy), (busy, waiting - 1, min(starting, waiting - 1) if called_off else starting)))
    elif busy:
        found.append((float(busy), (busy - 1, 0, starting)))
    if starting:
        taken = min(waiting, 1)
        found.append((starting / asked.start, (busy + taken, waiting - taken, starting - 1)))
    return found


@dataclass(frozen=True)
class Lambda:
    """One experiment of a day or more: arrivals per second, mean times in ms, cold starts and instances."""

    rate_per_s: float
    warm_ms: float
    cold_ms: float
    cold_share: float
    cold_share_error: float
    instances: float


LAMBDA_IDLE_S = 600.0
LAMBDA = (
    Lambda(0.0018631367641819018, 1955.000, 2563.417, 0.34298826, 0.03176349, 0.67419355),
    Lambda(0.0024576618629581367, 1954.201, 2462.751, 0.21082811, 0.03708525, 0.81350482),
    Lambda(0.002881640680737374, 1952.411, 2536.063, 0.14543114, 0.02418067, 0.77947073),
    Lambda(0.003453464480801769, 1959.825, 2430.142, 0.11009814, 0.02280163, 0.90756972),
    Lambda(0.004247997269166777, 1958.281, 2397.801, 0.07948014, 0.01239340, 0.94590294),
    Lambda(0.0057247758503054915, 1951.707, 2358.568, 0.03828475, 0.00616998, 1.03189793),
    Lambda(0.007850937561749665, 1969.645, 2421.958, 0.03382138, 0.00519560, 1.12908367),
    Lambda(0.01638363227041079, 1959.428, 2340.864, 0.01955256, 0.00213716, 1.26990446),
    Lambda(0.05011997483167722, 1967.135, 2192.308, 0.00854213, 0.00093613, 2.11358221),
    Lambda(0.09987113315257176, 1972.587, 2310.106, 0.00594912, 0.00068054, 2.76409849),
    Lambda(0.10037738637293372, 1975.888, 2244.126, 0.00565849, 0.00041582, 2.88880064),
    Lambda(0.19807612739820504, 1986.137, 2301.998, 0.00372428, 0.00027529, 3.71882446),
    Lambda(0.30179128934985394, 1991.680, 2270.797, 0.00293949, 0.00019991, 4.42176330),
    Lambda(0.397485817087294, 1997.778, 2180.514, 0.00208464, 0.00013737, 5.04500450),
    Lambda(0.4996728494874295, 2006.740, 2152.437, 0.00191331, 0.00009749, 5.69420175),
    Lambda(0.5956057891943456, 2002.398, 2208.713, 0.00175595, 0.00006875, 6.41938046),
    Lambda(0.6972660899741501, 2012.683, 2183.531, 0.00175121, 0.00011379, 6.92772041),
    Lambda(0.7979431166958569, 2015.494, 2182.833, 0.00156020, 0.00006237, 7.56393963),
    Lambda(0.9024594401863006, 2016.048, 2163.432, 0.00151339, 0.00006643, 7.86984127),
    Lambda(1.0005331788760239, 2021.748, 2172.538, 0.00130704, 0.00008136, 8.39714059),
)
"""`examples/exp.csv` of github.com/pacslab/simfaas at 35e190d, which describes them in Mahmoudi and Khazaei 2021,
"SimFaaS: A Performance Simulator for Serverless Computing Platforms", CLOSER 2021, p. 23."""
