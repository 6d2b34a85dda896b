"""The web console: what burns now, floor by floor, with evidence, history, usage and cost, for people in a browser.

Pages are HTML that the server makes (Starlette, Jinja2); charts are SVG that it draws; `static/console.js` does no more
than ask for a part of a page again when the server says that alerts changed. Alerts come from Kafka, history from
ClickHouse, and a page says so when either is away. Start at `app` (what is put together) and `routes` (every address,
with the permission that it needs). Who may do what is in `access`; nothing is served that a route does not name.
"""
