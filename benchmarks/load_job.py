"""The composition that the load benchmark submits over and over: two tiny adapters, eight examples, a short search."""

from typing import Any

METHOD = "cma"
SETTINGS: dict[str, Any] = {"budget": 20}
EXAMPLES = [{"input": f"{a} plus {b}", "output": str(a + b)} for a, b in ((1, 2), (3, 4), (5, 2), (2, 2), (6, 1), (4, 4), (7, 2), (0, 3))]
