"""Asks a Prometheus every query of the dashboard, and of each alert the series that it looks at: none may be without data.

    queries.py URL CHART [--loads]

With --loads, models were in memory.
"""

import json
import pathlib
import re
import sys
import urllib.parse
import urllib.request

# What a life cycle without TLS does not have.
ABSENT = {"model_control_certificate_expiry_timestamp_seconds"}
# What one that loads nothing does not have.
MEMORY = {"model_control_loaded_model_memory_bytes", "model_control_model_time_to_first_token_seconds"}


def ask(url, query):
    """The number of series that the query has had within the last minute."""
    wrapped = f"last_over_time(({query})[60s:1s])"
    address = f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": wrapped})
    with urllib.request.urlopen(address, timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return sum(1 for series in result if series["value"][1] != "NaN")


def dashboard(chart):
    """Titles and queries, as Grafana would send them."""
    for file in sorted((chart / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        titles = [panel["title"] for panel in board["panels"]]
        assert len(set(titles)) == len(titles), "two panels of one title"
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                assert target["datasource"]["uid"] == "${datasource}", panel["title"]
                query = target["expr"].replace("$__rate_interval", "30s").replace("$instance", ".*")
                assert "$" not in query, query
                yield panel["title"], query


def alerts(chart):
    """The metrics of the alerts."""
    text = (chart / "alerts/model-control.rules.yaml").read_text()
    for name in sorted(set(re.findall(r"\b(?:model_control|process)_\w+", text))):
        yield f"alerts: {name}", name
    yield "alerts: up", 'up{job=~".*model-control.*"}'
    page = pathlib.Path("docs/operations.md").read_text()
    for name in re.findall(r"alert: (\w+)", text):
        assert f"### {name}\n" in page, f"docs/operations.md has no section {name}"
        assert f"operations.md#{name.lower()}\n" in text, f"{name} does not point to its section"
        tests = pathlib.Path("tools/prometheus/model-control.rules.test.yaml").read_text()
        assert f"- name: {name}\n" in tests, f"{name} has no test"


def main():
    url, chart, *flags = sys.argv[1:]
    chart = pathlib.Path(chart)
    absent = ABSENT if "--loads" in flags else ABSENT | MEMORY
    asked, empty = 0, []
    for title, query in [*dashboard(chart), *alerts(chart)]:
        asked += 1
        if not ask(url, query) and not any(name in query for name in absent):
            empty.append(f"{title}: {query}")
    print(f"queries: {asked} asked, {len(empty)} without data")
    if empty:
        sys.exit("\n".join(empty))


main()
