"""Does with a running hoplog what Python's client for Shlink can do, through that client, unmodified.

usage: python3 pyshlink_client.py URL KEY
"""

import sys
import time

import requests
from shlink import Shlink

url, key = sys.argv[1:]
body = {"longUrl": "https://example.com/python", "customSlug": "python", "title": "Python"}
made = requests.post(f"{url}/rest/v3/short-urls", json=body, headers={"X-Api-Key": key}, timeout=30)
assert made.status_code == 201, made.text

shlink = Shlink(api_key=key, url=f"{url}/")
listed = shlink.list_short_urls()["shortUrls"]
assert "python" in [link["shortCode"] for link in listed["data"]], listed
assert listed["pagination"]["currentPage"] == 1, listed
link = shlink.get_short_url("python")
assert link["longUrl"] == "https://example.com/python" and link["title"] == "Python", link
unknown = shlink.get_short_url("no-such-link")
assert unknown["type"] == "https://shlink.io/api/error/short-url-not-found", unknown
stranger = Shlink(api_key="no key", url=url).list_short_urls()
assert stranger["type"] == "https://shlink.io/api/error/invalid-api-key", stranger

browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
visit = requests.get(f"{url}/python", headers={"User-Agent": browser}, allow_redirects=False, timeout=30)
assert visit.status_code == 302, visit
patience = time.monotonic() + 120
# Visits are counted after they were answered.
while (visits := shlink.list_visit_data("python")["visits"])["pagination"]["totalItems"] != 1:
    assert time.monotonic() < patience, visits
    time.sleep(0.1)
assert not visits["data"][0]["potentialBot"], visits
early = shlink.list_visit_data("python", endDate="2020-01-01T00:00:00Z", excludeBots=False)
assert early["visits"]["data"] == [], early
print("pyshlink: all as with Shlink")
