"""fetch: the raw tables of the window, as published."""

from pipeline import paths
from pipeline.context import Context
from pipeline.frames import write_tables


def run(context: Context) -> None:
    """The model's source -> build/raw."""
    write_tables(context.model.fetch(), context.root / paths.RAW)
