"""The notifier: from alerts to the people who can do something, once, and without ClickHouse.

`routes` reads who is told what from the model; `plan` says which steps of an alert are to be told now; `outbox` groups
them into messages inside the limits of each channel; `wording` writes them; `channels/` sends them. `journal` keeps all
of it in the topic `notifications`, in one transaction with the position in the log, and `notifier` is the loop. Who did
what about an alert is in `sinks/desk`.
"""
