"""Wrong answers that students give, and exactly which graded cells each must lose: a file for each assignment."""

from book.tools.course.mutants import action, attention, cameras, sampling
from book.tools.course.mutants.mutant import Mutant, changed

MUTANTS: list[Mutant] = [*cameras.MUTANTS, *sampling.MUTANTS, *attention.MUTANTS, *action.MUTANTS]

__all__ = ["MUTANTS", "Mutant", "changed"]
