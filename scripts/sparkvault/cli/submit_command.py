"""A command whose line mixes sparkvault's options with spark-submit's flags, in any order."""

from typing import Any

from typer.core import TyperCommand, TyperOption

from sparkvault.spark_submit import check_flags, split

#: Where the flags for Spark wait for the command's function.
SPARK_ARGUMENTS = "sparkvault.spark_arguments"


class SparkSubmitCommand(TyperCommand):
    """Takes spark-submit's flags out of the line, refuses those that are not a person's, and parses the rest."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the line; the flags for Spark are left in ``ctx.meta[SPARK_ARGUMENTS]``."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, TyperOption)]
        names: dict[bool, list[str]] = {True: [], False: []}
        for option in options:
            names[option.is_flag] += [*option.opts, *option.secondary_opts]
        line = split(args, own_values=names[False], own_switches=names[True])
        if not {"-h", "--help"} & set(line.own):
            check_flags(line.spark)
        ctx.meta[SPARK_ARGUMENTS] = line.spark
        return super().parse_args(ctx, [*line.own, "--", *line.rest])


def spark_arguments(ctx: Any) -> list[str]:
    """The flags for Spark of the line that this context parsed."""
    found: list[str] = ctx.meta[SPARK_ARGUMENTS]
    return found
