"""What a check of a run says: which files are wrong, what that concerns, and whether it can be put right."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["missing", "damaged", "contradicting", "stray"]


@dataclass(frozen=True)
class Finding:
    """One file that is not as the run's root says.

    `kind` is `missing`, `damaged` (it cannot be what was written), `contradicting` (it can be read, but not both it and
    what it follows from can be right) or `stray` (no commit names it, so nothing is lost by it). `concerns` says in
    words what lies in it, `family` and `level` where that belongs to a family, and `iterations` [first, stop) which of
    them. `repair` says what can be done ("rebuilt from the records"); empty where nothing can.
    """

    file: str
    kind: Kind
    concerns: str
    detail: str = ""
    family: str = ""
    level: int | None = None
    iterations: tuple[int, int] | None = None
    repair: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        why = f" ({self.detail})" if self.detail else ""
        how = f"; can be {self.repair}" if self.repair else ""
        return f"{self.file}: {self.kind}{why}: {self.concerns}{how}"


@dataclass
class Report:
    """The outcome of a check: how much was looked at, what was found, and what a repair has put right."""

    place: str
    state: str = ""
    version: int = 0
    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)

    @property
    def damage(self) -> list[Finding]:
        """The findings by which something is lost, as long as they are not repaired."""
        return [finding for finding in self.findings if finding.kind != "stray"]

    @property
    def strays(self) -> list[Finding]:
        """The files that no commit names."""
        return [finding for finding in self.findings if finding.kind == "stray"]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "path": self.place,
            "state": self.state,
            "format_version": self.version,
            "files": self.files,
            "bytes": self.bytes,
            "whole": not self.damage,
            "findings": [finding.to_json() for finding in self.findings],
            "repaired": [finding.to_json() for finding in self.repaired],
        }
