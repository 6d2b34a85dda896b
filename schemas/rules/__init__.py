"""Rule packs: from YAML and expressions to programs for the kernel and the instances they run on.

`language` parses, `compile` makes programs of `program`'s instructions, `schedules` makes boundaries of calendars,
`instances` binds roles to points.
"""
