"""What the command line says, in Chinese and English: one catalogue.

The language is `GANZHI_LANGUAGE` (zh or en), else that of the terminal's locale, else English.
"""

import functools
import os
from typing import Final, Literal

Language = Literal["zh", "en"]

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "about": (
        "感知：公共机构水电、垃圾、车辆事件的计量与告警；日志即事实，可随时重放。",
        "Event-sourced metering and alerts for public institutions. The log is the truth, and can be replayed.",
    ),
    "identical": ("完全一致", "identical"),
    "different": ("不一致", "DIFFERENT"),
    "task": ("任务", "task"),
    "messages": ("消息", "messages"),
    "readings": ("读数", "readings"),
    "rows": ("输出行", "rows"),
    "result": ("结果", "result"),
    "published": ("已发布", "published"),
    "computed": ("重算", "computed"),
    "first difference": ("首个差异", "first difference"),
    "replaying": ("重放", "replaying"),
    "time": ("时间", "time"),
    "state": ("状态", "state"),
    "severity": ("级别", "severity"),
    "rule": ("规则", "rule"),
    "where": ("位置", "where"),
    "since": ("自", "since"),
    "cost": ("费用", "cost"),
    "wasted": ("浪费", "wasted"),
    "firing": ("告警", "firing"),
    "resolved": ("恢复", "resolved"),
    "stale": ("失联", "stale"),
    "no alerts": ("没有告警", "no alerts"),
    "reason": ("原因", "reason"),
    "detail": ("说明", "detail"),
    "topic": ("主题", "topic"),
    "offset": ("偏移", "offset"),
    "site": ("站点", "site"),
    "count": ("数量", "count"),
    "nothing rejected": ("没有被拒收的数据", "nothing was rejected"),
    "requeued": ("已重新发送", "sent again"),
    "stack is up": ("系统已启动；Ctrl-C 停止", "the system is up; Ctrl-C stops it"),
    "stopping": ("正在停止", "stopping"),
    "restarted": ("已重启", "restarted"),
    "check": ("检查项", "check"),
    "ok": ("正常", "ok"),
    "problem": ("问题", "problem"),
    "all well": ("一切正常", "everything is well"),
}


@functools.cache
def language() -> Language:
    """The language to speak."""
    wanted = (
        os.environ.get("GANZHI_LANGUAGE")
        or os.environ.get("LC_ALL")
        or os.environ.get("LC_MESSAGES")
        or os.environ.get("LANG")
        or ""
    )
    return "zh" if wanted.lower().startswith("zh") else "en"


def text(name: str) -> str:
    """The text of a name in the language spoken."""
    return _TEXTS[name][0 if language() == "zh" else 1]
