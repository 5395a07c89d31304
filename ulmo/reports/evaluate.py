"""What `ulmo eval` prints: a progress bar for each measurement, then tables."""

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ulmo.reports.progress import Progress, counted, left_out_lines, named_lines
from ulmo.reports.verdict import verdict_lines
from ulmo.storage.names import path_text

if TYPE_CHECKING:
    from ulmo.evaluation.codebook import CodebookHealth
    from ulmo.evaluation.tally import Metrics
    from ulmo.pipelines.evaluate.audio import AudioEvaluation
    from ulmo.pipelines.evaluate.evaluate import Evaluation, TilesEvaluation

_ADVICE = "train another tokenizer, or measure this one on more varied recordings"
_WIDE = 44  # characters of the titles of a wide table
_BOOK = {"usage": ".1%", "entropy": ".4f", "perplexity": ".1f", "top1": ".1%"}


class EvalProgress(Progress):
    """One bar after another."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self.name = ""

    def update(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of the measurement `name` are done."""
        if name != self.name:
            if self.bar is not None:
                self.bar.close()
            self.name = name
            self.open(total, desc=name, delay=1)
        self.bar.update(done - self.bar.n)


def evaluation_table(evaluation: "Evaluation", *, batches: bool) -> str:
    """All figures as tables, for all tokens and for non-silent ones; `batches`: a row for each."""
    lines = []
    if evaluation.tiles is not None:
        lines += [*_tiles(evaluation.tiles, batches=batches), ""]
    if evaluation.audio is not None:
        lines += [*_audio(evaluation.audio), ""]
    names = [path_text(Path(path.name)) for path in evaluation.pictures.values()]
    beside = f", with {', '.join(names)}" if names else ""
    return "\n".join([*lines, f"written to  {path_text(evaluation.report)}{beside}"])


def _tiles(tiles: "TilesEvaluation", *, batches: bool) -> list[str]:
    total, errors = tiles.total, tiles.reconstruction
    lsd = _or_dash(errors.log_spectral_distance)
    sound_lsd = _or_dash(errors.sound_log_spectral_distance)
    edges = pairwise(tiles.edges_hz)
    bands = zip(edges, errors.band_errors, errors.band_errors_db, strict=True)
    lines = [
        f"{counted(total.tiles, 'tile')} ({tiles.part}), {counted(total.tokens, 'token')}, "
        f"{total.sound_tokens} of them not silent",
        *verdict_lines(tiles.verdict, tiles.part, _ADVICE),
        "",
        _row("reconstruction", "MSE", "dB²", "LSD, dB"),
        _row("  all", f"{total.reconstruction:.4f}", _or_dash(total.reconstruction_db), lsd),
        _row("  non-silent", "", _or_dash(total.sound_reconstruction_db), sound_lsd),
        *(
            _row(f"  {low:.0f} to {high:.0f} Hz", f"{error:.4f}", _or_dash(error_db))
            for (low, high), error, error_db in bands
        ),
        _row("  best constant tile", f"{total.baseline_tile:.4f}"),
        _row("  best mean per bin", f"{total.baseline_bands:.4f}"),
        _row("  best constant value", f"{total.baseline_constant:.4f}"),
        _row("commitment", f"{total.commitment:.4f}"),
        "",
        *_codebook(total.codebook, total.sound_codebook),
    ]
    return [*lines, "", *_batch_rows(tiles.batches)] if batches else lines


def _audio(audio: "AudioEvaluation") -> list[str]:
    tokens = audio.tokens
    speakers = "" if audio.speakers is None else f", {counted(len(audio.speakers), 'speaker')}"
    lines = [
        f"{counted(audio.recordings, 'recording')}, {audio.seconds:.1f} s, "
        f"{counted(len(audio.labels), 'label')}{speakers}, {counted(tokens.rate.tokens, 'token')}, "
        f"{tokens.sound_counts.sum()} of them not silent"
    ]
    lines += named_lines("refused", audio.refused, "see the report")
    lines += left_out_lines(audio.left_out)
    lines += verdict_lines(tokens.verdict, "recordings", _ADVICE)
    rate, kept = tokens.rate, {} if tokens.verdict.says_little else tokens.robustness
    none = ["  not measured: no token could change"] if tokens.verdict.says_little else []
    return [
        *lines,
        "",
        *_abx(audio),
        "",
        *_probe(audio),
        "",
        *_neighbours(audio),
        "",
        f"{'tokens kept':<28}{'all':>10}{'non-silent':>12}",
        *(
            f"{'  ' + name.replace('_', ' '):<28}{_share(found.share):>10}"
            f"{_share(found.sound_share):>12}"
            for name, found in kept.items()
        ),
        *none,
        "",
        _row("rate", "a second"),
        _row("  tokens", f"{rate.tokens_per_second:.1f}"),
        _row("  bits", f"{rate.bits_per_second:.1f}"),
        _row("  bits, entropy-coded", _or_dash(rate.entropy_bits_per_second, 1)),
        _row("  bits, given the last", _or_dash(rate.conditional_bits_per_second, 1)),
        "",
        *_codebook(tokens.codebook, tokens.sound_codebook),
    ]


def _abx(audio: "AudioEvaluation") -> list[str]:
    """ABX errors, or why there are none."""
    if audio.abx_missing:
        return [f"ABX         not measured: {audio.abx_missing}; --labels names a table of labels"]
    spectrogram = "spectrogram, cosine"
    if audio.spectrogram_step > 1:
        spectrogram += f", 1 of {audio.spectrogram_step}"
    named = {
        "tokens, identical": audio.tokens.abx,
        "tokens, substitution scores": audio.scores_abx,
        "latents, cosine": audio.latents and audio.latents.abx,
        "codes, cosine": audio.codes_abx,
        spectrogram: audio.spectrogram_abx,
    }
    rows = {title: found for title, found in named.items() if found is not None}
    first = next(iter(rows.values()))
    given = [name for name in ("any", "within", "across") if getattr(first, name) is not None]
    return [
        _row("ABX error", *given),
        *(
            _row(f"  {title}", *(_share(getattr(found, name).error) for name in given))
            for title, found in rows.items()
        ),
    ]


def _probe(audio: "AudioEvaluation") -> list[str]:
    """Accuracies of the linear probe, or why there are none."""
    folds = audio.tokens.folds
    if folds.missing or audio.latents is None:
        return [f"probe       not measured: {folds.missing}"]
    kinds = {"latents, mean": audio.latents.probe, "tokens, histogram": audio.tokens.probe}
    title = f"linear probe, right of {audio.tokens.probe.items} by {folds.by}"
    return [
        _row(title, "all", "spread", "chance", width=_WIDE),
        *(
            _row(f"  {name}", *map(_share, (of.accuracy, of.spread, of.chance)), width=_WIDE)
            for name, of in kinds.items()
        ),
    ]


def _neighbours(audio: "AudioEvaluation") -> list[str]:
    """Accuracies of the nearest neighbour, or why there are none."""
    found, by = audio.tokens.neighbours, audio.tokens.folds.by
    if found.missing or audio.latents is None:
        return [f"neighbours  not measured: {found.missing}"]
    kinds = {
        "latents, mean": audio.latents.nearest,
        "tokens, histogram": found.histograms,
        "tokens, edit distance": found.sequences,
        "tokens, substitution scores": found.substitutions,
    }
    one = found.sequences
    return [
        _row(f"nearest neighbour, right of {one.items} by {by}", "all", "by label", width=_WIDE),
        *(
            _row(f"  {name}", _share(of.accuracy), _share(of.macro), width=_WIDE)
            for name, of in kinds.items()
            if of is not None
        ),
        _row("  chance", _share(one.chance), _share(one.macro_chance), width=_WIDE),
    ]


def _codebook(all_tokens: "CodebookHealth", sound: "CodebookHealth") -> list[str]:
    lines = [f"{'codebook':<28}{'all':>10}{'non-silent':>12}"]
    for name, kind in _BOOK.items():
        values = [getattr(health, name) for health in (all_tokens, sound)]
        shown = ["-" if math.isnan(value) else f"{value:{kind}}" for value in values]
        lines.append(f"{'  ' + name:<28}{shown[0]:>10}{shown[1]:>12}")
    return lines


def _batch_rows(batches: "list[Metrics]") -> list[str]:
    names = ("batch", "tiles", "MSE", "dB²", "commitment", "usage", "entropy", "perplexity")
    rows = ["".join(f"{name:>12}" for name in names)]
    for number, metrics in enumerate(batches, 1):
        book = metrics.codebook
        rows.append(
            f"{number:>12}{metrics.tiles:>12}{metrics.reconstruction:>12.4f}"
            f"{_or_dash(metrics.reconstruction_db):>12}{metrics.commitment:>12.4f}"
            f"{book.usage:>12.1%}{book.entropy:>12.4f}{book.perplexity:>12.1f}"
        )
    return rows


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _or_dash(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _row(title: str, *cells: str, width: int = 28) -> str:
    return f"{title:<{width}}" + "".join(f"{cell:>10}" for cell in cells)
