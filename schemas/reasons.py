"""Why input was rejected: codes of the kernels, names on the wire, texts for people."""

from enum import IntEnum
from typing import Final


class Reason(IntEnum):
    """Reason codes; the name in lower case is what `rejected` carries."""

    CUT = 1
    OVERLONG = 2
    OUT_OF_RANGE = 3
    TOO_MANY = 4
    TRAILING = 5
    TOO_LARGE = 6
    UNKNOWN_SITE = 10
    WRONG_PARTITION = 11
    UNKNOWN_GATEWAY = 12
    UNKNOWN_POINT = 13
    WRONG_GATEWAY = 14
    WRONG_TOPIC = 15
    TOO_OLD = 20
    FUTURE = 21
    UNKNOWN_CONTRACT = 30
    MALFORMED = 31
    NULL_VALUE = 32
    BROKEN_CHAIN = 33
    BAD_DOCUMENT = 34
    UNKNOWN_STATION = 40
    UNKNOWN_VEHICLE = 41
    UNKNOWN_CLASS = 42
    MISSING_FIELD = 43
    NOT_SUPPORTED = 44
    UNSIGNED = 50
    BAD_SIGNATURE = 51
    UNKNOWN_METER = 52
    BAD_FACT = 53


TEXTS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.CUT: ("消息不完整", "the message ends too early"),
    Reason.OVERLONG: ("数字编码超长", "a number is over 64 bits or not in its shortest form"),
    Reason.OUT_OF_RANGE: ("字段超出范围", "a field is outside of its range"),
    Reason.TOO_MANY: ("读数过多", "more readings in a message than allowed"),
    Reason.TRAILING: ("消息末尾有多余字节", "bytes after the end of the message"),
    Reason.TOO_LARGE: ("消息过大", "the message is too large"),
    Reason.UNKNOWN_SITE: ("未知站点", "no such site in the model; apply a model that has it, then requeue"),
    Reason.WRONG_PARTITION: ("分区错误", "the site's history is in another partition"),
    Reason.UNKNOWN_GATEWAY: ("未知网关", "no such gateway in the site's model"),
    Reason.UNKNOWN_POINT: ("未知测点", "no such point in the site's model"),
    Reason.WRONG_GATEWAY: ("测点不属于该网关", "the point belongs to another gateway"),
    Reason.WRONG_TOPIC: ("测点不属于该主题", "the point belongs to another topic"),
    Reason.TOO_OLD: ("时间早于2000年", "a time before 2000"),
    Reason.FUTURE: ("时间超前", "a time too far ahead of the log's clock"),
    Reason.UNKNOWN_CONTRACT: ("未知契约", "the fingerprint names no contract of this topic"),
    Reason.MALFORMED: ("消息格式错误", "the bytes do not keep the contract"),
    Reason.NULL_VALUE: ("空消息", "a message without value"),
    Reason.BROKEN_CHAIN: ("配置链断裂", "the control record does not follow the one before it"),
    Reason.BAD_DOCUMENT: ("配置文档无效", "the document cannot be used"),
    Reason.UNKNOWN_STATION: ("未知投放点", "no such station in the site's model"),
    Reason.UNKNOWN_VEHICLE: ("未知车辆", "no such vehicle in the site's model"),
    Reason.UNKNOWN_CLASS: ("未知垃圾类别", "no such waste class in the site's model"),
    Reason.MISSING_FIELD: ("缺少字段", "a field that this kind of event needs is missing"),
    Reason.NOT_SUPPORTED: ("暂不支持", "this release cannot apply such a record"),
    Reason.UNSIGNED: ("缺少签名", "it must be signed, with a key that the site's model names"),
    Reason.BAD_SIGNATURE: ("签名无效", "signed by a key that the site's model does not name, or not what was signed"),
    Reason.UNKNOWN_METER: ("未知表计", "no such meter in the site's model; apply a model that has it, then requeue"),
    Reason.BAD_FACT: ("表计事实有误", "the meter fact does not say what it must, or what cannot be"),
}
