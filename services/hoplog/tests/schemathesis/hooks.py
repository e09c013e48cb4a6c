"""What schemathesis has to be told: values for formats that JSON Schema does not know, names of what is there, and a
count of all answers by operation and status, so that the test can see whether the run reached what it should."""

import atexit
import collections
import json
import os
import re

import schemathesis
from hypothesis import strategies as st

HOSTS = st.sampled_from(["example.com", "www.example.org", "münchen.example", "192.0.2.7", "[2001:db8::7]", "a.example:8080"])
PATHS = st.sampled_from(["", "/", "/a/b?c=d", "/grüße", "/%C3%BC#part", "/?utm_source=x&y"])
URLS = st.builds(lambda scheme, host, path: f"{scheme}://{host}{path}", st.sampled_from(["http", "https"]), HOSTS, PATHS)
DOMAINS = ["DEFAULT", "s.example", "other.example:8443"]
SEGMENT = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~ü", min_size=2, max_size=12).filter(
    lambda text: text not in ("..", "robots.txt", "favicon.ico", "rest", "qr-code")
)
SLUGS = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)

schemathesis.openapi.format("uri", URLS)
schemathesis.openapi.format("authority", st.sampled_from(DOMAINS))
schemathesis.openapi.format("slug", SLUGS)
schemathesis.openapi.format("slug-prefix", st.sampled_from(["", "p", "p/", "p/q-"]))
schemathesis.openapi.format("tag", st.sampled_from(["one", "two", "three", "Four Five", "größe"]))
# Cursors are opaque: an empty one begins a list. Real ones are followed by shortener's
# tests/it/cursors.rs and visit_pages.rs.
schemathesis.openapi.format("cursor", st.just(""))
# Text that is no CSV is refused: the shortener's tests have what there is of that.
ROWS = st.lists(st.tuples(URLS, SEGMENT), min_size=1, max_size=5)
schemathesis.openapi.media_type(
    "text/csv", ROWS.map(lambda rows: "".join(["longUrl,shortCode\n", *(f'"{url}",{code}\n' for url, code in rows)]).encode())
)
# Of states that are gone or never were, and of all. Real ones are in shortener's tests/it/preconditions.rs.
schemathesis.openapi.format("entity-tags", st.sampled_from(["*", '"1-1-0123456789ab"', 'W/"1-1-0"', '"x", "y"', '""']))

# Requests with one Idempotency-Key: the first, and those that are the same or differ.
USES_MAX = 3
uses = collections.Counter()
answers = collections.defaultdict(collections.Counter)


# What JSON Schema can't say of a request, by the reasons that it is refused for.
REASONS = {
    "is not after validSince",
    "is not for lists by visits, which have pages",
    "leads to this service itself",
}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if response.status_code != 400 or type(failure).__name__ != "RejectedPositiveData":
        return True
    reasons = set(response.json().get("reasons", {}).values())
    return not reasons or not reasons <= REASONS


# A key that were sent with everything would have nearly everything refused for it.
@schemathesis.hook
def before_call(context, case, kwargs):
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,200}", key):
        uses[key] += 1
        if uses[key] > USES_MAX:
            case.headers["Idempotency-Key"] = f"{key}-{uses[key]}"


@schemathesis.hook
def after_call(context, case, response):
    # Other methods are tried as well, to be refused.
    if response.request.method.lower() == case.operation.method:
        answers[case.operation.definition.raw["operationId"]][response.status_code] += 1


@atexit.register
def report():
    with open(os.environ["HOPLOG_ANSWERS"], "w", encoding="utf-8") as file:
        json.dump(answers, file)
