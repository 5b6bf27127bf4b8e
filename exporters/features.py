"""How a model that reads audio wants it: its feature extractor's settings, as a file of the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = "preprocessor_config.json"
COMPUTED = ("mel_filters", "window")  # transformers makes them from the others


def save_features(extractor: Any, folder: Path) -> None:
    """Writes `preprocessor_config.json` into `folder`."""
    settings = {name: value for name, value in extractor.to_dict().items() if name not in COMPUTED}
    (folder / FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
