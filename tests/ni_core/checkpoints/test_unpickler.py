"""Nothing in a file runs, whichever instruction and whichever wrapping it comes in."""

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ni_core.checkpoints.document import Inert, open_document
from ni_core.errors import CheckpointError, UnsafeCheckpointError
from tests.ni_core.checkpoints import hostile

REPOSITORY = Path(__file__).parents[3]

AUDIT = """
import sys
from pathlib import Path
from ni_core.checkpoints.document import open_document
from ni_core.errors import CheckpointError

files = sorted(Path(sys.argv[1]).iterdir())
NEVER = ("os.", "subprocess.", "exec", "pickle.", "socket.", "ctypes.", "shutil.", "import")
HARMLESS = ("os.listdir", "os.scandir")
watching = False

def watch(event, arguments):
    if watching and event.startswith(NEVER) and event not in HARMLESS:
        raise SystemExit(f"{event} {arguments!r:.200}")

sys.addaudithook(watch)
for path in files:
    watching = not path.name.startswith("benign")
    try:
        open_document(path)
    except CheckpointError:
        pass
    watching = False
print("read", len(files), "files")
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def extension() -> Iterator[None]:
    hostile.register_extension()
    yield
    hostile.unregister_extension()


def written(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("route", sorted(hostile.ROUTES))
@pytest.mark.usefixtures("extension")
def test_the_payloads_work_in_pythons_own_unpickler(route: str, marker: Path) -> None:
    with contextlib.suppress(TypeError, AttributeError, pickle.UnpicklingError):
        pickle.loads(hostile.ROUTES[route](str(marker)) + b".")
    assert marker.exists()


@pytest.mark.parametrize("wrapping", sorted(hostile.WRAPPINGS))
@pytest.mark.parametrize("route", sorted(hostile.ROUTES))
@pytest.mark.usefixtures("extension")
def test_no_payload_runs_in_any_wrapping(
    route: str, wrapping: str, marker: Path, tmp_path: Path
) -> None:
    payload = hostile.ROUTES[route](str(marker)) + b"."
    path = written(tmp_path, hostile.WRAPPINGS[wrapping](payload))
    try:
        open_document(path)
    except CheckpointError as error:
        assert str(error).startswith(("file: ", "file is "))  # the name of the file
    assert not marker.exists()


@pytest.mark.parametrize("route", sorted(hostile.DANGEROUS))
def test_what_only_an_attack_needs_is_refused_by_name(route: str, tmp_path: Path) -> None:
    path = written(tmp_path, hostile.ROUTES[route]("marker") + b".")
    with pytest.raises(UnsafeCheckpointError):
        open_document(path)


def test_python_itself_sees_nothing_run(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for route, payload in hostile.ROUTES.items():
        for wrapping, wrap in hostile.WRAPPINGS.items():
            written(folder, wrap(payload(str(tmp_path / "m")) + b"."), f"x_{route}_{wrapping}")
    for wrapping, wrap in hostile.WRAPPINGS.items():
        written(folder, wrap(b"N."), f"benign_{wrapping}")
    result = subprocess.run(
        [sys.executable, "-c", AUDIT, str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"read {len(list(folder.iterdir()))} files" in result.stdout
    assert not (tmp_path / "m").exists()


def test_calls_and_states_of_unknown_classes_are_written_down(tmp_path: Path) -> None:
    made = hostile.name("Thing", "somewhere.else") + b"K\x07\x85R"
    filled = made + b"}" + hostile.text("field") + b"K\x08sb(K\x01K\x02uK\x03a."
    root = open_document(written(tmp_path, filled)).root
    assert isinstance(root, Inert)
    assert root.is_a("somewhere.else", "Thing")
    assert root.args == (7,)
    assert root.state == {"field": 8}
    assert root.items == [(1, 2), 3]


def test_a_result_that_is_called_is_a_record_of_the_call(tmp_path: Path) -> None:
    root = open_document(written(tmp_path, hostile.ROUTES["getattr_chain"]("m") + b".")).root
    assert (root.module, root.name) == ("", "call")
    assert root.args[0].is_a("builtins", "getattr")
    assert root.args[1] == "m"


def test_appending_to_a_known_name_changes_nothing_for_the_next_file(tmp_path: Path) -> None:
    ordered = hostile.name("OrderedDict", "collections")
    first = open_document(written(tmp_path, ordered + b"K\x01aK\x05b.")).root
    second = open_document(written(tmp_path, ordered + b".")).root
    assert (first.items, first.state) == ([1], 5)
    assert (second.items, second.state) == ([], None)


@pytest.mark.parametrize("identity", [b"Pstorage\n", hostile.text("storage") + b"Q"])
def test_persistent_ids_outside_torch_files_are_refused(identity: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsafeCheckpointError, match="outside the file"):
        open_document(written(tmp_path, identity + b"."))


@pytest.mark.parametrize(
    "identity",
    [
        b"Pstorage\n",
        b"(" + hostile.text("storage") + b"tQ",
        b"(" + hostile.text("module") + b"NNNNtQ",
        hostile.storage("FloatStorage", "../../a/data.pkl", 1),
        hostile.storage("FloatStorage", "0", -1),
        b"(" + hostile.text("storage") + hostile.storage("FloatStorage", "0", 1)
        + b"K\x01K\x01K\x01tQ",
    ],
)  # fmt: skip
def test_persistent_ids_of_torch_files_name_storages_only(identity: bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        open_document(written(tmp_path, hostile.torch_zip(identity + b".", **{"0": bytes(4)})))


def test_a_file_inside_a_file_inside_a_file_is_refused(tmp_path: Path) -> None:
    inner = hostile.nested(b"N.")
    with pytest.raises(UnsafeCheckpointError, match="inside a file"):
        open_document(written(tmp_path, hostile.nested(inner)))


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    content = hostile.zipped({"a/data.pkl": b"N.", "a/constants.pkl": b"N.", "a/code/x.py": b""})
    with pytest.raises(CheckpointError, match="TorchScript"):
        open_document(written(tmp_path, content))
