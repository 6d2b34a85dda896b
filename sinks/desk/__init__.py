"""The alert desk: what people do about alerts, and how every alert stands, read from the log and nothing else.

`actions` checks and writes what a person did to `alert.actions`; `projection` is the pure function from the rows of
`alerts` and `alert.actions` to the state of every alert; `desk` keeps it current. Terminal, notifier and console use
the same one. What is sent to people is in `sinks/notify`, what they see in a browser in `sinks/console`.
"""
