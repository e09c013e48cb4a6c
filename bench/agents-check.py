#!/usr/bin/env python3
"""Compares hoplog's classes of user agents with independent classifiers, over a real access log.

  pip install -r bench/agents-check-requirements.txt
  python3 bench/agents-check.py bench/data/access.log.gz

Browser and system are compared with uap-core (ua-parser), the device with Matomo's device detector, and whether it is
a bot with the majority of CrawlerDetect, crawler-user-agents and Matomo; how far each of these agrees is printed too.
Names are mapped through the tables below. Every difference that is not accepted, with its reason, in
agents-differences.tsv fails the check, and so does an accepted one that no longer occurs.

  python3 bench/agents-check.py LOG --clickhouse http://127.0.0.1:8123

compares, after `hoplog load --replay LOG` into an empty warehouse, the clicks per browser, os, device, bot and
bot_reason in ClickHouse with what the classifier says of the log's clicks, to the request. Needs no package.
Credentials go into the URL's userinfo. Exit status: 0 agrees, 1 differs, 64 wrong usage.
"""

import argparse
import base64
import collections
import csv
import gzip
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
ACCEPTED = ROOT / "bench" / "agents-differences.tsv"
FIELDS = ("browser", "os", "device", "bot")

# uap-core's names of browsers, where they differ from ours. It tells versions for phones apart; we do not.
BROWSERS = {
    "Android": "Android Browser",
    "Amazon Silk": "Silk",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "Webview",
    "Chromium": "Chrome",
    "Edge Mobile": "Edge",
    "Firefox iOS": "Firefox",
    "Firefox Mobile": "Firefox",
    "Google": "Google Search App",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "Iceweasel": "Firefox",  # Debian's name of Firefox until 2016
    "Mobile Safari": "Safari",
    "MobileSafari": "Safari",
    "Mobile Safari UI/WKWebView": "Webview",
    "Opera Mini": "Opera",
    "Opera Mobile": "Opera",
}
# uap-core's names of systems. Distributions are Linux to us.
SYSTEMS = {
    "Chrome OS": "ChromeOS",
    "CentOS": "Linux",
    "Debian": "Linux",
    "Fedora": "Linux",
    "FreeBSD": "BSD",
    "Gentoo": "Linux",
    "Linux Mint": "Linux",
    "Mac OS X": "macOS",
    "NetBSD": "BSD",
    "OpenBSD": "BSD",
    "Red Hat": "Linux",
    "SUSE": "Linux",
    "Ubuntu": "Linux",
}
# Matomo's device types.
DEVICES = {
    "desktop": "desktop",
    "smartphone": "mobile",
    "phablet": "mobile",
    "tablet": "mobile",
    "feature phone": "mobile",
    "portable media player": "mobile",
    "tv": "appliance",
    "console": "appliance",
    "smart display": "appliance",
}

QUOTED = r'"((?:[^"\\]|\\.)*)"'
# The requests that the replay takes: the pattern of replay-check.sh.
COMBINED = re.compile(
    r"[^ ]+ [^\[]*\[[^]]+\] \"([A-Z]+) (/[^ \"]*) HTTP/[^ \"]*\" ([1-9][0-9][0-9]) (?:[0-9]+|-) " + QUOTED + " " + QUOTED
)


def requests(log):
    """Method, path, status and user agent of each request in the log; an absent agent is empty."""
    with open(log, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(log, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            match = COMBINED.fullmatch(line.rstrip("\r\n"))
            if match:
                method, path, status, _, agent = match.groups()
                agent = re.sub(r'\\(["\\])', r"\1", agent)
                yield method, path, int(status), "" if agent == "-" else agent


def ours(agents, classifier):
    """What hoplog says: agent to (browser, os, device, bot, bot_reason)."""
    build = ["cargo", "run", "--quiet", "--release", "-p", "wide-event", "--example", "classify"]
    command = [pathlib.Path(classifier).resolve()] if classifier else build
    text = "".join(agent + "\n" for agent in agents)
    out = subprocess.run(command, cwd=ROOT, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()
    # From the right: an agent may hold a tab.
    rows = [line.rsplit("\t", 5) for line in out.removesuffix("\n").split("\n")]
    if len(rows) != len(agents) or any(len(row) != 6 for row in rows):
        sys.exit("the classifier did not answer each agent with one line of six fields")
    return {row[0]: tuple(row[1:]) for row in rows}


class Independent:
    """What the others say."""

    def __init__(self):
        try:
            import crawlerdetect
            import crawleruseragents
            import device_detector
            import ua_parser
        except ImportError as error:
            sys.exit(f"{error}: pip install -r bench/agents-check-requirements.txt")

        self.families = ua_parser.parse
        self.devices = lambda agent: device_detector.DeviceDetector(agent).parse()
        self.crawler_detect = crawlerdetect.CrawlerDetect()
        self.crawler_user_agents = crawleruseragents.is_crawler

    def bot(self, agent):
        """Each list's verdict."""
        return {
            "CrawlerDetect": bool(self.crawler_detect.isCrawler(agent)),
            "crawler-user-agents": bool(self.crawler_user_agents(agent)),
            "Matomo": bool(self.devices(agent).is_bot()),
        }

    def classes(self, agent):
        """Browser, os and device in our names."""
        found = self.families(agent)
        browser = found.user_agent.family if found.user_agent else ""
        system = found.os.family if found.os else ""
        device = self.devices(agent).device_type()
        return BROWSERS.get(browser, browser), SYSTEMS.get(system, system), DEVICES.get(device, device)


def accepted():
    """(field, ours, theirs, agent) to reason; the agent may be a pattern after `~`."""
    with open(ACCEPTED, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        if None in row or None in row.values() or not row["reason"].strip():
            sys.exit(f"{ACCEPTED.name}: a row needs all five fields and a reason: {row}")
    return rows


def covers(row, field, mine, theirs, agent):
    """Whether the accepted row is about this difference."""
    if (row["field"], row["ours"], row["theirs"]) != (field, mine, theirs):
        return False
    pattern = row["agent"]
    return re.search(pattern[1:], agent) is not None if pattern.startswith("~") else pattern == agent


def compare(weights, classifier):
    """Prints agreement and differences; whether all of them are accepted."""
    mine, independent = ours(list(weights), classifier), Independent()
    agreement = collections.defaultdict(lambda: [0, 0, 0, 0])
    differences = []

    def count(name, equal, weight):
        total = agreement[name]
        for at, value in enumerate((weight * equal, weight, int(equal), 1)):
            total[at] += value

    for agent, weight in weights.items():
        if not agent:
            continue  # nothing to classify; counted as no_user_agent
        *classes, bot, reason = mine[agent]
        votes = independent.bot(agent)
        majority = "1" if sum(votes.values()) >= 2 else "0"
        for name, vote in votes.items():
            count(f"bot, {name}", (bot == "1") == vote, weight)
        pairs = [("bot", bot, majority)]
        if bot == majority == "0":
            pairs += zip(FIELDS, classes, independent.classes(agent))
        for field, left, right in pairs:
            count(field + (", majority" if field == "bot" else ""), left == right, weight)
            if left != right:
                differences.append((field, left, right, weight, agent))

    print(f"{sum(weights.values())} requests, {len(weights)} distinct agents; {weights.get('', 0)} requests without one")
    print("\nagreement             requests                 distinct agents")
    for name, (equal, total, agents_equal, agents) in sorted(agreement.items()):
        shares = 100 * equal / total, 100 * agents_equal / agents
        print(f"{name:26} {equal:5} of {total:5}  {shares[0]:6.2f} %   {agents_equal:3} of {agents:3}  {shares[1]:6.2f} %")

    rows = accepted()
    used, unexplained = set(), 0
    print("\nfield    ours > theirs, requests, accepted because, agent")
    for difference in sorted(differences, key=lambda it: (FIELDS.index(it[0]), it[1], it[2], -it[3])):
        field, left, right, weight, agent = difference
        at = next((at for at, row in enumerate(rows) if covers(row, field, left, right, agent)), None)
        used.add(at)
        unexplained += at is None
        reason = "NOT ACCEPTED" if at is None else rows[at]["reason"]
        print(f"{field:8} {left or '(none)'} > {right or '(none)'}, {weight}, {reason}, {agent}")
    stale = [row for at, row in enumerate(rows) if at not in used]
    for row in stale:
        print(f"ACCEPTED BUT NOT FOUND: {row}")
    print(f"\n{len(differences)} differences, {unexplained} not accepted, {len(stale)} accepted ones not found")
    return not unexplained and not stale


def query(url, sql):
    """Rows of ClickHouse's answer, as lists of text."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), data=(sql + " FORMAT TabSeparated").encode())
    if parts.username:
        user = urllib.parse.unquote(parts.username) + ":" + urllib.parse.unquote(parts.password or "")
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [line.split("\t") for line in answer.read().decode().splitlines()]
    except urllib.error.HTTPError as error:
        sys.exit(f"ClickHouse: {error}: {error.read(500).decode(errors='replace').strip()}")
    except OSError as error:
        sys.exit(f"ClickHouse: {error}")


def clicks(log):
    """Clicks per user agent: GETs of links. A path that was answered 2xx or 3xx at least once is a link."""
    entries = list(requests(log))
    links = {path for _, path, status, _ in entries if 200 <= status < 400}
    return collections.Counter(agent for method, path, _, agent in entries if method == "GET" and path in links)


def replayed(log, url, classifier):
    """Whether ClickHouse has the classes of the log's clicks, to the request."""
    counts = clicks(log)
    mine = ours(list(counts), classifier)
    equal = True
    for at, column in enumerate(("browser", "os", "device", "bot", "bot_reason")):
        wanted = collections.Counter()
        for agent, weight in counts.items():
            wanted[mine[agent][at]] += weight
        sql = f"SELECT toString({column + ' ? 1 : 0' if column == 'bot' else column}), count() FROM hoplog.clicks GROUP BY {column}"
        found = collections.Counter({name: int(number) for name, number in query(url, sql)})
        same = wanted == found
        equal &= same
        print(f"clicks per {column}: {'equal' if same else 'DIFFERENT'} ({len(wanted)} values, {wanted.total()} clicks)")
        for name in sorted(wanted.keys() | found.keys()):
            if same and column != "bot_reason" or wanted[name] != found[name]:
                print(f"  {name or '(none)'}: log {wanted[name]}, ClickHouse {found[name]}")
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="access log in combined format, plain or gzipped")
    parser.add_argument("--clickhouse", metavar="URL", help="compare with a replay of the log instead")
    parser.add_argument("--classifier", metavar="FILE", help="the built example `classify`; default: cargo builds it")
    parser.error = lambda message: (parser.print_usage(sys.stderr), print(message, file=sys.stderr), sys.exit(64))
    arguments = parser.parse_args()
    if arguments.clickhouse:
        return replayed(arguments.log, arguments.clickhouse, arguments.classifier)
    return compare(collections.Counter(agent for *_, agent in requests(arguments.log)), arguments.classifier)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
