"""Every way to start: a checkout, a wheel, an editable install, in whatever folder and order of imports.

In a checkout, `zoo/layers` and `zoo/recipes` are links, or text files where links could not be made.

Each start is a process of its own without `.pth` files (`-S`), so that an installation of this very package in the
running environment takes no part: what a folder on the path gives is all there is.
"""

import concurrent.futures
import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile

import pytest

from tests import warm

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAPPED = {"zoo": "zoo", "layers": "zoo/layers", "recipes": "zoo/recipes"}
SITE = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})

SLOW_MODULES = ("keras", "tensorflow", "tensorflow_datasets", "keras_tuner", "matplotlib", "sklearn", "jax", "torch")
LOADED = f"import sys; print(sorted(set({SLOW_MODULES}) & set(sys.modules)))"
WHERE = """
import importlib.util, os, zoo
origins = [zoo.__file__, *(importlib.util.find_spec(f"zoo.{name}").origin for name in ("layers", "recipes"))]
print(*map(os.path.realpath, origins))
print(zoo.names())
"""


def environment(**more):
    """This environment with `more`, and nothing of Python's, of pytest's or a GPU's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | more


def run(*command, cwd, **more):
    """The standard output of `command`, run in `cwd`; a status other than 0 fails, with all that was said."""
    command = [*map(str, command)]
    done = subprocess.run(
        command, cwd=cwd, env=environment(**more), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def start(*arguments, cwd, path=()):
    """The standard output of Python, run in `cwd` with `path` before the third parties, and no `.pth` files."""
    paths = os.pathsep.join(map(str, [*path, *SITE]))
    return run(sys.executable, "-S", *arguments, cwd=cwd, PYTHONPATH=paths)


def listed():
    """What git tracks or would track, links included, as paths relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    paths = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(path for path in set(paths) if path and ((ROOT / path).is_file() or (ROOT / path).is_symlink()))


def files():
    """The files among what is `listed`."""
    return [path for path in listed() if not (ROOT / path).is_symlink()]


def links():
    """{path: target} of the links among what is `listed`."""
    return {path: os.readlink(ROOT / path) for path in listed() if (ROOT / path).is_symlink()}


def copy(folder):
    """Copies what is `listed` to `folder`, which is returned."""
    for path in listed():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target, follow_symlinks=False)
    return folder


def with_text_files(folder):
    """`folder`, a copy, with text files in place of its links, as git writes them where links are not allowed."""
    for path, target in links().items():
        (folder / path).unlink()
        (folder / path).write_text(target)
    return folder


# A checkout, nothing installed ----------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with modules named like our folders, as a user's own may be."""
    for name in ("layers", "recipes", "fields"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "script.py").write_text(WHERE)
    return tmp_path


POSITIONS = {
    "from the root": lambda elsewhere: start("-W", "error", "-c", WHERE, cwd=ROOT),
    "from elsewhere": lambda elsewhere: start("-W", "error", "-c", WHERE, cwd="/", path=[ROOT]),
    "beside one's own layers.py": lambda elsewhere: start("-W", "error", "-c", WHERE, cwd=elsewhere, path=[ROOT]),
    "a script beside one's own layers.py": lambda elsewhere: start(
        "-W", "error", elsewhere / "script.py", cwd="/", path=[ROOT]
    ),
}


@pytest.mark.parametrize("position", POSITIONS)
def test_a_checkout_starts(position, elsewhere):
    origins, names = POSITIONS[position](elsewhere).splitlines()
    assert origins.split() == [str(ROOT / folder / "__init__.py") for folder in ("zoo", "layers", "recipes")]
    assert "'lenet'" in names


def test_the_links_are_those_of_the_two_folders():
    assert links() == {"zoo/layers": "../layers", "zoo/recipes": "../recipes"}


def test_a_checkout_starts_with_text_files_in_place_of_links(tmp_path):
    folder = with_text_files(copy(tmp_path / "source"))
    origins, names = start("-W", "error", "-c", WHERE, cwd="/", path=[folder]).splitlines()
    assert origins.split() == [str(folder / name / "__init__.py") for name in ("zoo", "layers", "recipes")]
    assert "'lenet'" in names


@pytest.mark.parametrize(("cwd", "path"), [(ROOT, ()), ("/", (ROOT,))], ids=["root", "elsewhere"])
def test_python_m_zoo(cwd, path):
    assert "image_classification" in start("-W", "error", "-m", "zoo", "list", cwd=cwd, path=path)


def test_one_class_however_it_is_imported():
    """`layers` is on the path of a checkout's root too: both names give one class, or `isinstance` would lie."""
    source = (ROOT / "layers" / "__init__.py").read_text()
    assert "from zoo.layers." in source
    assert "from ." not in source


# What is loaded, and when ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    ["import zoo", "zoo.names('res*', task='image_classification')", "dir(zoo); zoo.InputError"],
)
def test_looking_around_loads_nothing_slow(code):
    assert start("-W", "error", "-c", f"import zoo; {code}\n{LOADED}", cwd=ROOT) == "[]\n"


COMMAND = """
import contextlib
from zoo.cli import main
with contextlib.suppress(SystemExit): main({})
"""


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_the_command_loads_nothing_slow_to_tell_of_itself(arguments):
    told = start("-W", "error", "-c", f"{COMMAND.format(arguments)}{LOADED}", cwd=ROOT)
    assert told.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_show_loads_nothing_slow_beside_keras():
    """Keras itself would load scikit-learn, matplotlib and JAX where they are installed."""
    told = start("-c", f"{COMMAND.format(['show', 'lenet'])}{LOADED}", cwd=ROOT)
    assert told.splitlines()[-1] == "['keras', 'tensorflow']"


# The hook that registers our classes when Keras arrives ---------------------------------------------------------------

FAKE = "saving = None\n"  # a Keras of one line: zoo.layers cannot be imported on top of it


@pytest.mark.parametrize("order", ["import zoo, keras", "import keras, zoo", "import zoo\nfrom keras import saving"])
def test_a_failing_hook_warns_and_breaks_nothing(order, tmp_path):
    (tmp_path / "keras.py").write_text(FAKE)
    code = f"""
import sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {order.replace(chr(10), chr(10) + "    ")}
import keras
print(keras.__file__, [str(one.message) for one in caught])
"""
    told = start("-c", code, cwd=tmp_path, path=[ROOT])
    assert str(tmp_path / "keras.py") in told
    assert told.count("zoo could not register its layers with Keras") == 1


def test_a_keras_that_cannot_be_imported_says_so_itself(tmp_path):
    """The error is Keras's own, every time."""
    (tmp_path / "keras.py").write_text("raise ImportError('no backend here')\n")
    code = """
import zoo
for attempt in range(2):
    try:
        import keras
    except ImportError as error:
        print(error)
"""
    assert start("-W", "error", "-c", code, cwd=tmp_path, path=[ROOT]) == "no backend here\n" * 2


def test_asking_whether_keras_is_there_uses_up_no_hook(tmp_path):
    """As `import tensorflow` does: the spec is looked up first, and executed later or never."""
    (tmp_path / "keras.py").write_text(FAKE)
    code = """
import importlib.util, sys, warnings, zoo
assert importlib.util.find_spec("keras") is not None
warnings.simplefilter("error")
try:
    import keras
except UserWarning as warning:
    print(warning, sum("AfterKeras" in repr(finder) for finder in sys.meta_path))
"""
    told = start("-c", code, cwd=tmp_path, path=[ROOT])
    assert told.startswith("zoo could not register")
    assert told.endswith(" 0\n")


def test_a_keras_that_is_not_there_is_named(tmp_path):
    """Where Keras is not installed the hook finds nothing, and the error names Keras."""
    code = """
import sys, zoo
sys.path[:] = [path for path in sys.path if not path.endswith("-packages")]
try:
    import keras
except ModuleNotFoundError as error:
    print(error)
"""
    assert start("-c", code, cwd=ROOT) == "No module named 'keras'\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model with a layer of ours, saved by another process."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    code = f"""
import keras, zoo.layers
model = keras.Sequential([keras.Input((4, 4, 3)), zoo.layers.Subsampling2D(2)])
model.save({str(path)!r})
"""
    warm.run([sys.executable, "-c", code], cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)), check=True)
    return path


def load_after(order, saved):
    code = f"{order}\nimport keras\nprint(keras.saving.load_model({str(saved)!r}).layers[0].pool_size)"
    return start("-c", code, cwd=saved.parent, path=[ROOT])


@pytest.mark.slow
def test_a_saved_model_loads_in_any_order_of_imports(saved):
    orders = ["import zoo, keras", "import keras, zoo", "import zoo.layers"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # each process takes 5 s to import TensorFlow
        assert list(pool.map(lambda order: load_after(order, saved), orders)) == ["2\n"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        "import zoo\nfrom keras.saving import load_model",
        "import zoo, tensorflow as tf\ntf.keras.layers",
        "import tensorflow, zoo",
        "from keras import layers\nimport zoo",
        "import zoo, keras_tuner",
        "import zoo\nzoo.names()\nimport keras.layers",
        "import zoo.base",
        "from zoo import readers",
        "from zoo.recipes import lenet",
        "import threading, zoo\nthread = threading.Thread(target=__import__, args=['keras'])\n"
        "thread.start()\nimport keras\nthread.join()",
    ],
)
def test_a_saved_model_loads_in_rarer_orders(order, saved):
    assert load_after(order, saved) == "2\n"


# What is built --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """What git knows, copied: building writes into the tree it builds, and takes what lies about in it."""
    return copy(tmp_path_factory.mktemp("copied") / "source")


@pytest.fixture(scope="module")
def built(copied, tmp_path_factory):
    """(sdist, wheel); the wheel is built from the sdist, so what the sdist lacks, the wheel lacks."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", folder, copied, cwd=folder)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


def shipped():
    """Where an installation holds the files of the three folders."""
    tops = [(path.partition("/")[0], path.partition("/")[2]) for path in files()]
    return sorted(f"{MAPPED[top]}/{rest}" for top, rest in tops if top in MAPPED)


def held(wheel):
    """The files of a wheel, but for its metadata."""
    with zipfile.ZipFile(wheel) as opened:
        return sorted(name for name in opened.namelist() if ".dist-info/" not in name)


@pytest.mark.slow
def test_the_wheel_holds_the_three_folders(built):
    """No file is missing, none is there twice, and none that git does not know."""
    assert held(built[1]) == shipped()


@pytest.mark.slow
def test_a_checkout_without_links_gives_the_same_wheel(tmp_path):
    folder = with_text_files(copy(tmp_path / "source"))
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, folder, cwd=tmp_path)
    assert held(next(tmp_path.glob("*.whl"))) == shipped()


@pytest.mark.slow
def test_the_sdist_holds_what_a_build_needs(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE", *shipped()} <= names


def _bounds(line):
    """(distribution, its bounds) of a requirement: setuptools writes the bounds in an order of its own."""
    name, bounds = re.fullmatch(r"([\w.-]+)(.*)", line.replace(" ", "")).groups()
    return name, frozenset(bounds.split(","))


@pytest.mark.slow
def test_the_wheel_describes_itself(built):
    """Licence, dependencies, extras and the command are in the metadata: setuptools drops some with a mere warning."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(built[1]) as wheel:
        info = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(info))
        commands = wheel.read(info.replace("METADATA", "entry_points.txt")).decode()
        assert info.replace("METADATA", "licenses/LICENSE") in wheel.namelist()
    assert metadata["Name"] == "keras-zoo"
    assert metadata["License-Expression"] == project["license"]
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {_bounds(line) for line in required} == {_bounds(line) for line in project["dependencies"]}
    assert "zoo = zoo.cli:main" in commands


# What is installed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def third_parties(tmp_path_factory):
    """A folder with links to all that is installed here, but for the package itself, however it is installed."""
    folder = tmp_path_factory.mktemp("third_parties")
    for path in (path for site in SITE for path in pathlib.Path(site).iterdir()):
        link = folder / path.name
        if (
            not path.name.startswith(("zoo", "keras_zoo", "__editable__"))
            and path.suffix != ".pth"
            and not link.exists()
        ):
            link.symlink_to(path)
    return folder


def virtual_environment(folder, third_parties, *install):
    """The Python of a new environment with `install` in it, which then sees the third parties of this one."""
    run(sys.executable, "-m", "venv", folder, cwd="/")
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", *install, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    pathlib.Path(site, "third_parties.pth").write_text(f"{third_parties}\n")
    return python


@pytest.fixture(scope="module")
def wheel(built, third_parties, tmp_path_factory):
    """The Python of an environment with the wheel."""
    return virtual_environment(tmp_path_factory.mktemp("wheel") / "venv", third_parties, "--no-index", built[1])


@pytest.fixture(scope="module")
def editable(copied, third_parties, tmp_path_factory):
    """The Python of an environment whose stock pip has installed a checkout editable."""
    return virtual_environment(tmp_path_factory.mktemp("editable") / "venv", third_parties, "--editable", copied)


@pytest.fixture(params=["wheel", "editable"])
def python(request):
    return request.getfixturevalue(request.param)


@pytest.mark.slow
def test_the_command_lists_from_anywhere(python, tmp_path):
    for cwd in ("/", ROOT, tmp_path):
        assert "image_classification" in run(python.parent / "zoo", "list", cwd=cwd)


@pytest.mark.slow
def test_an_installed_package_is_found_from_anywhere(wheel, editable, copied, elsewhere):
    """Its own files, but the checkout's where a checkout is the current folder: ./zoo comes first on the path."""
    site = wheel.parents[1]
    for cwd in ("/", elsewhere):
        origins, names = run(wheel, "-W", "error", "-c", WHERE, cwd=cwd).splitlines()
        assert all(origin.startswith(str(site)) for origin in origins.split())
        assert "'lenet'" in names
        origins = run(editable, "-W", "error", "-c", WHERE, cwd=cwd).splitlines()[0]
        assert origins.split() == [str(copied / folder / "__init__.py") for folder in ("zoo", "layers", "recipes")]
    origins = run(wheel, "-W", "error", "-c", WHERE, cwd=ROOT).splitlines()[0]
    assert origins.split() == [str(ROOT / folder / "__init__.py") for folder in ("zoo", "layers", "recipes")]


@pytest.mark.slow
def test_an_editable_install_is_one_path(editable, copied):
    """Not a finder, which no type checker follows."""
    (path,) = next(editable.parents[1].glob("lib/*/site-packages/__editable__*.pth")).read_text().splitlines()
    assert path == str(copied)


@pytest.mark.slow
def test_layers_and_recipes_import(python, elsewhere):
    """From the root, where ./zoo shadows the wheel's, and from beside modules of the same names."""
    for cwd in (ROOT, elsewhere):
        code = "import zoo, zoo.layers, zoo.recipes.lenet; print(zoo.build('lenet').count_params())"
        assert run(python, "-c", code, cwd=cwd) == "61750\n"


@pytest.mark.slow
def test_a_saved_model_loads_with_the_package_run(python, saved):
    code = f"import zoo, keras; print(keras.saving.load_model({str(saved)!r}).layers[0].pool_size)"
    assert run(python, "-c", code, cwd="/") == "2\n"


@pytest.mark.slow
def test_pytest_collects_the_checkout_with_only_the_wheel(wheel):
    collected = run(wheel, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", cwd=ROOT)
    assert "tests/test_architecture.py::" in collected
    assert "error" not in collected.splitlines()[-1]


@pytest.mark.slow
def test_an_edited_recipe_is_what_the_command_shows(copied, editable):
    """In the documented set-up, `zoo` runs the files of the checkout."""
    recipe = copied / "recipes" / "lenet.py"
    before = recipe.read_text()
    assert 'help="channels of the convolutions' in before
    try:
        recipe.write_text(
            before.replace('help="channels of the convolutions', 'help="edited: channels of the convolutions')
        )
        assert "edited: channels of the convolutions" in run(editable.parent / "zoo", "show", "lenet", cwd="/")
    finally:
        recipe.write_text(before)
