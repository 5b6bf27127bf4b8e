"""Which model types the pages of what was tried tell as exported, as data for the errors that name another one.

python -m zen_edge.benchmarks.exported docs
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import zen_edge

OUT = Path(zen_edge.__file__).parent / "data" / "exported.json"
SECTIONS = {
    "encoder-decoders": ("coverage.md", "Exported"),
    "speech": ("coverage-speech.md", "Encoder-decoders, exported"),
    "ctc": ("coverage-speech.md", "One output for every frame (CTC), exported"),
    "encoders": ("coverage-encoders.md", "Exported"),
}
"""{kind: page, and the heading of its table}"""


def exported_types(docs: Path) -> dict[str, list[str]]:
    """{kind: model types} of the pages in `docs`; a form of a type, told behind a comma, counts as the type."""
    found = {}
    for kind, (page, heading) in SECTIONS.items():
        (section,) = re.findall(rf"^## {re.escape(heading)}: \d+\n(.*?)(?=^## |\Z)", (docs / page).read_text("utf-8"), re.M | re.S)
        found[kind] = sorted(set(re.findall(r"^\| ([a-z][\w-]*)[,\s]", section, re.M)) - {"model"})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Write which model types are exported.")
    parser.add_argument("docs", type=Path, help="the folder of the pages")
    OUT.write_text(json.dumps(exported_types(parser.parse_args().docs), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
