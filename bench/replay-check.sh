#!/usr/bin/env bash
# Compares ClickHouse with an access log that `hoplog load --replay LOG --mapping MAPPING` has replayed, to the request.
# The log is counted here by awk alone; only the table of codes comes from the replayer.
#
#   replay-check.sh expect clicks|referrers|not_found LOG[.gz] MAPPING    what awk counts, as KEY TAB COUNT
#   replay-check.sh compare LOG[.gz] MAPPING [CLICKHOUSE_URL]             the same against ClickHouse (default http://127.0.0.1:8123)
#
# `compare` expects a warehouse that holds nothing but the replay; credentials go into the URL's userinfo.
set -euo pipefail
export LC_ALL=C

lines() {
    if [[ $1 == *.gz ]]; then gzip -dc -- "$1"; else cat -- "$1"; fi
}

# The log twice: first which paths are links, then what happened to them.
expect() {
    local table=$1 log=$2 mapping=$3
    { lines "$log"; echo "=== second pass"; lines "$log"; } | awk -v table="$table" -v mapping="$mapping" '
        BEGIN {
            while ((getline row < mapping) > 0) { tab = index(row, "\t"); code[substr(row, tab + 1)] = substr(row, 1, tab - 1) }
            text = "([^\"\\\\]|\\\\.)*"
            combined = "^[^ ]+ [^\\[]*\\[[^]]+\\] \"[A-Z]+ /[^ \"]* HTTP/[^ \"]*\" [1-9][0-9][0-9] ([0-9]+|-) \"" text "\" \"" text "\"$"
        }
        /^=== second pass$/ { second = 1; next }
        { sub(/\r$/, "") }
        $0 !~ combined { next }
        {
            request = $0; sub(/^[^"]*"/, "", request); rest = request; sub(/".*$/, "", request)
            split(request, word, " "); method = word[1]; path = word[2]
            rest = substr(rest, length(request) + 3); status = substr(rest, 1, 3)
        }
        !second { if (status ~ /^[23]/) link[path] = 1; next }
        {
            known = path in link
            if (table == "not_found" && !known && (method == "GET" || method == "HEAD")) count["404"]++
            if (!known || method != "GET") next
            if (table == "clicks") count[code[path]]++
            if (table == "referrers") {
                referrer = rest; sub(/^[^"]*"/, "", referrer); sub(/".*$/, "", referrer)
                host = ""
                if (index(referrer, "://")) {
                    host = tolower(referrer); sub(/^[^:]*:\/\//, "", host); sub(/[\/?#\\].*$/, "", host)
                    sub(/^.*@/, "", host); sub(/:.*$/, "", host); sub(/\.+$/, "", host); sub(/^www\./, "", host)
                }
                count[host]++
            }
        }
        END { for (key in count) print key "\t" count[key] }' | sort
}

query() {
    curl --fail --silent --show-error --data-binary "$1 FORMAT TabSeparated" "$clickhouse" | sort
}

# Shows the first differences of two lists and remembers that there were some.
same() {
    local name=$1 wanted=$2 found=$3
    if diff <(echo "$wanted") <(echo "$found") >"$scratch"; then
        echo "$name: equal ($(grep -c . <<<"$wanted" || true) rows, $(awk -F'\t' '{ sum += $2 } END { print sum + 0 }' <<<"$wanted") requests)"
    else
        echo "$name: DIFFERENT (< log, > ClickHouse)"
        head -n 20 "$scratch"
        different=1
    fi
}

case ${1:-} in
expect)
    [[ $# -eq 4 ]] || { sed -n '2,9p' "$0" >&2; exit 64; }
    expect "$2" "$3" "$4"
    ;;
compare)
    [[ $# -ge 3 ]] || { sed -n '2,9p' "$0" >&2; exit 64; }
    clickhouse=${4:-http://127.0.0.1:8123}
    different=0
    scratch=$(mktemp)
    trap 'rm -f "$scratch"' EXIT
    same 'clicks per code, clicks' "$(expect clicks "$2" "$3")" \
        "$(query 'SELECT code, count() FROM hoplog.clicks GROUP BY code')"
    same 'clicks per code, clicks_by_hour' "$(expect clicks "$2" "$3")" \
        "$(query 'SELECT code, sum(clicks) FROM hoplog.clicks_by_hour GROUP BY code')"
    same 'clicks per code, clicks_by_day' "$(expect clicks "$2" "$3")" \
        "$(query "SELECT code, sum(clicks) FROM hoplog.clicks_by_day WHERE dimension = 'os' GROUP BY code")"
    same 'clicks per referrer host' "$(expect referrers "$2" "$3")" \
        "$(query 'SELECT referrer_host, count() FROM hoplog.clicks GROUP BY referrer_host')"
    same 'clicks per referrer host, visits_by_day' "$(expect referrers "$2" "$3")" \
        "$(query "SELECT value, sum(visits) FROM hoplog.visits_by_day WHERE dimension = 'referrer_host' AND kind = 'click' GROUP BY value")"
    same '404s' "$(expect not_found "$2" "$3")" \
        "$(query 'SELECT status, sum(requests) FROM hoplog.requests_by_minute WHERE status = 404 GROUP BY status')"
    exit "$different"
    ;;
*)
    sed -n '2,9p' "$0" >&2
    exit 64
    ;;
esac
