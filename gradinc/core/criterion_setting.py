"""What a criterion is made for: the targets of a run's data and the outputs of its model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.outputs import Outputs


@dataclass(frozen=True)
class CriterionSetting:
    """What a criterion is made for.

    Attributes:
        data: name of the data set.
        classes: whether targets are labels of classes, not numbers.
        outputs: the outputs of the model that count, if tasks differ in them.
        weights: weight of each class, shape (outputs,); None if all are 1.
        fix: what to do if classes are needed and targets are numbers, for messages.
    """

    data: str
    classes: bool
    outputs: Outputs | None = None
    weights: Tensor | None = None
    fix: str = "choose a set with classes"

    def need_classes(self, criterion: str) -> None:
        """Refuse targets that are numbers.

        Args:
            criterion: the criterion's name.

        Raises:
            UserError: targets are numbers.
        """
        if not self.classes:
            what = f"data={self.data} has values, not classes"
            raise UserError(f"criterion={criterion}", what, f"Leave it out, or {self.fix}")
