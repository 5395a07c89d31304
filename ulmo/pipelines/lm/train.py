"""ulmo lm train: a folder of tokens to a run, and at its end a token model.

tokens -> split by recording -> streams -> steps -> network -> mixture fitted -> RUN_DIR/lm
"""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ulmo.bundle.token_model import TokenFigures
from ulmo.bundle.weights import codebook_of
from ulmo.config import require
from ulmo.pipelines.hosts import Hosts, told_if_lost
from ulmo.pipelines.lm.export import Trained, export_token_model, scores_of
from ulmo.pipelines.lm.run_settings import TOKEN_RUN, TokenRun, plan_token_run
from ulmo.pipelines.lm.streams import TokenCorpus, read_token_corpus
from ulmo.pipelines.loading import catching_interrupts, loading_tensorflow, refuse_strategy
from ulmo.pipelines.run_folder import PACKAGES, held_run, refuse_links
from ulmo.storage.atomic import sync_folder
from ulmo.storage.sealed import write_sealed
from ulmo.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from ulmo.pipelines.run_loop import Reporter

# Folders of a run. None of them may be a link; RUN_DIR itself may.
_PLACES = ("checkpoints", "checkpoints/best", "tensorboard", "lm")


class TokenTrainSummary(NamedTuple):
    """The results of a run."""

    run_dir: Path
    steps: int
    epochs: int
    end: str  # the setting that ended it: epochs, patience or max_minutes
    minutes: float  # as `max_minutes` counts them, in all sessions
    tokens_per_second: float
    weights: int  # numbers of the network
    recordings: int  # that it learned from, and
    tokens: int
    figures: TokenFigures | None  # None: no recordings were held out
    fingerprint: str  # of the token model


def train_token_model(
    tokens_dir: Path,
    run_dir: Path,
    reporter: "Reporter",
    *,
    size: str | None = None,
    model: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    tokenizer: Path | str | None = None,
    resume: bool = False,
) -> TokenTrainSummary:
    """Train a token model, and write RUN_DIR.

    size: of ulmo.config.token_model.SIZES; None: small, or that of the run that is resumed. model,
    settings: what differs from it and from the defaults. tokenizer: that made the tokens; None:
    the one that ships.

    Raises UserError for settings that cannot be met or packages that are missing, and after Ctrl-C
    KeyboardInterrupt, whose text says how to resume the run.
    """
    require(*PACKAGES)
    refuse_strategy()
    opened = load_tokenizer(tokenizer)
    scores_of(opened)
    reporter.note("reading the tokens ...")
    corpus = read_token_corpus(tokens_dir, opened)
    plan = partial(
        plan_token_run,
        *(run_dir, tokens_dir, corpus, opened, size, model or {}, settings or {}),
        resume=resume,
    )
    plan()  # all that can be refused is, before anything is written
    again = f"ulmo lm train {tokens_dir} {run_dir} --resume"
    with held_run(run_dir, again), told_if_lost(again):
        return _run(corpus, run_dir, plan(), opened, reporter)


def _run(
    corpus: TokenCorpus, run_dir: Path, run: TokenRun, tokenizer: Tokenizer, reporter: "Reporter"
) -> TokenTrainSummary:
    Hosts.here().lead(reporter.note)
    reporter.note("loading TensorFlow ...")
    with loading_tensorflow():
        from ulmo.pipelines.lm.trainer import LOG_COLUMNS, TokenTrainer
        from ulmo.pipelines.run_files import RunLog
    codes = codebook_of(tokenizer.manifest.model, tokenizer.bundle.weights())
    trainer = TokenTrainer(corpus, codes, run_dir / "checkpoints", run.model, run.train, reporter)
    _begin_run(run_dir, run)
    trainer.begin()
    steps, epochs = int(trainer.state.step), int(trainer.state.epoch)
    log = RunLog(run_dir, LOG_COLUMNS, trainer.best_effort, steps=steps, epochs=epochs)
    with closing(log), catching_interrupts(trainer):
        end = trainer.run(log)
    steps, epochs = int(trainer.state.step), int(trainer.state.epoch)
    if end == "interrupt":
        raise KeyboardInterrupt(f"interrupted and saved at step {steps}")
    reporter.note("fitting the mixture to held-out recordings ...")
    trained = Trained(run, corpus, trainer.split, trainer.weights(), steps, epochs)
    bundle = export_token_model(run_dir / "lm", tokenizer, trained)
    learned = trainer.split.train
    return TokenTrainSummary(
        run_dir=run_dir,
        steps=steps,
        epochs=epochs,
        end=end,
        minutes=float(trainer.state.seconds) / 60,
        tokens_per_second=trainer.tokens_per_second,
        weights=sum(each.size for each in trained.weights.values()),
        recordings=len({corpus.recordings[place] for place in learned}),
        tokens=sum(corpus.ids[place].size for place in learned),
        figures=bundle.manifest.card.figures,
        fingerprint=bundle.manifest.fingerprint,
    )


def _begin_run(run_dir: Path, run: TokenRun) -> None:
    """Write lm_train.json, from when on the run can be resumed."""
    refuse_links(run_dir, _PLACES)
    write_sealed(run_dir / TOKEN_RUN, run)
    (run_dir / "checkpoints").mkdir(exist_ok=True)
    sync_folder(run_dir)
