"""What a language model is told: texts with `$facts` and `$items` to be filled in, by domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

DOMAINS = ("books", "games", "places", "general")
VARIABLES = {"item": ("facts",), "user": ("facts", "items", "count")}
"""What a template of each side may name."""
NEEDED = {"item": "facts", "user": "items"}
"""What it must name."""

_DIVIDER = "---"


@dataclass(frozen=True)
class Prompt:
    """A template: what the model is to do, and what it is given to do it with.

    Attributes:
        system: The first message, as it is.
        user: The second one, with `$NAME` where something is filled in and `$$` for a dollar sign.
    """

    system: str
    user: str

    @classmethod
    def parse(cls, text: str, side: str, source: object) -> Prompt:
        """Reads a template: two texts with a line `---` between them.

        Args:
            text: The template.
            side: `item` or `user`.
            source: Where it is from, for messages.

        Raises:
            ValueError: It has no divider or names something unknown.
        """
        lines = text.splitlines()
        if _DIVIDER not in lines:
            raise ValueError(
                f"{source}: must have a line {_DIVIDER} between what the model is to do and what it"
                " is given (got none)"
            )
        at = lines.index(_DIVIDER)
        system, user = ("\n".join(part).strip() for part in (lines[:at], lines[at + 1 :]))
        found = {
            match["named"] or match["braced"] or ("" if match["escaped"] is None else "$")
            for match in Template.pattern.finditer(user)
        } - {"$"}
        known = VARIABLES[side]
        if found - set(known):
            wrong = ", ".join(f"${name}" for name in sorted(found - set(known)))
            raise ValueError(
                f"{source}: must name only {', '.join('$' + name for name in known)}, with $$ for a"
                f" dollar sign (got {wrong})"
            )
        if NEEDED[side] not in found:
            raise ValueError(f"{source}: must name ${NEEDED[side]} (got {user[:80]!r})")
        return cls(system, user)

    def messages(self, values: Mapping[str, str]) -> list[dict[str, str]]:
        """The messages to a model, with everything filled in."""
        filled = Template(self.user).substitute(values)
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": filled},
        ]


def read_prompts(source: Path | str) -> dict[str, Prompt]:
    """The prompts of a domain, or of a folder with `item.txt` and `user.txt`.

    Returns:
        `item` and `user` -> prompt.

    Raises:
        ValueError: There is no such domain, or a template is wrong.
        OSError: A file cannot be read.
    """
    if isinstance(source, str) and source not in DOMAINS:
        raise ValueError(f"--domain must be one of {', '.join(DOMAINS)} (got {source!r})")
    prompts = {}
    for side in VARIABLES:
        file = (files(__name__) / source if isinstance(source, str) else source) / f"{side}.txt"
        prompts[side] = Prompt.parse(file.read_text(encoding="utf-8"), side, file)
    return prompts


def write_templates(domain: str, folder: Path) -> list[Path]:
    """Writes the templates of a domain to a folder, to be edited.

    Raises:
        ValueError: There is no such domain.
        FileExistsError: A file is there already.
    """
    read_prompts(domain)
    paths = [folder / f"{side}.txt" for side in VARIABLES]
    for path in paths:
        if path.exists():
            raise FileExistsError(f"--write-templates: {path} must not exist (got a file)")
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        text = (files(__name__) / domain / path.name).read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")
    return paths
