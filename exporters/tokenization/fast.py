"""Whatever transformers runs through the `tokenizers` library: one file, tokenizer.json."""

import json
from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import language_settings, text_settings, write_json

CLASS = "TokenizersBackend"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    # A call of transformers leaves its own choice behind; it sets both anew each time.
    write_json(content | {"truncation": None, "padding": None}, folder / "tokenizer.json")
    # transformers cleans no spaces after BPE, whatever the option says, unless a second option insists.
    cleans = content["model"]["type"] != "BPE" or tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return {
        "kind": "fast",
        **text_settings(tokenizer),
        "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces and cleans),
        **language_settings(tokenizer),
    }
