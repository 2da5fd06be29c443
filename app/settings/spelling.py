"""Unknown DLR_ variables, and which of them are misspelt names of known ones."""

from __future__ import annotations

from collections.abc import Iterable

from app.settings.fields import FILE, PREFIX, SECRETS, Settings, variable

_OF_OTHERS = ("DLR_API_", "DLR_TEST_")
"""What else begins with PREFIX: the variables of the commands that call a service, and of tests."""
_TYPO = 2
"""The largest edit distance at which a name counts as misspelt."""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """The names that begin with PREFIX and are not known, in order."""
    known = _known()
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(_OF_OTHERS)
        and name.upper() not in known
    )


def misspelt(environment: Iterable[str]) -> dict[str, str]:
    """The fields that are not set although a variable of nearly this name is, as errors."""
    given = {name.upper() for name in environment}
    errors: dict[str, str] = {}
    for unknown in unknown_variables(environment):
        for meant, name in _known().items():
            is_set = variable(name) in given or variable(name) + FILE in given
            if not is_set and _edits(unknown.upper(), meant) <= _TYPO:
                errors[name] = f"is not set, but {unknown} is, which is not known: a typing error?"
    return errors


def _edits(one: str, other: str) -> int:
    """The optimal string alignment distance (Damerau-Levenshtein where no letter is edited twice):
    how many letters to add, remove, replace or swap with their neighbour. More than _TYPO where the
    lengths already differ by that much.
    """
    if abs(len(one) - len(other)) > _TYPO:
        return _TYPO + 1
    before_last: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and wanted == one[i - 2]:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        before_last, last = last, row
    return last[-1]


def _known() -> dict[str, str]:
    """The field of each known variable."""
    return {variable(name): name for name in Settings.model_fields} | {
        variable(name) + FILE: name for name in SECRETS
    }
