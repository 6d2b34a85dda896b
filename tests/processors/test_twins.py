"""The kernels are compiled, and say what their source says when Python runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from processors.advance import Processor
from processors.kernels import alerts, gauges, meters, presence, programs, registers, rows, step, timers, waste
from schemas import decode, encode_rows, topics
from tests.processors.logs import DOCUMENTS
from tests.processors.twin import heads

SEED, MINUTES = 4, 80


def test_kernels_are_compiled() -> None:
    """Nobody turned the compiler off, and each kernel that Python calls has been compiled for the types it was called with."""
    heads(Processor(topics.METER_READINGS, 0, DOCUMENTS.__getitem__), 1, 20)
    assert not numba.config.DISABLE_JIT
    for kernel in (step.step, step.resolve, step.move_clock, decode.decode_batches, encode_rows._encode):
        assert len(kernel.signatures) >= 1, kernel


def test_python_says_the_same() -> None:
    """The same history with the compiler off: the same number of rows and the same heads in every stream."""
    compiled = heads(Processor(topics.METER_READINGS, 0, DOCUMENTS.__getitem__), SEED, MINUTES)
    assert all(compiled[stream][0] for stream in ("ledger", "gauges", "alerts", "episodes", "rejected"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.processors.twin", str(SEED), str(MINUTES)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == compiled


def test_options_of_every_kernel() -> None:
    """No kernel may reorder arithmetic or run in parallel: the cut of a batch would change a bit."""
    for module in (alerts, gauges, meters, presence, programs, registers, rows, step, timers, waste):
        for name, kernel in vars(module).items():
            if hasattr(kernel, "targetoptions"):
                options = kernel.targetoptions
                assert options.get("error_model") == "numpy", name
                assert not options.get("fastmath") and not options.get("parallel"), name


def test_what_only_kernels_call_says_so() -> None:
    """An inner kernel called from Python is a sentence and not a crash, also after kernels have compiled it."""
    heads(Processor(topics.METER_READINGS, 0, DOCUMENTS.__getitem__), 1, 20)
    with pytest.raises(TypeError, match="alert_row has no wrapper for Python"):
        rows.alert_row(*[0] * 8)
