"""Arithmetic whose last digit does not depend on who does it, and files that follow from it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from napari_mtm.recording.opening import open_session
from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.areas import REPEATED_SITE
from napari_mtm.recording.simulation.behaviour import simulate_behaviour
from napari_mtm.recording.simulation.brain import shared_brain
from napari_mtm.recording.simulation.cache_writer import simulate
from napari_mtm.recording.simulation.exact import exp, on_grid
from napari_mtm.recording.store import save_session

MACHINES = {
    "two threads": {"OPENBLAS_NUM_THREADS": "2"},
    "Haswell": {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"},
    "Zen": {"OPENBLAS_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Zen"},
    "SkylakeX": {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "SkylakeX"},
    # Exponentials by other instructions, in numpy and in the C library.
    "old processor": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
        ),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
    },
}
"""Variables that let a process compute as on another machine."""


def made(folder: Path) -> dict[str, str]:
    """Digests of a brain's latents, and of an animal's files and store, written to a folder."""
    rng = np.random.default_rng(0)
    latents = shared_brain(REPEATED_SITE).latents(simulate_behaviour(20, rng).inputs, rng)
    (session,) = simulate(folder, Recipe(seed=1, units=25, trials=12), processes=1)
    save_session(open_session(session), folder / "prepared.mtm")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "latents": hashlib.md5(latents.tobytes()).hexdigest(),
        **{str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in files},
    }


@pytest.fixture(scope="module")
def machines(tmp_path_factory) -> Iterator[dict[str, subprocess.Popen]]:
    """Processes that make the same, all at once."""
    program = (
        "import json, pathlib, sys, test_exact\n"
        "print(json.dumps(test_exact.made(pathlib.Path(sys.argv[1]))))"
    )
    with ExitStack() as running:
        started = {}
        for name, variables in MACHINES.items():
            folder = tmp_path_factory.mktemp("machine")
            process = subprocess.Popen(
                [sys.executable, "-c", program, folder / "D"],
                cwd=Path(__file__).parent,
                env=os.environ | variables | {"NAPARI_MTM_CACHE": str(folder / "cache")},
                stdout=subprocess.PIPE,
                text=True,
            )
            started[name] = running.enter_context(process)
        yield started


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> dict[str, str]:
    return made(tmp_path_factory.mktemp("here") / "D")


@pytest.mark.parametrize("name", MACHINES)
def test_another_machine_makes_the_same_bytes(machines, here, name):
    output, _ = machines[name].communicate()
    if machines[name].returncode == -signal.SIGILL:
        pytest.skip(f"this processor lacks instructions of {name}")
    assert machines[name].returncode == 0
    assert json.loads(output) == here


def test_on_a_grid_are_the_nearest_multiples():
    np.testing.assert_array_equal(
        on_grid([0.1, -0.3, 5.0, 0.124], 3), [1 / 8, -2 / 8, 40 / 8, 1 / 8]
    )


def test_last_digits_do_not_show_on_a_grid():
    values = np.random.default_rng(0).normal(0, 3, 100_000)
    np.testing.assert_array_equal(on_grid(np.nextafter(values, 9), 20), on_grid(values, 20))


def test_products_of_numbers_on_a_grid_are_exact():
    rng = np.random.default_rng(0)
    one, other = on_grid(rng.normal(0, 3, (40, 30)), 20), on_grid(rng.normal(0, 1, (30, 20)), 20)
    product = one @ other
    for i, j in ((0, 0), (13, 7), (39, 19)):
        terms = zip(one[i], other[:, j], strict=True)
        assert sum(Fraction(a) * Fraction(b) for a, b in terms) == Fraction(product[i, j])


@pytest.mark.parametrize(("largest", "error"), [(20.0, 1e-10), (80.0, 1e-6)])
def test_exponentials_are_close_to_the_true_ones(largest, error):
    values = np.linspace(-largest, largest, 401)
    true = [float(Decimal(value).exp()) for value in values]
    np.testing.assert_allclose(exp(values), true, rtol=error)


def test_exponentials_of_small_numbers_keep_all_digits():
    assert exp(np.zeros(3)).tolist() == [1.0] * 3
    assert exp(np.array([1e-12]))[0] == pytest.approx(1 + 1e-12, rel=1e-15)
