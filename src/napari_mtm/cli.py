"""The command line.

Exit codes: 0 done, 1 a bug, 2 a mistake that the person can mend (one or two
sentences on stderr), 130 interrupted.
"""

import argparse
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from napari_mtm import __version__
from napari_mtm.errors import MtmError
from napari_mtm.files import is_folder, shortened
from napari_mtm.progress import part
from napari_mtm.terminal import bar, training

if TYPE_CHECKING:
    from napari_mtm.model.grid import Grid
    from napari_mtm.model.model import Preset
    from napari_mtm.recording.preparation import Preparation
    from napari_mtm.recording.session import Session
    from napari_mtm.training.objective import Masking
    from napari_mtm.training.run import Run
    from napari_mtm.training.settings import Settings

_ONE = (
    "ONE cache folder, folder of a release, or address of an Alyx server; "
    '"brain-wide-bench" for a session that is published there'
)

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    _print_anything()
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        with nullcontext() if command is _open else _ending_at_sigterm():
            command(options)
        sys.stdout.flush()
    except MtmError as error:
        return _ended(2, str(error))
    except KeyboardInterrupt:
        return _ended(130, "interrupted")
    except BrokenPipeError:  # whoever read what was printed has enough
        _print_no_more()
    except OSError as error:  # of what is printed, or of a disk that nobody foresaw
        _print_no_more()
        where = f"{shortened(error.filename)}: " if error.filename else ""
        return _ended(2, f"{where}{error.strerror or error}.")
    except MemoryError:
        return _ended(2, "There is not enough memory for this.")
    return 0


def _ended(code: int, message: str) -> int:
    with suppress(OSError):
        print(f"napari-mtm: {message}", file=sys.stderr, flush=True)
    return code


def _print_anything() -> None:
    """Let no letter end a command that the output has no code for, as into a file on Windows."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _print_no_more() -> None:
    """Let Python not try again, at its end, to print what could not be printed."""
    with suppress(OSError):  # where it is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, and then the process as it would have.

    What the command began, processes and files, ends with it. A window needs none of this: it
    is Qt that waits there, not Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments in one line."""
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="napari-mtm",
        description="See, mask and reconstruct Neuropixels recordings. "
        "Without a command: open napari on the sample session.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command=_open, source="sample", one=None, preparation=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    _add_sessions(add)
    _add_models(add)
    return parser


_Add = Callable[[str, Command, str], argparse.ArgumentParser]


def _add_sessions(add: _Add) -> None:
    """Add the commands that are about sessions."""
    sub = add("open", _open, "open napari on a session")
    _add_source(sub, nargs="?")
    sub = add("search", _search, "look for sessions on a server, in a ONE cache or in a folder")
    sub.add_argument(
        "--one",
        required=True,
        metavar="PLACE",
        help="address of an Alyx server, or folder of a ONE cache, a release or sessions; "
        '"recent" for what was prepared before, "brain-wide-bench" for one of its sessions by --id',
    )
    sub.add_argument(
        "--user", metavar="NAME", help="log in as, with the password in NAPARI_MTM_ONE_PASSWORD"
    )
    sub.add_argument("--region", default="", metavar="A", help="Beryl name, such as CA1")
    sub.add_argument("--subject", default="", metavar="S", help="part of the animal's name")
    sub.add_argument("--lab", default="", metavar="L", help="part of the lab's name")
    sub.add_argument("--project", default="", metavar="P", help="part of a project's name")
    sub.add_argument("--date", default="", metavar="FROM:TO", help="days, as 2019-01-01:2020-12-31")
    sub.add_argument("--id", default="", metavar="ID", help="of a session, or of a probe")
    sub.add_argument("--list", choices=("paper", "repeated-site"), help="only these sessions")
    sub.add_argument("--json", action="store_true", help="print the table as JSON")
    sub = add("info", _info, "say what a session holds before preparing it")
    _add_source(sub)
    sub = add("prepare", _prepare, "bin sessions once, to open them instantly afterwards")
    _add_source(sub, nargs="*", default=())
    sub.add_argument(
        "--from",
        dest="listed",
        type=Path,
        metavar="FILE",
        help="prepare the sources in this file too, one on a line",
    )
    sub.add_argument(
        "--list",
        choices=("paper", "held-out", "training", "repeated-site"),
        help="prepare these sessions of IBL's public database too; with --one",
    )
    sub.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="STORE",
        help="file to write, or for several sessions the folder to write them to",
    )
    sub.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes, default one per core; fewer need less memory",
    )

    sub = add("login", _login, "log in to an Alyx server; ONE keeps the login")
    sub.add_argument(
        "address", nargs="?", metavar="URL", help="default IBL's public database, OpenAlyx"
    )
    sub.add_argument("--user", metavar="NAME", help="default what NAPARI_MTM_ONE_USER says")
    sub.add_argument(
        "--token",
        action="store_true",
        help="log in with a token, of an account without a password; it stands at URL/me",
    )

    sub = add("simulate", _simulate, "write simulated sessions as a ONE cache")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    sub.add_argument("--animals", type=int, default=1, metavar="N", help="default 1")
    sub.add_argument("--seed", type=int, default=0, help="default 0")
    sub.add_argument("--units", type=int, default=300, metavar="N", help="good units, default 300")
    sub.add_argument("--trials", type=int, default=400, metavar="N", help="default 400")
    sub.add_argument("--regions", metavar="A,B,...", help="default VISa,CA1,DG,LP,PO")

    sub = add("cache", _cache, "list the prepared sessions that are kept, or clear them")
    sub.add_argument("action", nargs="?", choices=("list", "clear"), default="list")
    sub.add_argument(
        "--unused-days", type=float, default=0.0, metavar="D", help="clear only what is older"
    )


def _add_models(add: _Add) -> None:
    """Add the commands that are about models."""
    sub = add("pretrain", _pretrain, "train a new model on many sessions; also under torchrun")
    sub.add_argument(
        "sources",
        nargs="*",
        metavar="STORE",
        help="prepared sessions, or folders of them; also what `open` takes",
    )
    sub.add_argument("--preset", choices=("default", "published"), default="default")
    sub.add_argument(
        "--masking",
        choices=("mtm", "temporal"),
        default="mtm",
        help="the four tasks in turn (default), or random bins of all units, the paper's baseline",
    )
    _add_training(sub)

    sub = add("finetune", _finetune, "train a model on one session more")
    sub.add_argument(
        "--model",
        default="pretrained",
        metavar="M",
        help='weights to begin with: a file, "sample", "pretrained" (default), or "new" for a new '
        "model",
    )
    sub.add_argument("--session", metavar="S", help="what `open` takes")
    sub.add_argument(
        "--scope",
        choices=("auto", "units", "lora", "full"),
        default="auto",
        help="which weights move: the session's units alone, low-rank updates of the transformer "
        "too, or all; by default each is tried for a tenth of the steps",
    )
    _add_training(sub)

    sub = add("reproduce", _reproduce, "the paper's comparisons as one table, with intervals")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the study")
    data = sub.add_mutually_exclusive_group()
    data.add_argument(
        "--one",
        metavar="ONE",
        help="ONE cache folder or Alyx address with the paper's sessions; else simulated",
    )
    data.add_argument(
        "--stores",
        nargs="+",
        metavar="STORE",
        help="prepared sessions, or folders of them, of two animals or more: each animal is left "
        "out in turn",
    )
    sub.add_argument("--quick", action="store_true", help="a small study, in minutes")
    sub.add_argument("--seeds", type=int, metavar="N", help="trainings of each model; default 3")
    sub.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that share the work"
    )
    sub.add_argument("--device", help='such as "cpu" or "cuda"; default the GPU if there is one')

    sub = add("evaluate", _evaluate, "score a model on the paper's four tests, beside baselines")
    sub.add_argument(
        "--model", required=True, metavar="M", help='file of weights, "sample" or "pretrained"'
    )
    sub.add_argument(
        "--session",
        required=True,
        metavar="S",
        help='"sample", a session folder or file, a prepared store, or an eid with --one',
    )
    sub.add_argument("--one", metavar="ONE", help=_ONE)
    sub.add_argument("--units", choices=("good", "all"), default="good", help="default good")
    sub.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=M",
        help="another model to score beside it, under a name; may be repeated",
    )
    sub.add_argument(
        "--quick",
        action="store_true",
        help="hold out groups of about 5%% of the units at once: far cheaper, not exact",
    )
    sub.add_argument(
        "--no-slow-levels",
        action="store_true",
        help="neither models nor baselines know how each unit's level drifts over the session",
    )
    sub.add_argument(
        "--published-decoding",
        action="store_true",
        help="decode behaviour as the paper does, from flattened log rates",
    )
    sub.add_argument(
        "--protocol",
        choices=("paper", "brain-wide-bench"),
        default="paper",
        help="whose tests; brain-wide-bench scores windows of 1 s; default paper",
    )
    sub.add_argument("--device", help='such as "cpu" or "cuda"; default the GPU if there is one')
    sub.add_argument("--json", type=Path, metavar="F", help="write the scores here")

    sub = add(
        "import-published",
        _import_published,
        "read a checkpoint of the paper's authors; nothing in it is run",
    )
    sub.add_argument("file", type=Path, metavar="FILE.pt")
    sub.add_argument("--out", type=Path, required=True, metavar="F", help="file to write")


def _add_source(
    parser: argparse.ArgumentParser,
    nargs: str | None = None,
    default: str | Sequence[str] = "sample",
) -> None:
    parser.add_argument(
        "source",
        nargs=nargs,
        default=default,
        metavar="SOURCE",
        help='"sample", a session folder or file, a prepared store, or an eid with --one',
    )
    parser.add_argument("--one", metavar="ONE", help=_ONE)
    parser.add_argument("--units", choices=("good", "all"), default="good", help="default good")
    parser.add_argument("--min-rate", type=float, default=0.0, metavar="HZ", help="spikes/s")
    parser.add_argument(
        "--align", default="stimOn_times", metavar="EVENT", help='trials column, or "any-time"'
    )
    parser.add_argument(
        "--window", type=float, nargs=2, default=(-0.5, 1.5), metavar=("START", "STOP"), help="s"
    )
    parser.add_argument("--bin-size", type=float, default=0.02, metavar="S", help="default 0.02")


def _add_training(parser: argparse.ArgumentParser) -> None:
    """Add what pretraining and fine-tuning share; what is not given is as the preset has it."""
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out, if there is one, with its own settings and sessions",
    )
    parser.add_argument("--steps", type=int, metavar="N")
    parser.add_argument("--batch", type=int, metavar="N", help="trials in a batch")
    parser.add_argument(
        "--batches", type=int, metavar="N", help="batches in a step, shared by all processes"
    )
    parser.add_argument("--rate", type=float, metavar="R", help="highest learning rate")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--check-every", type=int, metavar="N", help="steps between validations")
    parser.add_argument(
        "--patience", type=int, metavar="N", help="validations without gain before stopping early"
    )
    parser.add_argument("--device", help='such as "cpu" or "cuda"; default the GPU if there is one')
    parser.add_argument("--one", metavar="ONE", help=_ONE)
    parser.add_argument("--units", choices=("good", "all"), default="good", help="default good")


def _preparation(options: argparse.Namespace) -> "Preparation":
    from napari_mtm.recording.preparation import Preparation

    return Preparation(
        units=options.units,
        min_rate=options.min_rate,
        align=options.align,
        window=tuple(options.window),
        bin_size=options.bin_size,
    )


def _open(options: argparse.Namespace) -> None:
    from napari_mtm.ui.heap import keep_memory_together

    keep_memory_together()
    from napari_mtm.ui.launch import launch

    preparation = _preparation(options) if hasattr(options, "units") else None
    launch(options.source, one=options.one, preparation=preparation)


def _search(options: argparse.Namespace) -> None:
    from napari_mtm.recording.catalogue.looking import COLUMNS, look
    from napari_mtm.recording.catalogue.query import Query
    from napari_mtm.recording.presets import eids

    query = Query(
        subject=options.subject,
        lab=options.lab,
        project=options.project,
        region=options.region,
        id=options.id,
        among=frozenset(eids(options.list)) if options.list else None,
    ).between(options.date)
    with bar("looking") as progress:
        listing = look(options.one, query, progress, user=options.user)
    for note in listing.notes:
        print(f"napari-mtm: {note}", file=sys.stderr)
    if options.json:
        rows = [{name: getattr(f, name) for name in COLUMNS} for f in listing.sessions]
        print(json.dumps(rows, indent=1))
        return
    for f in listing.sessions:
        size = "" if f.megabytes is None else f"{f.megabytes:.1f} MB"
        here = "on disk" if f.on_disk else ""
        regions = ", ".join(f.regions or ())
        probes = ", ".join(f.probes)
        print(f"{f.eid}  {f.name:<28} {f.lab:<16} {probes:<18} {size:>10}  {here:<7}  {regions}")
    n = len(listing.sessions)
    print(f"{n} session{'' if n == 1 else 's'}", file=sys.stderr)


def _info(options: argparse.Namespace) -> None:
    from napari_mtm.recording.opening import survey_source
    from napari_mtm.recording.store import is_store, open_store

    if is_store(Path(options.source)):
        print(open_store(Path(options.source), verify=True).describe())
        return
    preparation = _preparation(options)
    found = survey_source(options.source, one=options.one, preparation=preparation)
    print(f"session    {found.title}\nid         {found.id}")
    print(f"probes     {', '.join(p or 'one' for p in found.probes)}")
    print(f"trials     {'no trials table' if found.n_trials is None else found.n_trials}")
    print(f"reads      {found.read_mb:.1f} MB of spikes")
    for choice in found.choices:
        size = "" if choice.counts_mb is None else f", {choice.counts_mb:.1f} MB of counts"
        print(f"units      {choice.units:<5}{choice.n_units:>6} units{size}")
    for note in found.notes:
        print(f"note       {note}")


def _prepare(options: argparse.Namespace) -> None:
    from napari_mtm.recording.opening import sessions_of
    from napari_mtm.recording.presets import eids

    listed = _lines(options.listed) if options.listed else []
    listed += eids(options.list) if options.list else ()
    sources = [*options.source, *listed]
    if not sources:
        raise MtmError(
            "There is nothing to prepare: name a SOURCE, or with --from or --list a list of some."
        )
    if listed or len(sources) > 1 or len(sessions_of(sources[0], one=options.one)) > 1:
        _prepare_many(options, sources)
    else:
        _prepare_one(options, sources[0])


def _prepare_one(options: argparse.Namespace, source: str) -> None:
    from napari_mtm.recording.opening import find_source, open_session
    from napari_mtm.recording.prepare import prepare
    from napari_mtm.recording.store import is_store, save_session, store_path

    if is_store(Path(source)):
        raise MtmError(f"{source} is a prepared session already.")
    preparation = _preparation(options)
    found = find_source(source, one=options.one)
    out = store_path(options.out, found.name)
    with bar("preparing") as progress:
        found.fetch(part(progress, 0.0, 0.5))
        session = prepare(found.read(), preparation, progress=part(progress, 0.5, 1.0))
    save_session(session, out)
    print(open_session(out).describe())
    print(f"{'store':<11}{out} ({out.stat().st_size / 1e6:.1f} MB)")


def _prepare_many(options: argparse.Namespace, sources: Sequence[str]) -> None:
    from napari_mtm.recording.many import prepare_many

    with bar("preparing") as progress:
        outcomes = prepare_many(
            sources,
            options.out,
            _preparation(options),
            one=options.one,
            workers=options.workers,
            progress=progress,
        )
    width = max((len(o.name) for o in outcomes), default=0)
    for o in outcomes:
        found = f"{o.units:6} units {o.trials:6} trials {o.size / 1e6:9.1f} MB"
        print(f"{o.name:<{width}}  {o.status:<13}  {o.why or found}")
    failed = sum(o.status == "failed" for o in outcomes)
    if failed:
        raise MtmError(
            f"{failed} of {len(outcomes)} sessions could not be prepared, as the table says; "
            "the same command tries those again."
        )


def _lines(file: Path) -> list[str]:
    """Lines of a text file, without blank ones and comments."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise MtmError(f"Cannot read {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise MtmError(f"{file} is no text; --from needs a source on each line.") from None
    return [line for line in lines if line and not line.startswith("#")]


def _login(options: argparse.Namespace) -> None:
    from napari_mtm.recording.servers import OPENALYX, PASSWORD, TOKEN, USER, cache_folder, login

    address, user = options.address or OPENALYX, options.user or os.environ.get(USER)
    if options.token:
        user = login(address, user=user, token=_secret(f"Token of {address}/me: ", TOKEN))
    else:
        user = user or _typed("User: ", USER, input)
        user = login(address, user=user, password=_secret(f"Password of {user}: ", PASSWORD))
    print(f"logged in to {address} as {user}; downloads go to {cache_folder(address)}")


def _secret(question: str, name: str) -> str:
    """A password or a token, from the environment or typed, where it is not shown."""
    from getpass import getpass

    return os.environ.get(name) or _typed(question, name, getpass)


def _typed(question: str, name: str, ask: Callable[[str], str]) -> str:
    """What a person answers; MtmError where there is none to ask."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise MtmError(f"There is no terminal to ask on; set {name} in the environment.")
    with suppress(EOFError):
        if answer := ask(question):
            return answer
    raise MtmError("Nothing was typed, so nobody is logged in.")


def _simulate(options: argparse.Namespace) -> None:
    from napari_mtm.recording.simulation.animal import Recipe
    from napari_mtm.recording.simulation.cache_writer import simulate

    regions = {"areas": tuple(options.regions.split(","))} if options.regions else {}
    recipe = Recipe(options.seed, options.units, options.trials, **regions)
    with bar("simulating") as progress:
        folders = simulate(options.out, recipe, animals=options.animals, progress=progress)
    for folder in folders:
        print(folder)


def _pretrain(options: argparse.Namespace) -> None:
    from napari_mtm.recording.opening import open_session
    from napari_mtm.training.pretraining import pretrain
    from napari_mtm.training.world import leads

    sources = _sources_of_run(options) or [
        path for source in options.sources for path in _sessions_in(source, options.one)
    ]
    if not sources:
        raise MtmError("There is nothing to train on: name prepared sessions, or a run to resume.")
    sessions = []
    for source in sources:
        with bar(f"opening {source}") as progress:
            sessions.append(
                open_session(source, one=options.one, units=options.units, progress=progress)
            )
    with training() as shown:
        run = pretrain(
            sessions,
            options.out,
            preset=options.preset,
            settings=_settings(options, options.preset, options.masking),
            sources={s.id: _lasting(at) for s, at in zip(sessions, sources, strict=True)},
            resume=options.resume,
            watch=shown.watch,
            device=options.device,
        )
    if leads():
        _print_run(run)


def _finetune(options: argparse.Namespace) -> None:
    from napari_mtm.model.model import Model, new_model
    from napari_mtm.model.weights import load_model
    from napari_mtm.training import NEW
    from napari_mtm.training.finetuning import finetune
    from napari_mtm.training.run import Run

    recorded = _sources_of_run(options)
    model: Model | None
    if recorded:
        model = Run(options.out).model("start", device=options.device)
        source = recorded[0]
    elif options.session:
        source = options.session
        model = None if options.model == NEW else load_model(options.model, device=options.device)
    else:
        raise MtmError("Name a --session to train on, or a run to --resume in --out.")
    session = _open_on(None if model is None else model.grid, source, options)
    model = model or new_model(session, device=options.device)
    with training() as shown:
        run = finetune(
            model,
            session,
            options.out,
            scope=options.scope,
            settings=_settings(options, model.preset, "mtm"),
            source=_lasting(source),
            weights=_lasting(options.model),
            resume=options.resume,
            watch=shown.watch,
            progress=shown.progress,
        )
    _print_run(run)


def _sources_of_run(options: argparse.Namespace) -> list[str]:
    """Where the sessions of a run that is resumed can be opened, nothing for a new run."""
    from napari_mtm.training.run import Run

    if not (options.resume and Run.is_in(options.out)):
        return []
    sessions = Run(options.out).about.sessions
    lost = [session.title for session in sessions if session.source is None]
    if lost:
        raise MtmError(f"The run does not say where {lost[0]} is; resume it from Python.")
    return [session.source for session in sessions if session.source is not None]


def _sessions_in(source: str, one: str | None) -> list[str]:
    """What a source stands for: the stores in a folder of them, or what `prepare` makes of it."""
    from napari_mtm.recording.opening import sessions_of

    folder = Path(source)
    stores = sorted(folder.glob("*.mtm")) if one is None and is_folder(folder) else []
    return [str(store) for store in stores] or sessions_of(source, one=one)


def _open_on(grid: "Grid | None", source: str, options: argparse.Namespace) -> "Session":
    """Open a session, cut as a model expects it; as is usual where there is no model yet."""
    from napari_mtm.recording.opening import open_session
    from napari_mtm.recording.preparation import Preparation

    cut = grid or Preparation()
    with bar("opening") as progress:
        return open_session(
            source,
            one=options.one,
            units=options.units,
            window=cut.window,
            bin_size=cut.bin_size,
            progress=progress,
        )


def _lasting(source: str) -> str:
    """Name a source so that it is found from any folder."""
    path = Path(source)
    return str(path.resolve()) if path.exists() else source


def _settings(options: argparse.Namespace, preset: "Preset", masking: "Masking") -> "Settings":
    from napari_mtm.training.settings import Settings

    settings = Settings.of(preset)
    settings = replace(settings, objective=replace(settings.objective, masking=masking))
    names = ("steps", "batch", "batches", "rate", "seed", "check_every", "patience")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if given.get("steps") == 0:
        raise MtmError("--steps 0 trains nothing; name at least 1.")
    return replace(settings, **given)


def _print_run(run: "Run") -> None:
    status = run.status
    print(f"{status.state}, {status.step} of {status.steps} steps in {status.seconds:.0f} s")
    if status.message:
        print(status.message)
    if status.best is not None and status.best_step is not None:
        scores = run.validations()[status.best_step]
        best = ", ".join(f"{task} {value:.3f}" for task, value in scores.items())
        print(f"best at step {status.best_step}, validation bits/spike: {best}")
    print(run.folder / "best.safetensors")


def _evaluate(options: argparse.Namespace) -> None:
    from napari_mtm.files import replacing
    from napari_mtm.model.weights import load_model
    from napari_mtm.scoring.evaluate import evaluate

    model = load_model(options.model, device=options.device)
    others = {}
    for text in options.other:
        name, _, path = text.partition("=")
        if not name or not path or name in others:
            raise MtmError(f"--other {text} must be NAME=FILE, with a name of its own.")
        others[name] = load_model(path, device=options.device)
    session = _open_on(model.grid, options.session, options)
    with bar("scoring") as progress:
        found = evaluate(
            model,
            session,
            others=others,
            quick=options.quick,
            slow_levels=not options.no_slow_levels,
            published_decoding=options.published_decoding,
            protocol=options.protocol,
            progress=progress,
        )
    print(found)
    if options.json is not None:
        with replacing(options.json) as file:
            file.write(found.to_json().encode())


def _reproduce(options: argparse.Namespace) -> None:
    from napari_mtm.reproducing.arms import FULL, QUICK, REAL_FULL, REAL_QUICK
    from napari_mtm.reproducing.real import reproduce_real
    from napari_mtm.reproducing.real_page import PAGE
    from napari_mtm.reproducing.reproduce import reproduce

    seeds = {} if options.seeds is None else {"seeds": max(options.seeds, 1)}
    with bar("reproducing") as progress:
        shared = {
            "device": options.device,
            "workers": max(options.workers, 1),
            "progress": progress,
        }
        if options.stores:
            scale = replace(REAL_QUICK if options.quick else REAL_FULL, **seeds)
            text, page = reproduce_real(options.stores, options.out, scale=scale, **shared), PAGE
        else:
            simulated = replace(QUICK if options.quick else FULL, **seeds)
            text = reproduce(options.out, scale=simulated, one=options.one, **shared)
            page = "results.md"
    print(text)
    print(options.out / page)


def _import_published(options: argparse.Namespace) -> None:
    from napari_mtm.model.importing import import_published
    from napari_mtm.model.weights import save_model

    model = import_published(options.file)
    save_model(model, options.out)
    print(f"{options.out}: {model.describe()}")


def _cache(options: argparse.Namespace) -> None:
    from napari_mtm.recording import cache

    if options.action == "clear":
        freed = cache.clear(unused_days=options.unused_days)
        print(f"freed {freed / 1e6:.1f} MB in {cache.folder()}")
        return
    entries = cache.entries()
    for entry in entries:
        print(f"{entry.size / 1e6:9.1f} MB  {entry.title}")
    total = sum(e.size for e in entries)
    print(f"{total / 1e6:9.1f} MB  in {len(entries)} sessions, in {cache.folder()}")
