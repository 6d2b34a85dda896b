"""3,395 charging sessions at workplaces, November 2014 to October 2015.

Source: Shray-R-Gupta/Ev-data-analysis (Asensio and others, CC0), one CSV file. Every session becomes a `charge` event
of a vehicle. The publisher has no vehicles, but a pseudonym for the person (`userId`), and people charge their own car:
the vehicle is `user-ID`, and the charger is `station-ID`. The file's faults and how they are taken:

* years are written 0014 and 0015: 2000 is added;
* it gives no time zone: its times are taken as UTC;
* 55 sessions have 0 kWh: they are events as well, of 0 Wh;
* 18 sessions begin at a station before the one before has ended there, and 11 of a user likewise: all are kept, as a
  charge is counted at its end.
"""
