"""The settings of a new training of a token model, or of one that is resumed."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ulmo.bundle.token_model import LM_FOLDER, check_tensors_size
from ulmo.config import Settings, UserError
from ulmo.config.token_model import SIZES, TokenModelSettings, TokenTrainSettings
from ulmo.pipelines.lm.streams import TokenCorpus
from ulmo.storage.differences import differences
from ulmo.storage.lock import is_free
from ulmo.storage.manifest import Hash
from ulmo.storage.names import Name, portable
from ulmo.storage.sealed import read_json
from ulmo.tokenizer import Tokenizer

TOKEN_RUN = "lm_train.json"
_AGAIN = "train again, into a new folder"
# Settings that may change when a run is resumed. They decide when it ends, and the learning rate
# follows from that; or, as `devices`, they change rounding, and what dropout draws, alone.
_MAY_CHANGE = frozenset({"epochs", "max_minutes", "patience", "checkpoint_minutes", "devices"})


class TokenRun(Settings):
    """lm_train.json."""

    schema_version: Literal[1] = 1
    model: TokenModelSettings
    train: TokenTrainSettings
    tokens: Name  # folder of the tokens, by `portable`
    tokens_fingerprint: Hash
    tokenizer: Hash  # its fingerprint
    versions: Annotated[dict[str, str], Field(max_length=16)]  # of ulmo, TensorFlow, Keras, NumPy


def plan_token_run(
    run_dir: Path,
    tokens_dir: Path,
    corpus: TokenCorpus,
    tokenizer: Tokenizer,
    size: str | None,
    model: dict[str, Any],
    settings: dict[str, Any],
    *,
    resume: bool,
) -> TokenRun:
    """The settings of a new run, or of the one to resume. Writes nothing.

    size: of SIZES; None: small, or that of the resumed run. model, settings: what differs from it
    and from the defaults, or from the resumed run's own values. UserError for what cannot be.
    """
    LM_FOLDER.refuse_foreign(run_dir / "lm")  # now, not when it is written at the end
    if resume:
        wished = {**(SIZES[size] if size else {}), **model}
        return _resumed(run_dir, tokens_dir, corpus, wished, settings)
    if run_dir.exists() and not is_free(run_dir):
        raise UserError(f"{run_dir} exists: go on with --resume, or choose a new folder")
    own = tokenizer.manifest.model
    grid = {
        "bands": own.bands,
        "codebook_size": own.codebook_size,
        "embedding_dim": own.embedding_dim,
    }
    chosen = TokenModelSettings.read({**SIZES[size or "small"], **model, **grid})
    try:
        check_tensors_size(chosen)
    except ValueError as error:
        raise UserError(str(error)) from None
    return TokenRun(
        model=chosen,
        train=TokenTrainSettings.read(settings),
        tokens=portable(tokens_dir.resolve()),
        tokens_fingerprint=corpus.fingerprint,
        tokenizer=tokenizer.manifest.fingerprint,
        versions={name: version(name) for name in ("ulmo", "tensorflow", "keras", "numpy")},
    )


def read_token_run(run_dir: Path) -> TokenRun:
    """Read and check lm_train.json; UserError if there is none, or it is damaged."""
    path = run_dir / TOKEN_RUN
    if not path.is_file():
        command = f"ulmo lm train TOKENS_DIR {run_dir}"
        raise UserError(f"{run_dir} holds no run of a token model: make one with {command}")
    return read_json(path, TokenRun, newest=1, remedy=_AGAIN, outdated=_AGAIN, sealed=True)


def _resumed(
    run_dir: Path,
    tokens_dir: Path,
    corpus: TokenCorpus,
    model: dict[str, Any],
    settings: dict[str, Any],
) -> TokenRun:
    """The run's own settings, with a new end if one is given; no other setting may differ."""
    run = read_token_run(run_dir)
    if run.tokens_fingerprint != corpus.fingerprint:
        raise UserError(
            f"{run_dir} was trained on other tokens than those of {tokens_dir}: give the same, or "
            "begin a new run"
        )
    own_model, own = run.model.model_dump(), run.train.model_dump()
    wished_model = TokenModelSettings.read({**own_model, **model})
    wished = TokenTrainSettings.read({**own, **settings})
    there, here = own_model | own, wished_model.model_dump() | wished.model_dump()
    if differing := differences(there, here, may_differ=_MAY_CHANGE):
        raise UserError(
            f"a resumed run keeps its settings ({differing}): leave them out, or start a new run"
        )
    return run.model_copy(update={"train": wished})
