-- What was collected per bin and month, g; days are those of Edinburgh.
SELECT extract(p.id, '^station:(.+)/mixed/collected$') AS station, u.month AS month, sum(u.quantity) AS quantity
FROM usage_monthly AS u
INNER JOIN points AS p ON p.model_site = u.site AND p.number = u.point
WHERE u.site = 'edinburgh' AND p.role = 'waste_collected'
GROUP BY station, month
ORDER BY station, month
