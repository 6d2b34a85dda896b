"""ClickHouse's HTTP interface around the engine in the `chdb` wheel, on loopback, as a process of its own.

    python -m ganzhi.embedded.clickhouse_server FOLDER --port 18123

`ganzhi.embedded.clickhouse` starts and stops it. No other part of ganzhi imports from here.
"""
