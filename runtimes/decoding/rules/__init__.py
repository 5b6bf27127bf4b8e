"""The logits rules: one module each, found by walking this folder. To add one, add a file; nothing else names it.

A module holds `Options`, a frozen dataclass derived from `RuleOptions`: its fields are the rule's option names and defaults.
"""

import importlib
import pkgutil
from functools import cache

from zen_edge.runtimes.decoding.rule import RuleOptions


@cache
def option_classes() -> tuple[type[RuleOptions], ...]:
    """The `Options` of every rule, in the order in which the rules apply."""
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    classes: list[type[RuleOptions]] = [module.Options for module in modules]
    return tuple(sorted(classes, key=lambda options: options.ORDER))
