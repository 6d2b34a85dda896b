"""The pages: a module a page, each with functions that take what was asked and give an answer.

Their HTML is in `templates`, what they say in `texts.csv`. A page decides what is shown; whether somebody may ask for
it is decided before, in `routes`, and which rooms and alerts he sees by `places` and `live`.
"""
