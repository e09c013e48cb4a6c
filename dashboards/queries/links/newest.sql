SELECT ts AS time, code, country, referrer_host AS referrer, browser, os, device, bot_reason AS bot
FROM clicks
WHERE $__timeFilter(ts)
    AND $__conditionalAll(code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(domain = '', '(default)', toString(domain)) IN (${domain:sqlstring}), $domain)
ORDER BY ts DESC
LIMIT 100
