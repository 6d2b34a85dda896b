"""Which benches there are: name → module that has it as `BENCH`. A new one is a module and a line here."""

import importlib
from typing import Final

from ganzhi.bench.figure import Bench
from schemas.errors import ConfigurationError

MODULES: Final = {
    "decode": "ganzhi.bench.decode",
    "advance": "ganzhi.bench.advance",
    "advance-rules": "ganzhi.bench.advance_rules",
    "many-rules": "ganzhi.bench.many_rules",
    "recover": "ganzhi.bench.recover",
    "replay": "ganzhi.bench.replay",
    "settle": "ganzhi.bench.settle",
    "rule-change": "ganzhi.bench.rule_change",
    "live": "ganzhi.bench.live",
    "live-unbatched": "ganzhi.bench.live_unbatched",
    "pipeline": "ganzhi.bench.pipeline",
    "latency": "ganzhi.bench.latency",
    "cardinality": "ganzhi.bench.cardinality",
    "detection": "ganzhi.bench.detection",
    "pages": "ganzhi.bench.pages",
    "storm": "ganzhi.bench.storm",
}
"""In the order in which they run and print."""


def find(name: str) -> Bench:
    """The bench of a name; only its module is imported.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if name not in MODULES:
        raise ConfigurationError(f"there is no bench {name}; there are {', '.join(MODULES)}")
    bench = importlib.import_module(MODULES[name]).BENCH
    assert isinstance(bench, Bench)
    assert bench.name == name, f"{MODULES[name]} calls itself {bench.name}"
    return bench
