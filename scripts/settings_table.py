"""Write the table of settings into docs/operations.md; a test holds it equal to the code."""

import json
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from service.settings import ServiceSettings

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
START = "<!-- settings: written by scripts/settings_table.py -->\n"
END = "<!-- end of settings -->\n"


def table() -> str:
    """One row per setting, in the order of the code."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in ServiceSettings.model_fields.items():
        if not field.description:
            raise ValueError(f"{name} has no description")
        rows.append(f"| `NI_{name.upper()}` | {shown(field)} | {cell(field.description)} |")
    return "\n".join(rows) + "\n"


def cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


def shown(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "computed"
    value = to_jsonable_python(field.default)
    if value in (None, [], ""):
        return "none"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def with_table(page: str) -> str:
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}{table()}{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
