"""Results as a table that can be pasted into `benches/README.md` as it is."""

from collections.abc import Iterable

from benches.harness import Result

HEAD = ("suite", "case", "loop", "peer", "ours [best]", "theirs [best]", "unit", "ratio")


def table(results: Iterable[Result]) -> str:
    """A Markdown table with aligned columns: medians, and in brackets each side's best round."""
    lines = [HEAD, *(_line(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    written = [_join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    written.insert(1, _join("-" * width for width in widths))
    return "\n".join([*written, ""])


def _line(result: Result) -> tuple[str, ...]:
    row = result.row
    ours, theirs = _pair(row["ours"], result.best_ours), _pair(row["theirs"], result.best_theirs)
    return (row["suite"], row["case"], row["loop"], row["peer"], ours, theirs, row["unit"], f"{_short(row['ratio'])}x")


def _pair(median: float, best: float) -> str:
    return f"{_short(median)} [{_short(best)}]"


def _short(number: float) -> str:
    """Three digits that count."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _join(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
