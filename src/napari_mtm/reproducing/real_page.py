"""The page of a study of prepared sessions, of which one animal was left out at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_mtm.files import replacing
from napari_mtm.masking.tasks import SCORES
from napari_mtm.recording.session import Session
from napari_mtm.reproducing.arms import FEW, FEW_TRIALS, REAL, REFERENCES, Scale
from napari_mtm.reproducing.figures import against_each_other, can_draw, save_figures
from napari_mtm.reproducing.study import Result
from napari_mtm.reproducing.tables import (
    Claim,
    Key,
    by_session,
    claim_table,
    head,
    pairs,
    row,
    score_table,
    with_interval,
)

PAGE = "results-real.md"

Animals = Mapping[str, Sequence[Session]]
"""Sessions by the animal that they are of."""

_PRETRAINED = "default, pretrained"
_FEW, _PRETRAINED_FEW = "default" + FEW_TRIALS, _PRETRAINED + FEW_TRIALS

CLAIMS = (
    Claim(
        "default above reduced-rank regression",
        "default",
        "reduced-rank",
        ("co-smoothing", "inter-region"),
        least=0.05,
    ),
    Claim(
        "default above reduced-rank regression",
        "default",
        "reduced-rank",
        ("forward", "intra-region"),
        least=0.04,
    ),
    *(
        Claim(f"default above {name}", "default", name)
        for name in REFERENCES
        if name not in ("reduced-rank", "oracle") and not name.endswith(FEW_TRIALS)
    ),
    Claim("default above the paper's network, by MtM", "default", "mtm"),
    Claim("the paper's network: MtM above temporal masking", "mtm", "temporal"),
    Claim("other animals help default, all trials", _PRETRAINED, "default", least=0.01),
    Claim(f"other animals help default, {FEW} trials", _PRETRAINED_FEW, _FEW, least=0.03),
    Claim(
        f"default, pretrained, above reduced-rank regression, {FEW} trials",
        _PRETRAINED_FEW,
        "reduced-rank" + FEW_TRIALS,
    ),
    Claim("other animals help the paper's network, all trials", "mtm, pretrained", "mtm"),
    Claim(
        f"other animals help the paper's network, {FEW} trials",
        "mtm, pretrained" + FEW_TRIALS,
        "mtm" + FEW_TRIALS,
    ),
)

_BY_SESSION = (
    ("default", "reduced-rank"),
    (_PRETRAINED, "default"),
    (_PRETRAINED_FEW, _FEW),
)


def write_real_page(
    results: Sequence[Result], scale: Scale, out: Path, animals: Animals, about: str
) -> str:
    """Write `results-real.md`, and a folder of its figures beside it; return the text.

    `about` says whose recordings these are.
    """
    known = {session.id for sessions in animals.values() for session in sessions}
    results = [r for r in results if r.session in known]
    text = "\n".join(
        [
            "# Results on prepared sessions, one animal left out at a time",
            "",
            _introduction(scale, animals, about),
            "",
            *_session_table(animals),
            "",
            "## Scores",
            "",
            *score_table(results, (*REAL.arms, *REAL.references)),
            "",
            "## What holds",
            "",
            "Each difference with its interval, and in how many sessions it is above 0.",
            "",
            *claim_table(results, CLAIMS),
            "",
            "## By session",
            "",
            *_differences(results, animals),
            *_behaviour(results),
            *_pictures(results, out),
        ]
    )
    with replacing(out / PAGE) as file:
        file.write(text.encode())
    return text


def _introduction(scale: Scale, animals: Animals, about: str) -> str:
    sessions = [session for some in animals.values() for session in some]
    one = sessions[0]
    way = "with units held out in groups (quick)" if scale.quick else "each unit held out"
    once = [f"“{name}”" for name, arm in REAL.arms.items() if arm.once]
    seeds = f"{scale.seeds} seeds, one of {', '.join(once)}" if scale.seeds > 1 else "One seed"
    return (
        f"{about + ' ' if about else ''}{len(sessions)} sessions of {len(animals)} animals "
        f"({', '.join(f'{name} {len(some)}' for name, some in animals.items())}), "
        f"{sum(s.n_units for s in sessions):,} units and {sum(s.n_trials for s in sessions):,} "
        f"trials of {one.n_bins} bins of {one.bin_size * 1e3:g} ms, {one.window[0]:g} to "
        f"{one.window[1]:g} s from {one.align}.\n\n"
        "Each network is trained on the session that it is scored on; where it is pretrained, "
        f"on all sessions of the other animals before, for {scale.pretraining_steps} steps. "
        "“default” is our network; “mtm” and “temporal” are the paper's (the preset `published`), "
        f"trained with its masks or with its temporal baseline. All have width {scale.width} and "
        f"{scale.layers} layers. Ours is trained for {scale.steps} steps of 16 trials, the "
        f"paper's for {scale.paper_steps}, and each for a third of them on few trials. Few are "
        f"{FEW} of the training trials, evenly spread over the session: rates drift, and the "
        f"first {FEW} would be another beginning rather than less of the same. {seeds}.\n\n"
        "The validation trials choose among the weights of a training, and what baselines leave "
        "open. Scores are bits per spike of the test trials, which lie among the others, pooled "
        f"over units, {way}: mean over sessions, and 95% interval over sessions and within them "
        "over seeds. It takes sessions of one animal for independent. The baseline psth knows "
        "the trial's choice and outcome."
    )


def _session_table(animals: Animals) -> Iterator[str]:
    yield from head("session", "animal", "units", "regions", "trials", "of them for test")
    for animal, sessions in animals.items():
        for session in sessions:
            numbers = (
                session.n_units,
                len(session.regions),
                session.n_trials,
                len(session.split().test),
            )
            yield row(session.title, animal, *map(str, numbers))


def _differences(results: Sequence[Result], animals: Animals) -> Iterator[str]:
    """Yield, of each pair of arms, scores by session and by animal."""
    for better, worse in _BY_SESSION:
        if not _compared(results, worse, better):
            continue
        yield f"{better}, and in brackets how far it is above {worse}; means over seeds:"
        yield ""
        yield from head("", *SCORES)
        found = {score: pairs(results, worse, better, score) for score in SCORES}
        for animal, sessions in animals.items():
            for session in sessions:
                some = [_of(both, {session.id}) for both in found.values()]
                yield row(session.title, *some)
            ids = {session.id for session in sessions}
            yield row(f"**{animal}**", *(_of(both, ids) for both in found.values()))
        yield ""


def _compared(results: Sequence[Result], x: str, y: str) -> bool:
    """Whether there is a session that both arms were scored on: not all are trained at once."""
    return any(pairs(results, x, y, score) for score in SCORES)


def _of(both: Mapping[Key, tuple[float, float]], sessions: set[str]) -> str:
    """Write the mean over some sessions of the better of two arms, and of the difference."""
    better = by_session({key: pair[1] for key, pair in both.items() if key[0] in sessions})
    worse = by_session({key: pair[0] for key, pair in both.items() if key[0] in sessions})
    if not better:
        return ""
    mean = float(np.mean(list(better.values())))
    return f"{mean:.3f} ({mean - float(np.mean(list(worse.values()))):+.3f})"


def _behaviour(results: Sequence[Result]) -> Iterator[str]:
    """Yield how well behaviour is decoded from what each arm makes of whole trials."""
    names = list(dict.fromkeys(name for r in results for name in r.readouts))
    if not names:
        return
    beyond = {"within_contrasts": "choice within contrasts", "on_errors": "choice in errors"}
    beyond = {kind: title for kind, title in beyond.items() if _decoded(results, "choice", kind)}
    yield "## Behaviour"
    yield ""
    yield (
        "Decoded from visible trials, on the test trials: accuracy, or R² of a trace. What is "
        "known of a choice beyond the stimulus: how often, of two trials with equal contrasts, "
        "the one that was answered by right is told (chance 0.5); and the accuracy in error "
        "trials, where whoever knows the stimulus alone is never right."
    )
    yield ""
    yield from head("", *names, *beyond.values())
    for arm in dict.fromkeys(r.arm for r in results if r.readouts):
        some = [r for r in results if r.arm == arm]
        measures = [_decoded(some, name, "accuracy", "r2") for name in names]
        measures += [_decoded(some, "choice", kind) for kind in beyond]
        yield row(arm, *map(with_interval, measures))
    some = [r for r in results if r.arm == "default"]
    for title, kinds in (
        ("ridge regression on smoothed counts", ("ridge_accuracy", "ridge_r2")),
        ("the likelier answer, always", ("chance",)),
    ):
        values = [with_interval(_decoded(some, name, *kinds)) for name in names]
        if any(values):
            yield row(title, *values, *("" for _ in beyond))
    yield ""


def _decoded(results: Iterable[Result], name: str, *kinds: str) -> dict[Key, float]:
    """What of a readout has a value, by session and seed."""
    return {
        (r.session, r.seed): r.readouts[name][kind]
        for r in results
        for kind in kinds
        if kind in r.readouts.get(name, {})
    }


def _pictures(results: Sequence[Result], out: Path) -> Iterator[str]:
    """Draw the figures and yield lines that show them; none without matplotlib."""
    if not can_draw():
        return
    drawn = [("reduced-rank", "default"), ("mtm", "default"), ("default", _PRETRAINED)]
    drawn = [arms for arms in (*drawn, (_FEW, _PRETRAINED_FEW)) if _compared(results, *arms)]
    figures = against_each_other(results, drawn)
    for path in save_figures(figures, out / "figures-real"):
        yield f"![{path.stem}]({path.parent.name}/{path.name})"
    yield ""
