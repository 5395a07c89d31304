"""What is refused before a run begins, or goes on."""

import pytest

from ulmo.config import UserError
from ulmo.pipelines.train.run_settings import plan_run
from ulmo.preprocessing.store import TileStore
from ulmo.storage.run_manifest import RUN_MANIFEST
from ulmo.storage.sealed import write_sealed


@pytest.mark.parametrize("name", ["README.md", "notes"])
def test_a_users_files_where_the_tokenizer_will_be_written(name, tiny_tiles, tmp_path):
    folder, store = tmp_path / "run", TileStore(tiny_tiles)
    manifest = plan_run(folder, tiny_tiles, store, {}, {}, resume=False)
    (folder / "tokenizer" / name).mkdir(parents=True)
    write_sealed(folder / RUN_MANIFEST, manifest)
    with pytest.raises(UserError, match=f"tokenizer holds '{name}', which is not ulmo's: move it"):
        plan_run(folder, tiny_tiles, store, {}, {}, resume=True)
    (folder / "tokenizer" / name).rmdir()
    plan_run(folder, tiny_tiles, store, {}, {}, resume=True)
