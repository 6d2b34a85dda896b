-- What people may do about an alert beyond the first six kinds. A photo is in event_log only, with the message.
ALTER TABLE alert_actions MODIFY COLUMN kind Enum8('acknowledge' = 0, 'assign' = 1, 'silence' = 2, 'comment' = 3,
    'reopen' = 4, 'close' = 5, 'start' = 6, 'snooze' = 7, 'mute' = 8, 'unsilence' = 9, 'false_alarm' = 10,
    'true_alarm' = 11, 'work_order' = 12, 'work_done' = 13, 'work_cancelled' = 14);
ALTER TABLE alert_actions ADD COLUMN IF NOT EXISTS reason LowCardinality(String) AFTER comment;
ALTER TABLE alert_actions ADD COLUMN IF NOT EXISTS matcher String AFTER reason;
ALTER TABLE alert_actions ADD COLUMN IF NOT EXISTS hours String AFTER matcher;
ALTER TABLE alert_actions ADD COLUMN IF NOT EXISTS refers String AFTER hours;
ALTER TABLE alert_actions ADD COLUMN IF NOT EXISTS seen Int64 AFTER refers;
