"""Everything that decides what a training run computes, validated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlmrec_fast.training.presets import ALIGNED, PUBLISHED, preset

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Settings(BaseModel):
    """The settings of one run. Two runs with equal settings and equal data end with equal bits.

    Fields that only some models have are None for the others. Build it with `Settings.of`, which
    starts from the published settings, or from keywords.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    align: Literal["none", "contrastive", "generative"] = "none"

    dim: Count
    num_layers: Annotated[int, Field(ge=0)]
    reg_weight: Weight
    batch_size: Count
    learning_rate: Positive
    max_epochs: Count
    eval_every: Count
    patience: Count
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    keep_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    augmentation: Literal["edge_drop", "node_drop", "random_walk"] | None = None
    cl_weight: Weight | None = None
    cl_temperature: Positive | None = None
    noise: Weight | None = None
    ssl_reg: Weight | None = None
    transformer_layers: Count | None = None
    num_heads: Count | None = None
    seed_num: Count | None = None
    mask_depth: Count | None = None
    fix_steps: Count | None = None
    num_intents: Count | None = None

    kd_weight: Weight | None = None
    kd_temperature: Positive | None = None
    mask_ratio: Share | None = None
    recon_weight: Weight | None = None
    recon_temperature: Positive | None = None
    projector_dtype: Literal["float32", "bfloat16"] | None = None

    @model_validator(mode="after")
    def _has_exactly_the_fields_of_its_model(self) -> Settings:
        for name, field in type(self).model_fields.items():
            given = getattr(self, name) is not None
            if field.is_required() or name == "align" or given == self._uses(name):
                continue
            verb = "not be set" if given else "be set"
            raise ValueError(f"{name} must {verb} for {self.model} with align {self.align}")
        return self

    def _uses(self, name: str) -> bool:
        aligned = self.align != "none" and name in ALIGNED
        return aligned or name in PUBLISHED.get((self.model, self.align), {})

    @classmethod
    def of(
        cls,
        model: str,
        align: str = "none",
        preset_name: str = "default",
        changes: Mapping[str, Any] | None = None,
    ) -> Settings:
        """The published settings of a model, with some of them changed.

        Args:
            model: backbone.
            align: `none`, `contrastive` or `generative`.
            preset_name: a data set with published settings, or `default`.
            changes: setting -> value; text is converted to the setting's type.

        Raises:
            ValueError: an unknown model, alignment, preset or setting, or a value out of bounds.
        """
        published = preset(model, align, preset_name)
        return cls.checked({"model": model, "align": align, **published, **(changes or {})})

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from a mapping, refused in the package's own words.

        Raises:
            ValueError: an unknown setting, a missing one, or a value out of bounds.
        """
        for name in values:
            if name not in cls.model_fields:
                raise ValueError(f"Settings: {_unknown(name, cls.model_fields)}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ValueError(f"Settings: {'; '.join(map(_in_words, error.errors()))}") from None

    def used(self) -> dict[str, Any]:
        """The settings that this model has, by name."""
        return self.model_dump(exclude_none=True)

    def digest(self) -> str:
        """A hash that differs between any two different settings."""
        text = json.dumps(self.used(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_changes(assignments: Iterable[str]) -> dict[str, str]:
    """Reads `key=value` texts.

    Raises:
        ValueError: a text without `=`, an unknown key, or a key given twice.
    """
    changes: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ValueError(f"--set: a setting must be given as key=value (got {assignment!r})")
        if name not in Settings.model_fields:
            raise ValueError(f"--set: {_unknown(name, Settings.model_fields)}")
        if name in changes:
            raise ValueError(f"--set: {name} must be given once (got {assignment!r} as well)")
        changes[name] = value
    return changes


def _unknown(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"the setting must be one of {', '.join(names)} (got {name!r}{hint})"


def _in_words(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{name} must be given"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{name} {message} (got {error['input']!r})" if name else message
