"""The pictures of docs/plots.md: the code of the page, run where they are kept.

python benchmarks/figure_plots.py                      # writes docs/figures/plots/
python benchmarks/figure_plots.py --folder build       # elsewhere, to compare
"""

import argparse
import contextlib
import re
from pathlib import Path

from common import FIGURES, ROOT

PAGE = ROOT / "docs" / "plots.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FIGURES / "plots", help="for them")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, object] = {}
    with contextlib.chdir(folder):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            exec(compile(block, PAGE.name, "exec"), names)


if __name__ == "__main__":
    main()
