import os
import subprocess
import sys

from tests.test_golden import BUNDLE

LOAD = "import sys, ulmo; ulmo.load_tokenizer(sys.argv[1])"


def test_onnx_runtime_leaves_nothing_in_the_users_home(tmp_path):
    """Its telemetry would write events and an id of the machine there."""
    unset = {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run(
        [sys.executable, "-c", LOAD, str(BUNDLE)],
        env={**environment, "HOME": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.rglob("*")) == []
