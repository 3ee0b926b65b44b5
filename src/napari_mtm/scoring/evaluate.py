"""The paper's tests of a model on a session, beside baselines and the oracle."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import MtmError
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.metrics import Statistic, Tally, bootstrap, conditions, r2_psth, r2_trial, tally
from napari_mtm.model.model import Model, chosen_trials
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.recording.slow import SlowLevels
from napari_mtm.scoring import horizon
from napari_mtm.scoring.baselines import BASELINES, Baseline, SlowRate
from napari_mtm.scoring.brain_wide_bench import (
    BENCH,
    TESTS,
    bench_notes,
    bench_split,
    must_be_windows,
    predict_windows,
    tally_log_rates,
)
from napari_mtm.scoring.decoding import beside_ridge, decode_session
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.scoring.reliability import reliability_lines, with_reliability

Protocol = Literal["paper", "brain-wide-bench"]
"""Whose tests, split and way of scoring."""

FEW_SPIKES = 20
"""Units with fewer scored spikes than this are listed: their scores are mostly chance."""

_HEADINGS = (
    f"{'task':<14}{'predictor':<14}{'bits/spike':>11}{'pooled':>8}"
    f"{'95%':>16}{'D2':>8}{'above slow':>12}{'of oracle':>11}"
)

_STATISTICS: tuple[Statistic, ...] = ("bps", "bps_pooled", "d2")


@dataclass(frozen=True)
class _Result:
    """What one predictor made of one test, of the units that it scores.

    `above_slow` is None where nobody knows slow levels.
    """

    units: npt.NDArray[np.intp]
    tally: Tally
    r2_psth: npt.NDArray[np.float64]
    r2_trial: npt.NDArray[np.float64]
    above_slow: Tally | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a model and of what it is compared with, on test trials.

    Attributes
    ----------
    session, title
        Id and name of the session.
    trials
        Indices of the test trials.
    quick
        Whether tests of units held out groups of them at once, which is not exact.
    protocol
        Whose tests these are.
    readouts
        By trace or choice: `accuracy` and `chance`, or `r2`, on the test trials; with `ridge_`
        before it, that of ridge regression on counts. Of the choice too, what is known of it
        beyond the stimulus: `within_contrasts`, how often of two trials with equal contrasts
        the one chosen right is told (chance 0.5), and `on_errors`, the accuracy in error trials.
    notes
        Sentences that a person should read before trusting the numbers.

    """

    session: str
    title: str
    trials: npt.NDArray[np.intp]
    quick: bool
    protocol: Protocol
    readouts: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...]
    _units: pd.DataFrame = field(repr=False)
    _results: Mapping[tuple[Score, str], _Result] = field(repr=False)
    _resamples: int = field(repr=False)
    _horizon: pd.DataFrame = field(repr=False, default_factory=horizon.joined)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per task, predictor and unit.

        `bps`, `bps_above_slow`, `d2`, `r2_psth` and `r2_trial` of the unit, its `spikes`
        among what was scored, and whether these are `few`. NaN where a unit has no spikes.
        `fano` and `ceiling` say what of the unit can be predicted, whatever the task.
        """
        frames = []
        for (score, predictor), result in self._results.items():
            spikes, above = result.tally.spikes.sum(axis=0), result.above_slow
            units = self._units.iloc[result.units].reset_index(drop=True)
            frames.append(
                pd.DataFrame(
                    {
                        "task": score,
                        "predictor": predictor,
                        "uuid": units["uuid"],
                        "region": units["region"],
                        "spikes": spikes.astype(int),
                        "few": spikes < FEW_SPIKES,
                        "bps": result.tally.bits_per_spike(),
                        "bps_above_slow": math.nan if above is None else above.bits_per_spike(),
                        "d2": result.tally.d2(),
                        "r2_psth": result.r2_psth,
                        "r2_trial": result.r2_trial,
                        "fano": units["fano"],
                        "ceiling": units["ceiling"],
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row per task and predictor.

        `bps` is the paper's mean over units, `bps_pooled` pools their spikes, `d2` is
        the mean over units; `_low` and `_high` bound 95% of resampled sets of trials.
        `bps_above_slow` pools too, against a null that knows each unit's slow level.
        `share` is `bps_pooled` as a share of the oracle's, where that is above 0.
        `units_fano_below_1` counts units that vary less than Poisson spikes would.
        """
        return pd.DataFrame(
            [
                {"task": score, "predictor": predictor, **self._row(score, predictor)}
                for score, predictor in self._results
            ]
        )

    def horizon(self) -> pd.DataFrame:
        """One row per predictor, forecast and bin: pooled bits per spike so far ahead.

        `start` is where the forecast begins, in seconds from the event, and `seconds_ahead`
        where the bin ends, from there. Besides the forward test there is a forecast of the
        second half of the window, where that is longer.
        """
        return self._horizon

    def gain(self, score: Score, predictor: str, over: str) -> tuple[float, float, float]:
        """Return by how much pooled bits per spike of a predictor are above another's.

        Between the bounds of 95% of resampled sets of trials, the same for both: low, value,
        high.
        """
        ours, theirs = (self._results[score, name].tally for name in (predictor, over))
        value = ours.pooled_bits_per_spike() - theirs.pooled_bits_per_spike()
        low, high = bootstrap(ours, "bps_pooled", over=theirs, n=self._resamples)
        return low, float(value), high

    def regions(self) -> pd.DataFrame:
        """One row per task, predictor and region: the scores of its units."""
        rows = []
        for (score, predictor), result in self._results.items():
            names = self._units["region"].iloc[result.units]
            for region in dict.fromkeys(names):
                some = result.tally.units(np.flatnonzero(names == region))
                rows.append(
                    {
                        "task": score,
                        "predictor": predictor,
                        "region": region,
                        "units": some.spikes.shape[1],
                        "bps": float(some.mean_bits_per_spike()),
                        "bps_pooled": float(some.pooled_bits_per_spike()),
                        "d2": float(some.mean_d2()),
                    }
                )
        return pd.DataFrame(rows)

    def to_json(self) -> str:
        """Return the summary and the readouts as JSON; what has no value is null."""
        tasks: dict[str, dict[str, Any]] = {}
        for score, predictor in self._results:
            tasks.setdefault(score, {})[predictor] = self._row(score, predictor)
        few = self.table.query("predictor == 'model' and few")
        text = {
            "session": self.session,
            "name": self.title,
            "protocol": self.protocol,
            "trials": len(self.trials),
            "units": len(self._units),
            "quick": self.quick,
            "tasks": tasks,
            "horizon": horizon.as_records(self._horizon),
            "readouts": {name: dict(values) for name, values in self.readouts.items()},
            "few_spikes": {
                str(task): sorted(map(str, rows["uuid"])) for task, rows in few.groupby("task")
            },
            "notes": list(self.notes),
        }
        return json.dumps(_without_nan(text), indent=1)

    def __str__(self) -> str:
        """Return the summary as a table for a terminal."""
        lines = [
            f"{self.title}: {len(self.trials)} test trials, {len(self._units)} units"
            + (", quick (groups of units held out together, not exact)" if self.quick else "")
            + (f", protocol {self.protocol}" if self.protocol != "paper" else ""),
            "",
            _HEADINGS,
        ]
        for score, predictor in self._results:
            row = self._row(score, predictor)
            slow = row["bps_above_slow"]
            share = f"{row['share']:.0%}" if "share" in row else ""
            lines.append(
                f"{score:<14}{predictor:<14}{row['bps']:>11.3f}{row['bps_pooled']:>8.3f}"
                f"{row['bps_pooled_low']:>8.3f}{row['bps_pooled_high']:>8.3f}"
                f"{row['d2']:>8.3f}{slow:>12.3f}{share:>11}"
            )
        if len(self._horizon):
            lines.append(f"{'forecasts':<14}{horizon.in_words(self._horizon)}")
        for name, values in self.readouts.items():
            text = ", ".join(f"{key} {value:.3f}" for key, value in values.items())
            lines.append(f"{name:<24}{text}")
        few = self.table.query("predictor == 'model' and few").groupby("task").size()
        lines += [
            f"{task}: {n} units have fewer than {FEW_SPIKES} spikes" for task, n in few.items()
        ]
        return "\n".join([*lines, *reliability_lines(self._units), *self.notes])

    def _row(self, score: Score, predictor: str) -> dict[str, float]:
        if (score, predictor) not in self._rows:
            self._rows[score, predictor] = self._scores(score, predictor)
        return self._rows[score, predictor]

    @cached_property
    def _rows(self) -> dict[tuple[Score, str], dict[str, float]]:
        return {}

    def _scores(self, score: Score, predictor: str) -> dict[str, float]:
        result = self._results[score, predictor]
        counted, above = result.tally, result.above_slow
        row: dict[str, float] = {
            "bps": float(counted.mean_bits_per_spike()),
            "bps_pooled": float(counted.pooled_bits_per_spike()),
            "d2": float(counted.mean_d2()),
        }
        for name in _STATISTICS:
            row[f"{name}_low"], row[f"{name}_high"] = bootstrap(counted, name, n=self._resamples)
        value, low, high = math.nan, math.nan, math.nan
        if above is not None:
            value = float(above.pooled_bits_per_spike())
            low, high = bootstrap(above, "bps_pooled", n=self._resamples)
        row |= {"bps_above_slow": value, "bps_above_slow_low": low, "bps_above_slow_high": high}
        row["r2_psth"], row["r2_trial"] = _mean(result.r2_psth), _mean(result.r2_trial)
        row["units"] = int(np.isfinite(counted.bits_per_spike()).sum())
        row["units_with_few_spikes"] = int((counted.spikes.sum(axis=0) < FEW_SPIKES).sum())
        row["units_fano_below_1"] = int((self._units["fano"].iloc[result.units] < 1).sum())
        oracle = self._results.get((score, "oracle"))
        if oracle is not None:
            most = float(oracle.tally.pooled_bits_per_spike())
            row["share"] = row["bps_pooled"] / most if most > 0 else math.nan
        return row


def evaluate(
    model: Model,
    session: Session,
    *,
    trials: Sequence[int] | npt.NDArray[np.intp] | None = None,
    tasks: Sequence[Score] | None = None,
    others: Mapping[str, Model] | None = None,
    baselines: bool = True,
    quick: bool = False,
    slow_levels: bool = True,
    published_decoding: bool = False,
    protocol: Protocol = "paper",
    resamples: int = 1000,
    seed: int = 42,
    progress: Progress = silent,
) -> Evaluation:
    """Score a model on the four tests of the paper and its readouts, or by another protocol.

    Parameters
    ----------
    model, session
        What is scored, and on what.
    trials
        Test trials; by default those of `session.split(seed)`, or of `bench_split(session)`.
    tasks
        Which of the protocol's tests; by default all.
    others
        Models to score beside it, by name, such as one trained with temporal masking.
    baselines
        Whether to fit the baselines, from mean rates to reduced-rank regression, on the
        training trials and score them too.
    quick
        Hold out groups of about 5% of the units at once, in twenty passes: far cheaper
        than a pass per unit, not exact, and marked as quick.
    slow_levels
        Whether models and baselines know each unit's slow level, from the training trials
        around the one that is predicted. Without it there is no slow rate. BrainWideBench has
        none: its test windows stand apart.
    published_decoding
        Decode as the paper does: from flattened log rates, by logistic and ridge
        regression.
    protocol
        "paper"; or "brain-wide-bench" for co-smoothing and forward as BrainWideBench has
        them, of windows of 1 s, without readouts and without baselines that know trials.
    resamples
        How often trials are resampled for intervals.

    """
    if protocol not in get_args(Protocol):
        known = ", ".join(get_args(Protocol))
        raise MtmError(f"There is no protocol {protocol!r}; there are {known}.")
    tests = TESTS if protocol == BENCH else SCORES
    tasks = tests if tasks is None else tasks
    _check_names(tasks, others or {}, tests)
    if protocol == BENCH:
        if quick or published_decoding:
            raise MtmError(f"{BENCH} has no quick mode, and decodes nothing.")
        return _on_the_bench(
            {"model": model, **(others or {})},
            session,
            trials,
            tests=tasks,
            baselines=baselines,
            resamples=resamples,
            progress=progress,
        )
    split = session.split(seed)
    chosen = split.test if trials is None else chosen_trials(session, trials)
    if not len(chosen):
        raise MtmError(f"Session {session.title} has no test trials to score.")
    counts = session.counts[chosen]
    labels = conditions(session.trials.iloc[chosen])
    progress(0.0, "scoring")
    predictors = _predictors(
        model,
        session,
        split,
        chosen,
        others=others or {},
        baselines=baselines,
        quick=quick,
        slow_levels=slow_levels,
        progress=part(progress, 0.0, 0.3),
    )
    levels, _ = SlowLevels.of(session, split.train).at(chosen)
    results = {}
    ahead: list[pd.DataFrame] = []
    steps = len(tasks) * len(predictors)
    for i, score in enumerate(tasks):
        scored = scored_entries(session, score)
        bins = scored.any(axis=1)
        for j, (name, predictor) in enumerate(predictors.items()):
            done = i * len(predictors) + j
            report = part(progress, 0.3 + 0.6 * done / steps, 0.3 + 0.6 * (done + 1) / steps)
            rates = predictor.rates(score, report)
            truth, guess = counts[:, bins], rates[:, bins]
            found = tally(truth, guess)
            results[score, name] = _Result(
                np.arange(session.n_units),
                found,
                r2_psth(truth, guess, labels),
                r2_trial(truth, guess),
                found.above(levels),
            )
            if score == "forward":
                ahead += horizon.curves(name, session, counts, rates, predictor.forecast)
    progress(0.9, "decoding behaviour")
    readouts = decode_session(model, session, split, chosen, published=published_decoding)
    if baselines:
        readouts = beside_ridge(readouts, session, split, chosen)
    progress(1.0, "scoring")
    return Evaluation(
        session=session.id,
        title=session.title,
        trials=chosen,
        quick=quick,
        protocol=protocol,
        readouts=readouts,
        notes=(*model.notes_on(session), *_notes_of_others(others or {}, session)),
        _units=with_reliability(session),
        _results=results,
        _resamples=resamples,
        _horizon=horizon.joined(ahead),
    )


def _on_the_bench(
    models: Mapping[str, Model],
    session: Session,
    windows: Sequence[int] | npt.NDArray[np.intp] | None,
    *,
    tests: Sequence[Score],
    baselines: bool,
    resamples: int,
    progress: Progress,
) -> Evaluation:
    """Score models as BrainWideBench does, on the windows for test or some others."""
    must_be_windows(session)
    split = bench_split(session)
    chosen = split.test if windows is None else chosen_trials(session, windows)
    if not len(chosen):
        raise MtmError(f"Session {session.title} has no windows for test to score.")
    labels = conditions(session.trials.iloc[chosen])
    results = {}
    for found in predict_windows(
        models, session, split, chosen, tests=tests, baselines=baselines, progress=progress
    ):
        rates = np.exp(found.log_rates)
        results[found.test, found.predictor] = _Result(
            found.units,
            tally_log_rates(found.counts, found.log_rates),
            r2_psth(found.counts, rates, labels),
            r2_trial(found.counts, rates),
        )
    others = {name: which for name, which in models.items() if name != "model"}
    return Evaluation(
        session=session.id,
        title=session.title,
        trials=chosen,
        quick=False,
        protocol="brain-wide-bench",
        readouts={},
        notes=(
            *models["model"].notes_on(session),
            *_notes_of_others(others, session),
            *bench_notes(models, session, chosen),
        ),
        _units=with_reliability(session),
        _results=results,
        _resamples=resamples,
    )


def _check_names(tasks: Sequence[str], others: Mapping[str, Model], tests: Sequence[Score]) -> None:
    """Raise MtmError where tests are not known, or names would hide one another."""
    unknown = [task for task in tasks if task not in tests]
    if unknown:
        raise MtmError(f"There is no test {unknown[0]!r}; there are {', '.join(tests)}.")
    taken = {"model", "oracle", *(kind.name for kind in BASELINES)}
    clash = [name for name in others if name in taken or not name]
    if clash:
        raise MtmError(
            f"Another model cannot be called {clash[0]!r}; names of our own are "
            f"{', '.join(sorted(taken))}."
        )


@dataclass(frozen=True)
class _Predictor:
    """What is scored: predicts a test as it has it, and from whatever is not hidden."""

    rates: Callable[[Score, Progress], npt.NDArray[np.float32]]
    forecast: horizon.Forecast


def _predictors(
    model: Model,
    session: Session,
    split: Split,
    trials: npt.NDArray[np.intp],
    *,
    others: Mapping[str, Model],
    baselines: bool,
    quick: bool,
    slow_levels: bool,
    progress: Progress,
) -> dict[str, _Predictor]:
    """Return what is to be scored, in the order in which it is shown."""

    def of_model(which: Model) -> _Predictor:
        return _Predictor(
            lambda score, progress: held_out_rates(
                which,
                session,
                score,
                trials,
                quick=quick,
                slow_levels=slow_levels,
                progress=progress,
            ),
            lambda hidden: np.exp(
                which.predict(
                    session.counts[trials],
                    hidden,
                    task="causal",
                    session=session,
                    trials=trials if slow_levels else None,
                )
            ),
        )

    found = {"model": of_model(model)}
    found |= {name: of_model(other) for name, other in others.items()}
    if baselines:
        kinds = [kind for kind in BASELINES if slow_levels or kind is not SlowRate]
        for i, kind in enumerate(kinds):
            report = part(progress, i / len(kinds), (i + 1) / len(kinds))
            fitted = kind.fit(session, split, report, slow_levels)
            found[kind.name] = _of_baseline(fitted, trials)
    if session.rates is not None:
        truth = session.rates[trials]
        found["oracle"] = _Predictor(lambda _score, _progress: truth, lambda _hidden: truth)
    return found


def _notes_of_others(others: Mapping[str, Model], session: Session) -> Iterator[str]:
    for name, other in others.items():
        for note in other.notes_on(session):
            yield f"{name}: {note}"


def _of_baseline(baseline: Baseline, trials: npt.NDArray[np.intp]) -> _Predictor:
    return _Predictor(
        lambda score, _progress: baseline.rates(score, trials),
        lambda hidden: baseline.predict(hidden, trials),
    )


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _without_nan(value: Any) -> Any:
    """Put null where a number has no value; JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
