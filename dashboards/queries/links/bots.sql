SELECT toString(bot_reason) AS reason, count() AS clicks
FROM clicks
WHERE $__timeFilter(ts) AND bot
    AND $__conditionalAll(code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(domain = '', '(default)', toString(domain)) IN (${domain:sqlstring}), $domain)
GROUP BY reason
ORDER BY clicks DESC
LIMIT 20
