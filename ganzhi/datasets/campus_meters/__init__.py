"""Hourly electricity and gas of eight university buildings, 2018 to 2021, and the weather of the same years.

Source: EECi/Cambridge-Estates-Building-Energy-Archive (MIT; weather under the Open Government Licence), one CSV file
per building, medium and year. Times are UTC and name the start of an hour. kWh have one decimal: Wh exactly.

What the publisher did is imported as it stands, and must be known when figures are read: missing hours are written as
0, values above ten times the mean are cut there, and everything is rounded to 0.1 kWh.
"""
