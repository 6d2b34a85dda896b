-- What each user's car charged per month, Wh; a session counts in the month in which it ended.
SELECT extract(p.id, '^vehicle:(.+)/charge$') AS vehicle, u.month AS month, sum(u.quantity) AS quantity
FROM usage_monthly AS u
INNER JOIN points AS p ON p.model_site = u.site AND p.number = u.point
WHERE u.site = 'workplaces' AND p.role = 'charge'
GROUP BY vehicle, month
ORDER BY vehicle, month
