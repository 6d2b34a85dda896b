-- Verdicts about facts and runs of readings.
ALTER TABLE verdicts MODIFY COLUMN code Enum8('none' = 0, 'rollover' = 1, 'dip' = 2, 'rate' = 3, 'reset' = 4, 'out_of_range' = 5, 'estimated' = 6, 'late' = 7, 'repeat_differs' = 8, 'late_fact' = 9, 'fact_differs' = 10, 'stuck' = 11, 'zero_run' = 12, 'clipped' = 13, 'frozen_differs' = 14);
