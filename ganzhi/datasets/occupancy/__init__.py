"""One office room: CO2, light, temperature, humidity, and how many people were there, about once a minute (UCI).

Times are local (Mons, Belgium). The rows have one cell more than the header: a number of the row comes first. Light
level is kept as `lux`; it tells nothing about presence (see `schemas.model.presence`). The published ground truth,
taken from pictures, is the point `people`; without it presence is estimated. The calendar knows weekends alone.
"""
