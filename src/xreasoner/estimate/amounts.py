"""What is known of the data of a run: how much was prepared already."""

from xreasoner.data.prepare import read_report
from xreasoner.estimate.time import Amount
from xreasoner.recipe.schema import Recipe


def known_amounts(recipe: Recipe) -> dict[str, Amount]:
    """Of stages whose data were prepared, for `run` or `data stats`."""
    folders = {name: recipe.run_dir / "data" / name for name in recipe.stages}
    reports = {name: read_report(f) for name, f in folders.items() if (f / "report.json").is_file()}
    return {
        name: Amount(report.kept, report.tokens / max(1, report.kept), is_measured=True)
        for name, report in reports.items()
    }
