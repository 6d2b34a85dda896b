"""The ways to reach people: `robots` (WeCom, DingTalk, Feishu), `mail`, `webhook`, and through Apprise the `others`.

A channel sends one message and says what became of it; it decides nothing, remembers nothing and retries nothing.
`http` is the only way out to the web: it connects to addresses that were checked, and follows nothing.
"""
