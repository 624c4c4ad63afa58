"""Using a trained run: evaluate it again, recommend to a user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlmrec_fast import ops
from rlmrec_fast.training.checkpoint import load_best_part
from rlmrec_fast.training.evaluation import Evaluator, sorted_rows
from rlmrec_fast.training.model import create_backbone
from rlmrec_fast.training.run import RunFolder

if TYPE_CHECKING:
    import polars

    from rlmrec_fast.data import Dataset

HELD_OUT = ("validation", "test")


class Recommendation(NamedTuple):
    """One recommended item.

    Attributes:
        item: its integer id.
        id: its original id, or the integer as text where none is known.
        title: its title where known.
        score: dot product of the user's and the item's final embedding.
    """

    item: int
    id: str
    title: str | None
    score: float


class TrainedRun:
    """The best weights of a run, together with the data set they were trained on.

    The backbone alone is rebuilt: with whatever texts it was aligned, none are needed any more.

    Attributes:
        run: the run folder.
        dataset: the data set.
        epoch: the epoch of the weights.
        user_embedding: `[U, d']`.
        item_embedding: `[I, d']`.
    """

    def __init__(self, run: RunFolder, dataset: Dataset) -> None:
        run.config.data.check(dataset, texts=False)
        backbone = create_backbone(run.config.settings, dataset)
        header = load_best_part(run.best_path, "backbone", backbone, run.config.identity)
        self.run = run
        self.dataset = dataset
        self.epoch: int = header["epoch"]
        self.user_embedding, self.item_embedding = backbone.final()

    @classmethod
    def load(cls, path: Path | str, data: Path | str | None = None) -> TrainedRun:
        """Loads a run, finished or not.

        Args:
            path: the run folder.
            data: the data set's folder, if it is not where it was in training.

        Raises:
            FileNotFoundError: there is no run, no best checkpoint yet, or no data set.
            ValueError: a file is damaged, or the data set is not the one trained on.
        """
        from rlmrec_fast.data import Dataset

        run = RunFolder.open(path)
        return cls(run, Dataset.load(Path(data or run.config.data.path)))

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Recall@K and NDCG@K of a split.

        Raises:
            ValueError: the split is neither `validation` nor `test`.
        """
        if split not in HELD_OUT:
            raise ValueError(f"evaluate: split must be one of {', '.join(HELD_OUT)} (got {split})")
        evaluator = Evaluator(self.dataset.train, getattr(self.dataset, split))
        return evaluator(self.user_embedding, self.item_embedding)

    def recommend(self, user: int, k: int = 20) -> list[Recommendation]:
        """The best items for a user that the user has no training interaction with.

        Args:
            user: integer id.
            k: how many items, at least 1; fewer come back where fewer are left.

        Raises:
            ValueError: the user or k is out of range.
        """
        users = len(self.user_embedding)
        if not 0 <= user < users:
            raise ValueError(f"recommend: user must be in [0, {users}) (got {user})")
        if k < 1:
            raise ValueError(f"recommend: k must be at least 1 (got {k})")
        rows = self.dataset.train[[user]]
        items, scores = ops.rank(
            self.user_embedding[user : user + 1], self.item_embedding, k, sorted_rows(rows)
        )
        table = self.dataset.items
        return [
            Recommendation(item, *_id_and_title(table, item), score)
            for item, score in zip(items[0].tolist(), scores[0].tolist(), strict=True)
            if item >= 0
        ]

    def find_user(self, text: str) -> int:
        """The integer id of a user given as on the command line.

        Args:
            text: an original id where the data set knows them, else an integer id.

        Raises:
            ValueError: there is no such user; the message shows ids that exist.
        """
        users = len(self.user_embedding)
        table = self.dataset.users
        if table is None:
            if not text.isdecimal() or int(text) >= users:
                raise ValueError(
                    f"recommend: user must be an integer in [0, {users}) (got {text!r})"
                )
            return int(text)
        ids = table["id"].to_list()
        if text not in ids:
            examples = ", ".join(repr(known) for known in ids[:3])
            raise ValueError(
                f"recommend: user must be an original id of {self.dataset.name}, "
                f"such as {examples} (got {text!r})"
            )
        return ids.index(text)


def _id_and_title(table: polars.DataFrame | None, item: int) -> tuple[str, str | None]:
    if table is None:
        return str(item), None
    row = table.row(item, named=True)
    return row["id"], row["title"]
