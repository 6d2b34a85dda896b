"""Names of the topics, as data; `prefix` of the settings goes before each on the wire."""

from typing import Final

METER: Final = "meter.readings"
WASTE: Final = "waste.events"
VEHICLE: Final = "vehicle.events"
INPUTS: Final = (METER, WASTE, VEHICLE)

LEDGER: Final = "ledger"
ALERTS: Final = "alerts"
VERDICTS: Final = "verdicts"
REJECTED: Final = "rejected"
OUTPUTS: Final = (LEDGER, ALERTS, VERDICTS, REJECTED)

ACTIONS: Final = "alert.actions"
CONFIG: Final = "config"
TASKS: Final = "tasks"
SNAPSHOTS: Final = "snapshots"
ALL: Final = (*INPUTS, *OUTPUTS, ACTIONS, CONFIG, TASKS, SNAPSHOTS)
