"""Ten thousand emptyings of 334 smart litter bins in Edinburgh, June to August 2016.

Source: aileenmcd/bin_project (City of Edinburgh Council, Open Government Licence v3), one CSV file, newest row first,
in local time. Every row becomes two events of its station (a bin is a station of its own): the fill level that was
found, and what was collected. The file's faults and how they are taken:

* newest row first: rows are sorted by time before they are sent;
* its 100 % is a bin that is full to 80 %, as its header says: the fill level is the published figure times 0.8;
* kg are written with up to 17 decimals of a computed number (0.07 kg a litre): rounded to whole grams;
* the mass is computed from the fill level, not weighed, and is what the publisher calls weight.
"""
