"""The wait for the first result: importing, and the demo's table, in fresh processes.

    python benchmarks/first_result.py

Medians over fresh processes: seconds to import diffevo_jax beyond ``import jax``, and
seconds of ``diffevo evolve cartpole --seeds 8``, from the call to the printed table, beyond
importing jax and gymnax; of these the time to trace and compile the programs.
"""

import json
import statistics
import subprocess
import sys

from common import arguments, save, table

PROGRAM = """
import json, sys, time
begin = time.perf_counter(); import jax; jax_seconds = time.perf_counter() - begin
begin = time.perf_counter(); import diffevo_jax; ours = time.perf_counter() - begin
begin = time.perf_counter(); import gymnax; gymnax_seconds = time.perf_counter() - begin
spent = {"trace": 0.0, "lower": 0.0, "compile": 0.0}
names = {"jaxpr_trace": "trace", "jaxpr_to_mlir": "lower", "backend_compile": "compile"}
def listen(event, seconds, **_):
    for part, name in names.items():
        if part in event:
            spent[name] += seconds
jax.monitoring.register_event_duration_secs_listener(listen)
from diffevo_jax import cli
begin = time.perf_counter()
cli.main(["evolve", "cartpole", "--seeds", "8"])
first = time.perf_counter() - begin
print(json.dumps({"import jax": jax_seconds, "import diffevo_jax": ours,
                  "import gymnax": gymnax_seconds, "first result": first, **spent}))
"""


def main() -> None:
    options = arguments(__doc__ or "", seeds=5)
    runs = []
    for _ in range(2 if options.quick else options.seeds):
        out = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(out.stdout.splitlines()[-1]))
    rows = [
        {"what": what, "median": statistics.median(run[what] for run in runs)}
        | {"lowest": min(run[what] for run in runs), "highest": max(r[what] for r in runs)}
        for what in runs[0]
    ]
    save("first_result", options, rows)
    print(report(rows))


def report(rows: list[dict]) -> str:
    """The rows as a table."""
    lines = [
        [row["what"], *(f"{row[key]:.2f} s" for key in ("median", "lowest", "highest"))]
        for row in rows
    ]
    return table(["what", "median", "lowest", "highest"], lines)


if __name__ == "__main__":
    main()
