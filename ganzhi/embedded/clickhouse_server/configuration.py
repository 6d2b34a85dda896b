"""What the engine is told at its start: limits, merges, grants."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

GIB = 1 << 30
#: Engines that keep their data in this folder and nowhere else; a table of another engine is refused by the engine
#: itself.
TABLE_ENGINES = (
    *(
        f"{kind}MergeTree"
        for kind in ("", "Replacing", "Summing", "Aggregating", "Collapsing", "VersionedCollapsing", "Coalescing")
    ),
    *(
        "Memory",
        "Log",
        "TinyLog",
        "StripeLog",
        "Null",
        "Set",
        "Join",
        "Buffer",
        "Merge",
        "View",
        "MaterializedView",
        "Dictionary",
    ),
    *("GenerateRandom", "Alias"),
)
#: No BACKUP, no SOURCES (FILE, URL, S3, REMOTE, …), no SYSTEM SHUTDOWN or KILL, no NAMED COLLECTION, no access
#: management.
GRANTS = (
    "GRANT SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, "
    "CREATE TEMPORARY TABLE, CREATE FUNCTION, DROP, TRUNCATE, OPTIMIZE, KILL QUERY, CHECK, dictGet, "
    "SHOW DATABASES, SHOW TABLES, SHOW COLUMNS, SHOW DICTIONARIES, "
    "SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM MOVES, SYSTEM DROP CACHE, SYSTEM RELOAD DICTIONARY, SYSTEM FLUSH, "
    "SYSTEM VIEWS ON *.*"
)
#: A reader sees no statement of others; the reader's connections have readonly = 1.
PROCESSES_FILTER = "getSetting('readonly') = 0"


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Sizes of the engine.

    Attributes:
        memory_bytes: all queries, merges and caches together.
        merge_threads: threads for merges and mutations.
        merge_bytes_max: parts are not merged beyond this size.
    """

    memory_bytes: int
    merge_threads: int = 2
    merge_bytes_max: int = 20 * GIB


def default_memory_bytes() -> int:
    """40 % of the machine's memory, between 1 and 4 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(GIB, min(4 * GIB, total * 2 // 5))


def config_xml(users: Path, empty: Path, tmp: Path, limits: EngineLimits) -> str:
    """The engine's configuration.

    The pools are those of one small machine. How many free places a large merge or a mutation wants is left to the
    engine, which derives it from the pool.
    """
    values = {
        "users_config": users,
        "tmp_path": f"{tmp}/",
        **dict.fromkeys(
            (
                "user_files_path",
                "user_scripts_path",
                "format_schema_path",
                "dictionaries_lib_path",
                "top_level_domains_path",
            ),
            f"{empty}/",
        ),
        "custom_local_disks_base_directory": f"{empty}/",
        "max_server_memory_usage": limits.memory_bytes,
        "mark_cache_size": min(256 << 20, limits.memory_bytes // 8),
        "index_mark_cache_size": 16 << 20,
        "uncompressed_cache_size": 0,
        "max_concurrent_queries": 200,
        "background_pool_size": limits.merge_threads,
        "background_merges_mutations_concurrency_ratio": 2,
        **dict.fromkeys(
            ("background_move_pool_size", "background_fetches_pool_size", "background_distributed_schedule_pool_size"),
            1,
        ),
        **dict.fromkeys(
            ("background_buffer_flush_schedule_pool_size", "background_message_broker_schedule_pool_size"), 1
        ),
        "background_common_pool_size": 2,
        "background_schedule_pool_size": 8,
    }
    merge_tree = {"max_bytes_to_merge_at_max_space_in_pool": limits.merge_bytes_max}
    lines = [*_elements(values), "<merge_tree>", *_elements(merge_tree), "</merge_tree>"]
    lines.append(
        "<access_control_improvements><table_engines_require_grant>true</table_engines_require_grant></access_control_improvements>"
    )
    lines.append("<remote_url_allow_hosts><host>none.invalid</host></remote_url_allow_hosts>")
    return "<clickhouse>\n" + "\n".join(lines) + "\n</clickhouse>\n"


def users_xml(max_execution_s: int) -> str:
    """The one engine user. Who may do what beyond these grants is decided for each request, see `users`."""
    engines = ", ".join(f"TABLE ENGINE ON {engine}" for engine in TABLE_ENGINES)
    profile = {"max_execution_time": max_execution_s, "async_insert": 0, "log_queries": 0, "implicit_select": 0}
    return f"""<clickhouse>
<profiles><default>{"".join(_elements(profile))}</default></profiles>
<quotas><default/></quotas>
<users><default>
<password/><profile>default</profile><quota>default</quota><networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
<databases><system><processes><filter>{escape(PROCESSES_FILTER)}</filter></processes></system></databases>
<grants><query>{GRANTS}</query><query>GRANT {engines}</query></grants>
</default></users>
</clickhouse>
"""


def _elements(values: Mapping[str, object]) -> list[str]:
    return [f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items()]
