"""Messages are sentences that can be printed, whatever they quote."""

import pickle

from napari_mtm.errors import Cancelled, SourceError, in_short


def test_what_cannot_be_printed_is_not():
    assert str(SourceError("MOUSE\x1b[31m\n\x7f is no session.")) == "MOUSE?[31m?? is no session."
    assert str(SourceError("Größe: 5 µm, 中")) == "Größe: 5 µm, 中"


def test_the_middle_of_what_nobody_reads_is_left_out():
    message = str(SourceError(f"Unit {'x' * 10**6} is there twice. Name it once."))
    assert len(message) < 600
    assert message.startswith("Unit xxx")
    assert message.endswith("… is there twice. Name it once.".lstrip("…"))


def test_errors_go_between_processes():
    for error in (SourceError("It is damaged."), Cancelled()):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_what_a_library_says_becomes_a_phrase():
    assert in_short(ValueError("  Bad   thing.\nLine two")) == "Bad thing"
    assert in_short(KeyError()) == "KeyError"
    assert in_short(ValueError("malformed <ast.Name object at 0x7fb1343c8be0>")) == (
        "malformed <ast.Name object>"
    )
    assert len(in_short("x" * 5000)) == 160
