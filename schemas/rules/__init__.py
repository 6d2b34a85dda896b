"""Rule packs: from YAML and expressions to programs for the kernel and the instances they run on.

`reading` reads pack files with their lines, `format` says what may be written, `pack` checks. `language` parses
expressions, `quantities` knows dimensions and steps, `compile` makes programs of `program`'s instructions, `evaluate`
is what they mean. `schedules` makes boundaries of calendars, `subjects` knows whose points are whose, `instances` binds
rules to them.
"""
