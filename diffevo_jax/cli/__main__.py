"""``python -m diffevo_jax.cli`` is the command."""

import sys

from diffevo_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
