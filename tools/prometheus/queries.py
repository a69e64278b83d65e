"""Asks a Prometheus every query of the dashboard, and every selector of the alerts: none may be without data.

    queries.py URL CHART [--loads]

With --loads, models were in memory. The rules themselves must have been evaluated without a fault, and the alerts that the life
cycle leads to must be there.
"""

import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

# What a life cycle that loads nothing does not have.
MEMORY = {"model_control_loaded_model_memory_bytes", "model_control_model_time_to_first_token_seconds"}
# A disk that fills up is not had here. The metric and the label are; that the value is one of the program's, its list tells.
NO_SUCH_VALUE = {'model_control_operations_ended_total{reason="DISK_FULL"}'}
REASONS = pathlib.Path("docs/status-codes.md")
# What the life cycle leads to: a certificate of two days, and a model that cannot come.
RAISED = {"ModelControlCertificateExpires": "firing", "ModelControlModelBelowLevel": "pending"}
PATIENCE = 30


def get(url, path):
    with urllib.request.urlopen(f"{url}/api/v1/{path}", timeout=10) as answer:
        return json.load(answer)["data"]


def ask(url, query):
    """The number of series that the query has had within the last minute."""
    wrapped = f"last_over_time(({query})[60s:1s])"
    result = get(url, "query?" + urllib.parse.urlencode({"query": wrapped}))["result"]
    return sum(1 for series in result if series["value"][1] != "NaN")


def dashboard(chart):
    """Titles and queries, as Grafana would send them, without what answers in the place of data."""
    for file in sorted((chart / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        titles = [panel["title"] for panel in board["panels"]]
        assert len(set(titles)) == len(titles), "two panels of one title"
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                assert target["datasource"]["uid"] == "${datasource}", panel["title"]
                query = target["expr"].replace("$__rate_interval", "30s").replace("$instance", ".*")
                query = re.sub(r"\s+or\s+(?:on\(\)\s*)?vector\([^)]*\)", "", query)
                assert "$" not in query and "vector(" not in query, query
                yield panel["title"], query


def selectors(expression):
    """What an expression looks at: metrics with their labels."""
    yield from set(re.findall(r"\b(?:(?:model_control|process)_\w+|up\b)(?:\{[^}]*\})?", expression))


def alerts(rules):
    """The selectors of the alerts, those as they are that can be had."""
    for rule in rules:
        found = sorted(selectors(rule["query"]))
        assert found, f"{rule['name']} looks at no metric"
        for selector in found:
            if selector in NO_SUCH_VALUE:
                name, label, value = re.fullmatch(r'(\w+)\{(\w+)="(\w+)"\}', selector).groups()
                assert f"| `{value}` |" in REASONS.read_text(), f"{rule['name']}: {REASONS} has no {value}"
                selector = f'{name}{{{label}!=""}}'
            yield f"alert {rule['name']}", selector


def evaluated(url, text):
    """The rules, once each has been evaluated; in the file's order."""
    names = re.findall(r"alert: (\w+)", text)
    end = time.monotonic() + PATIENCE
    while True:
        rules = [rule for group in get(url, "rules")["groups"] for rule in group["rules"]]
        states = {rule["name"]: rule["state"] for rule in rules}
        if all(rule["health"] == "ok" for rule in rules) and RAISED.items() <= states.items():
            break
        if time.monotonic() > end:
            sys.exit(f"rules: {[(r['name'], r['health'], r.get('lastError', ''), r['state']) for r in rules]}, want {RAISED}")
        time.sleep(0.5)
    assert [rule["name"] for rule in rules] == names, f"Prometheus has other rules than the file: {rules}"
    return rules


def documented(text):
    page = pathlib.Path("docs/operations.md").read_text()
    tests = pathlib.Path("tools/prometheus/model-control.rules.test.yaml").read_text()
    for name in re.findall(r"alert: (\w+)", text):
        assert f"### {name}\n" in page, f"docs/operations.md has no section {name}"
        assert f"operations.md#{name.lower()}\n" in text, f"{name} does not point to its section"
        assert f"- name: {name}\n" in tests, f"{name} has no test"


def main():
    url, chart, *flags = sys.argv[1:]
    chart = pathlib.Path(chart)
    absent = set() if "--loads" in flags else MEMORY
    text = (chart / "alerts/model-control.rules.yaml").read_text()
    documented(text)
    rules = evaluated(url, text)
    asked, empty = 0, []
    for title, query in [*dashboard(chart), *alerts(rules)]:
        asked += 1
        if not ask(url, query) and not any(name in query for name in absent):
            empty.append(f"{title}: {query}")
    print(f"queries: {asked} asked, {len(empty)} without data; {len(rules)} rules evaluated")
    if empty:
        sys.exit("\n".join(empty))


main()
