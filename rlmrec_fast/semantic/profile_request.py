"""What `profile` is asked for, and what it reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlmrec_fast.data.dataset import MANIFEST
from rlmrec_fast.semantic.endpoint import EndpointOptions
from rlmrec_fast.semantic.profile_plan import Asker
from rlmrec_fast.semantic.texts import SIDES

ONLY = ("both", *SIDES)


@dataclass(frozen=True)
class ProfileRequest:
    """What `profile` is asked for.

    Attributes:
        data: The data set's folder.
        asker: Model, prompts and parameters.
        endpoint: How the server is asked; None for a dry run.
        out: Where to write; the data set itself if None.
        store: The file that keeps the answers; beside `out` if None.
        side: `both`, `items` or `users`.
        limit: Only so many of each side, the first ones; None for all.
        concurrency: Requests under way at once.
        budget_requests: Budget over all runs with one store; None for no limit.
        budget_tokens: Likewise.
        replace_profiles: Whether profiles that are there are written anew.
        allow_missing: Whether to write the data set though profiles are missing.
        overwrite: Whether to replace another data set at `out`.
    """

    data: Path
    asker: Asker
    endpoint: EndpointOptions | None = None
    out: Path | None = None
    store: Path | None = None
    side: str = "both"
    limit: int | None = None
    concurrency: int = 8
    budget_requests: int | None = None
    budget_tokens: int | None = None
    replace_profiles: bool = False
    allow_missing: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.side not in ONLY:
            raise ValueError(f"--side must be one of {', '.join(ONLY)} (got {self.side!r})")
        sizes = {"--limit": self.limit, "--concurrency": self.concurrency}
        for name, value in {**sizes, "--sample": self.asker.sample}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 (got {value})")

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides to write, items first."""
        return SIDES if self.side == "both" else (self.side,)

    @property
    def place(self) -> Path:
        """Where to write.

        Raises:
            ValueError: Nothing was said, and the data set is RLMRec's own.
        """
        if self.out is None and not (self.data / MANIFEST).is_file():
            raise ValueError(
                f"profile: --out must name a folder to write, for {self.data} is RLMRec's own,"
                " which stays as it is (got nothing)"
            )
        return (self.out or self.data).resolve()

    @property
    def store_path(self) -> Path:
        """The file that keeps the answers."""
        return self.store or self.place.with_name(f"{self.place.name}.profiles.jsonl")


@dataclass
class SideCount:
    """What became of one side.

    Attributes:
        rows: Items or users.
        had: How many had a profile.
        unknown: About how many nothing is known that could be told.
        kept: How many answers an earlier run had got.
        asked: How many answers were got now.
        failed: Row -> why there is no answer.
        left: How many were not asked for, for want of budget or by --limit.
    """

    rows: int = 0
    had: int = 0
    unknown: int = 0
    kept: int = 0
    asked: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    left: int = 0


@dataclass
class ProfileReport:
    """What `profile` did, or would do.

    Attributes:
        out: The data set with the profiles.
        store: The file that keeps the answers.
        model: Who wrote them.
        sides: What became of each side.
        requests: Requests over all runs with this store; in a dry run those to come.
        tokens: Tokens likewise.
        written: Whether the data set was written.
        example: In a dry run the first question of each side.
        seconds: How long it took.
    """

    out: str
    store: str
    model: str
    sides: dict[str, SideCount]
    requests: int = 0
    tokens: int = 0
    written: bool = False
    example: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """The report for JSON."""
        return asdict(self)
