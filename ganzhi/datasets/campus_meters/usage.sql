-- Usage per building, medium and month, Wh. Months are UTC, as the files are.
SELECT p.space AS building, p.medium AS medium, u.month AS month, sum(u.quantity) AS quantity
FROM usage_monthly AS u
INNER JOIN points AS p ON p.model_site = u.site AND p.number = u.point
WHERE u.site = 'campus' AND p.kind = 'delta'
GROUP BY building, medium, month
ORDER BY building, medium, month
