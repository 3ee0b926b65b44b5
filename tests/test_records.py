"""JSON from outside is a whole record of ours, or is refused in a sentence."""

import json
from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel, ConfigDict

from napari_mtm.errors import StoreError, TrainingError
from napari_mtm.records import dump, parse, read, write


@dataclass(frozen=True)
class Inner:
    share: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        if self.share[0] > self.share[1]:
            raise TrainingError("A share must not end before it begins.")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = 1500
    best: float | None = None
    name: str = "run"
    inner: Inner = field(default_factory=Inner)
    scores: dict[str, list[float]] = {}


WHOLE = {"steps": 3, "best": 0.5, "name": "é", "inner": {"share": [0.2, 0.3]}, "scores": {"a": [1]}}


def changed(**changes: object) -> str:
    return json.dumps({k: v for k, v in (WHOLE | changes).items() if v != "gone"})


def test_a_record_comes_back_as_it_was(tmp_path):
    record = parse(Outer, changed(), "F", StoreError)
    assert record.inner == Inner((0.2, 0.3))
    assert parse(Outer, dump(record), "F", StoreError) == record
    write(tmp_path / "f.json", record)
    assert read(Outer, tmp_path / "f.json", StoreError) == record
    write(tmp_path / "inner.json", record.inner)
    assert read(Inner, tmp_path / "inner.json", StoreError) == record.inner


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (changed(steps="gone"), "lacks 'steps'"),
        (changed(best="gone"), "lacks 'best'"),
        (changed(inner={}), "inner lacks 'share'"),
        (changed(inner={"share": [0.2, 0.3], "more": 1}), "in inner.more"),
        (changed(more=1), "in more"),
        (changed(steps="3"), "in steps"),
        (changed(steps=3.0), "in steps"),
        (changed(steps=True), "in steps"),
        (changed(steps=None), "in steps"),
        (changed(name=5), "in name"),
        (changed(inner={"share": [0.1]}), "in inner.share"),
        (changed(inner={"share": [0.9, 0.3]}), "must not end before it begins"),
        (changed(best=float("nan")), "NaN"),
        (changed(best=float("inf")), "Infinity"),
        (changed(scores={"a": [1, float("-inf")]}), "Infinity"),
        (changed().replace("0.5", "1e999"), "not finite"),
        (changed().replace(": 3,", ": " + "9" * 5000 + ","), "."),
        ("[" * 100_000, "recursion"),
        ('{"steps": ' * 100_000, "recursion"),
        ("", "EOF"),
        ("[]", "object"),
        ("null", "object"),
        (changed()[:-1], "EOF"),
        (b"\xff\xfe{}", "JSON"),
    ],
    ids=range(24),
)
def test_what_is_no_whole_record_is_refused_in_a_sentence(text, why):
    with pytest.raises(TrainingError, match=r"^F is damaged: .*\.$") as told:
        parse(Outer, text, "F", TrainingError)
    assert why in str(told.value)
    assert len(str(told.value)) < 300
    assert "\n" not in str(told.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        read(Outer, tmp_path / "nothing.json", StoreError)
    with pytest.raises(StoreError, match="it is a folder"):
        read(Outer, tmp_path, StoreError)
