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
    "open": ("持续中", "goes on"),
    "alerts a day": ("每日告警", "alerts/day"),
    "hours": ("小时", "hours"),
    "minutes": ("分钟", "minutes"),
    "noisiest": ("告警最多的位置", "noisiest"),
    "more with json": ("另有 {count:,} 条；--json 列出全部", "{count:,} more; --json has all of them"),
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
    "console": ("控制台", "console"),
    "console user": ("用户", "user"),
    "console password": ("一次性密码", "one-time password"),
    "user user": ("用户", "user"),
    "user role": ("角色", "role"),
    "user buildings": ("楼宇", "buildings"),
    "user state": ("状态", "state"),
    "user since": ("建立", "since"),
    "user disabled": ("停用", "disabled"),
    "user not in": ("尚未登录", "not yet in"),
    "check": ("检查项", "check"),
    "ok": ("正常", "ok"),
    "problem": ("问题", "problem"),
    "all well": ("一切正常", "everything is well"),
    "demo title": ("感知演示 · 市民中心", "ganzhi demo · civic centre"),
    "demo stack": ("Kafka 与 ClickHouse 已启动", "Kafka and ClickHouse are up"),
    "demo kernels": ("计算内核已就绪", "kernels are ready"),
    "demo model": ("站点模型已检查并发布", "site model checked and published"),
    "demo history": ("三十天历史已写入 Kafka", "thirty days of history are in Kafka"),
    "demo started": ("worker 与入库进程已启动，模拟开始", "worker and sink are started, life begins"),
    "demo backfill": ("写入历史", "loading history"),
    "demo again": (
        "打开已有的模拟数据：不再产生新事件",
        "an earlier simulation is open again: nothing new happens in it",
    ),
    "demo draining": ("等待计算与入库完成", "waiting until everything is computed and stored"),
    "demo verifying": ("从 Kafka 重放全部历史", "replaying the whole history from Kafka"),
    "demo ctrl-c": ("Ctrl-C 结束", "Ctrl-C ends"),
    "demo free ports": ("或加 --free-ports 用空闲端口", "or let it take free ones with --free-ports"),
    "rows stored": ("行", "rows"),
    "weekdays": ("周一 周二 周三 周四 周五 周六 周日", "Mon Tue Wed Thu Fri Sat Sun"),
    "events/s": ("事件/秒", "events/s"),
    "readings/s": ("读数/秒", "readings/s"),
    "lag": ("滞后", "lag"),
    "worker": ("计算", "worker"),
    "sink": ("入库", "sink"),
    "stored": ("已存储", "stored"),
    "alerts": ("告警", "alerts"),
    "so far": ("累计", "so far"),
    "light": ("照明", "light"),
    "air": ("空调", "AC"),
    "light and air": ("照明+空调", "light+AC"),
    "people": ("有人", "people"),
    "water": ("用水", "water"),
    "people and water": ("有人+用水", "people+water"),
    "alert here": ("告警", "alert"),
    "usage 30 days": ("近三十天用量", "usage, last thirty days"),
    "yesterday": ("昨日", "yesterday"),
    "of which open": ("未恢复", "open"),
    "A1": ("照明插座", "lights, sockets"),
    "A2": ("走廊应急", "corridors"),
    "A3": ("室外景观", "landscape"),
    "B1": ("冷热站", "chillers, boilers"),
    "B2": ("空调末端", "air conditioning"),
    "C1": ("电梯", "lifts"),
    "C2": ("水泵", "pumps"),
    "C3": ("通风机", "fans"),
    "D1": ("信息机房", "server rooms"),
    "D2": ("洗衣房", "laundry"),
    "D3": ("厨房餐厅", "kitchen"),
    "D4": ("游泳池", "pool"),
    "D5": ("健身房", "gym"),
    "D6": ("其他", "other"),
    "anomaly": ("异常", "anomaly"),
    "injected": ("注入", "injected"),
    "found": ("发现", "found"),
    "false": ("误报", "false"),
    "lights": ("无人亮灯", "lights on"),
    "air_conditioning": ("无人空调", "air conditioning"),
    "meter_silent": ("计量失联", "meter silent"),
    "bin_overfull": ("垃圾满溢", "bin overfull"),
    "vehicle_idling": ("车辆怠速", "vehicle idling"),
    "other": ("其他", "other"),
    "missed": ("漏报", "missed"),
    "false alert": ("误报", "false alert"),
    "worst room": ("浪费最多的房间", "worst room"),
    "no cost yet": ("尚无有费用的房间", "no room has cost anything yet"),
    "prices assumed": ("电价水价为演示假设", "prices are assumptions of the demo"),
    "ledger difference": ("台账与电水表之差", "ledger minus meters"),
    "published rows": ("已发布行", "rows published"),
    "stored rows": ("已入库行", "rows stored"),
    "rejected": ("拒收", "rejected"),
    "dirty": ("待结算测点", "points to settle"),
    "first alert": ("首个告警", "first alert"),
    "open again": ("再次打开同一数据：", "Open the same data again:"),
    "then ask": ("然后在另一终端查询：", "then, in another terminal, ask:"),
    "message": ("消息", "message"),
    "bench": ("测试项", "bench"),
    "measures": ("测量内容", "measures"),
    "promise": ("承诺", "promise"),
    "figures": ("其他数值", "figures"),
    "met": ("达到", "met"),
    "not met": ("未达到", "not met"),
    "CPU-s/million": ("CPU秒/百万", "CPU-s/million"),
    "readings/CPU-s": ("读数/CPU秒", "readings/CPU-s"),
    "replay again": ("再次验证：", "and prove it again:"),
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


def has(name: str) -> bool:
    """Whether the catalogue has a text of that name."""
    return name in _TEXTS
