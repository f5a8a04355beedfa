"""`python -m bench [ROW...] [--quick]`: all benchmarks, or those that are named."""

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import Final

from bench import (
    checking,
    costs,
    crawl,
    crawl_costs,
    crawl_list,
    fetch,
    fetch_through,
    forward,
    frontier,
    in_flight,
    latency,
    lone,
    many_hosts,
    metrics,
    new_hosts,
    queue_path,
    random_route,
    report,
    seed,
    start,
    streamed,
    tasks,
    waiting,
    workers,
)
from bench.measure import Row

ROWS: Final[dict[str, Callable[..., Row]]] = {
    "fetch": fetch.run,
    "queue": queue_path.run,
    "tasks": tasks.run,
    "latency": latency.run,
    "lone": lone.run,
    "seed": seed.run,
    "in_flight": in_flight.run,
    "waiting": waiting.run,
    "hosts": many_hosts.run,
    "new_hosts": new_hosts.run,
    "fetch_through": fetch_through.run,
    "streamed": streamed.run,
    "forward": forward.run,
    "workers": workers.run,
    "checking": checking.run,
    "crawl": crawl.run,
    "crawl_list": crawl_list.run,
    "frontier": frontier.run,
    "random": random_route.run,
    "metrics": metrics.run,
    "start": start.run,
    "costs": costs.run,
    "crawl_costs": crawl_costs.run,
}


def main() -> int:
    """Exit code 1 when a row could not be run; what was measured never decides it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="scaled down: shows that it works")
    words = parser.parse_args()
    if unknown := [name for name in words.rows if name not in ROWS]:
        parser.error(f"no row is called {unknown[0]}: expected some of {', '.join(ROWS)}")
    rows, broken = [], False
    for name in words.rows or ROWS:
        try:
            row = ROWS[name](quick=words.quick)
        except Exception:  # noqa: BLE001 - its traceback is printed, and the others run
            traceback.print_exc()
            broken = True
            continue
        rows.append(row)
        print("\n".join(report.render(row)), flush=True)
    if not words.rows and not words.quick and not broken:
        report.write_results(rows)
        print(f"written: {report.RESULTS.name}")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
