"""Says that make knows no such variable, and which one is meant: ``python3 tools/near.py DAT DATA LABELS …``."""

from __future__ import annotations

import difflib
import sys

name, *known = sys.argv[1:]
near = difflib.get_close_matches(name.upper(), known, 1, cutoff=0.5)
print(f"there is no variable {name}" + (f": did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"))
