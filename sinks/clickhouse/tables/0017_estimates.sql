-- What a rule estimated when it fired: an hour of the flow, in the smallest unit of what its roles count.
ALTER TABLE alert_events ADD COLUMN IF NOT EXISTS estimate Int64 DEFAULT -1 COMMENT 'an hour of the flow that the rule estimates, smallest unit; -1: none' AFTER started_at;
