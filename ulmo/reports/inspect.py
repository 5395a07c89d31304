"""The report of ulmo inspect: aligned sections for a terminal of 80 columns."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ulmo.config import QUANTIZER_TRAITS, printable
from ulmo.preprocessing.frontends import FRONTENDS
from ulmo.reports.progress import counted

if TYPE_CHECKING:
    from ulmo.bundle.card import Card, Corpus
    from ulmo.bundle.manifest import BundleManifest
    from ulmo.config import PrepSettings
    from ulmo.pipelines.inspect.inspect import BundleFacts, Table

# Columns of the labels, indented by two, so that a fingerprint fits beside them.
_WIDTH = 80
_LABEL = 12
# A space at which lines do not break.
_FILE_LABEL = 27
GLUE = "\N{NO-BREAK SPACE}"
_SHOWN_EDGES = 16
_SHOWN_CORPORA = 8

NORMALIZATION_WORDS = {
    "corpus": "mean and spread of the training corpus",
    "recording": "mean and spread of each recording",
    "tile": "mean and spread of each tile",
    "pcen": "per-channel energy normalisation",
    "level": "decibels re a tracked level",
}

Rows = list[tuple[str, str]]


def inspection(facts: "BundleFacts") -> str:
    """Describe a bundle in about 50 lines."""
    sections: dict[str, Rows] = {
        printable(facts.folder): [
            ("schema", str(facts.manifest.schema_version)),
            ("fingerprint", facts.manifest.fingerprint),
        ],
        "Front end": _front_end(facts),
        "Model": _model(facts),
        "Tokens": _tokens(facts),
        "Codebook": _codebook(facts),
        "Card": _card(facts.manifest.card),
    }
    return described(sections, facts.files)


def described(sections: Mapping[str, Rows], files: "Sequence[Table]") -> str:
    """Sections with their rows, and the files of a folder."""
    lines: list[str] = []
    for title, rows in sections.items():
        lines += [title, *(line for row in rows for line in _row(*row)), ""]
    return "\n".join([*lines, "Files", *map(_file, files)])


def corpora_rows(corpora: "Sequence[Corpus]") -> Rows:
    """A row for each of the first corpora, and one for the others."""
    rows: Rows = [("trained on", _corpus(corpus)) for corpus in corpora[:_SHOWN_CORPORA]]
    if (hidden := len(corpora) - _SHOWN_CORPORA) > 0:
        rows.append(("", f"and {hidden} more corpora: --json shows them"))
    return rows


def notes_rows(notes: str) -> Rows:
    """The notes of a card, shortened; none if they are empty."""
    return [("notes", textwrap.shorten(notes, 400, placeholder=" ..."))] if notes else []


def _row(label: str, text: str) -> list[str]:
    """A label and its text, wrapped beside it."""
    first, rest = f"  {label:<{_LABEL}}  ", " " * (_LABEL + 4)
    lines = textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
    return [line.replace(GLUE, " ") for line in lines]


def _front_end(facts: "BundleFacts") -> Rows:
    front, prep = facts.front_end, facts.manifest.prep
    low, high = map(_round, front["centres_hz"])
    before, after = map(_number, front["reach_ms"])
    words = {"mix": "the mean of all channels", "each": "each channel by itself"}
    bins = prep.tile_size
    return [
        ("transform", f"{prep.frontend}: {FRONTENDS[prep.frontend].words}{_options(prep)}"),
        (
            "sound",
            f"{prep.true_rate} Hz{_expanded(prep)}, "
            f"{words.get(prep.channels, f'channel {prep.channels}')}",
        ),
        ("bins", f"{bins}, centred on {low} Hz to {high} Hz"),
        (
            "frames",
            f"every {_number(front['frame_ms'])} ms ({prep.hop_length} samples), each from "
            f"{before} ms of sound before its centre and {after} ms after",
        ),
        ("tile", f"{bins} bins x {bins} frames: {_number(front['tile_s'])} s"),
        ("levels", _levels(prep)),
        ("normalised", _normalization(facts.manifest)),
    ]


def _expanded(prep: "PrepSettings") -> str:
    if prep.time_expansion == 1:
        return ""
    return f" (time expansion {prep.time_expansion:g}: taken as {prep.sample_rate} Hz)"


def _options(prep: "PrepSettings") -> str:
    given = {name: getattr(prep, name) for name in FRONTENDS[prep.frontend].settings}
    words = [f"{name} {value}" for name, value in given.items() if value is not None]
    return f" ({', '.join(words)})" if words else ""


def _levels(prep: "PrepSettings") -> str:
    if prep.normalization == "level":
        return f"clipped {_number(prep.level_range_db)} dB below the tracked level"
    return f"clipped at {_number(prep.floor_db)} dB re a full-scale sine"


def _normalization(manifest: "BundleManifest") -> str:
    prep = manifest.prep
    words = NORMALIZATION_WORDS[prep.normalization]
    if prep.normalization == "pcen":
        words += (
            f" (gain {prep.pcen_gain:g}, bias {prep.pcen_bias:g}, power {prep.pcen_power:g}, "
            f"{prep.pcen_time_constant:g} s)"
        )
    if prep.normalization == "level":
        words += (
            f" (falling {prep.level_release_db:g} dB a second, at least {prep.level_least_db:g} dB "
            "re a full-scale sine)"
        )
    constants = manifest.normalization
    if constants is None:
        return words
    unit = "" if prep.normalization == "pcen" else " dB"
    return (
        f"{words}: (level - offset) / scale, offset {constants.offset:.4g}{unit}, "
        f"scale {constants.scale:.4g}{unit}"
    )


def _model(facts: "BundleFacts") -> Rows:
    model = facts.model
    before, after = map(_number, model["context_ms"])
    return [
        ("encoder", _layers(model["encoder"])),
        ("decoder", _layers(model["decoder"])),
        ("embedding", f"{model['embedding_dim']} dimensions"),
        (
            "sees",
            f"{_number(model['receptive_field_ms'])} ms for each token: {before} before, "
            f"{_number(facts.grid['column_ms'])} of its own, {after} after",
        ),
        (
            "cost",
            f"{model['memory_bytes'] / 1e6:.0f} MB at once, and "
            f"{_number(model['operations_per_second'] / 1e9)} billion operations for a second of "
            "sound, at most",
        ),
        (
            "parameters",
            f"{model['parameters']:,}, of which {model['encoder_parameters']:,} in the encoder",
        ),
    ]


def _layers(layers: "list[Table]") -> str:
    strides = ", ".join("x".join(map(str, layer["stride"])) for layer in layers)
    channels = ", ".join(str(layer["channels"]) for layer in layers)
    return f"strides {strides} (bins x frames); channels {channels}"


def _tokens(facts: "BundleFacts") -> Rows:
    manifest = facts.manifest
    names = ("column_ms", "tokens_per_second", "bits_per_second", "bits_per_token")
    column, tokens, rate, bits = (_number(facts.grid[name]) for name in names)
    specials = manifest.special_tokens.items()
    codes = manifest.model.codebook_size
    unused = manifest.vocabulary_size - codes - len(specials)
    return [
        (
            "grid",
            f"{facts.grid['bands']} bands every {column} ms; one token is "
            f"{manifest.model.frequency_stride} bins x {manifest.model.time_stride} frames",
        ),
        ("rate", f"{tokens} tokens/s, {rate} bits/s ({bits} bits a token)"),
        ("band edges", _edges(facts.grid["edges_hz"])),
        ("codes", f"0 to {codes - 1}"),
        ("special", ", ".join(f"{token}{GLUE}{number}" for token, number in specials)),
        ("vocabulary", f"{manifest.vocabulary_size}, the last {unused} unused"),
    ]


def _edges(edges: list[float]) -> str:
    words = [_round(edge) for edge in edges]
    if len(words) > _SHOWN_EDGES:
        words[_SHOWN_EDGES // 2 : -_SHOWN_EDGES // 2] = ["..."]
    return f"{', '.join(words)}{GLUE}Hz"


def _codebook(facts: "BundleFacts") -> Rows:
    book, quantizer = facts.codebook, facts.manifest.model.quantizer
    size, compared, duplicates = book["size"], book["compared"], book["duplicates"]
    some = "" if compared == size else f" (of {compared} codes)"
    norm, at = book["latent_norm"], f"{GLUE}at{GLUE}"
    levels = [f"{level['median']:.3g}{at}{level['quantile']:g}" for level in book["unk"]]
    equal = f"{duplicates} codes equal earlier codes, and are never chosen"
    return [
        ("quantizer", f"{quantizer}: {QUANTIZER_TRAITS[quantizer].words}"),
        ("codes", f"{size} of {facts.model['embedding_dim']} dimensions"),
        ("norms", _spread(book["norm"]) + (f"; a latent's is {norm:.4g}" if norm else "")),
        ("apart", f"{_spread(book['nearest'])}, from each to its nearest{some}"),
        ("duplicates", equal if duplicates else "none"),
        ("<unk>", f"beyond a squared distance of {', '.join(levels)} (median code)"),
    ]


def _spread(spread: "Table") -> str:
    return f"{spread['least']:.3g} to {spread['most']:.3g}, median {spread['median']:.3g}"


def _card(card: "Card") -> Rows:
    rows = corpora_rows(card.corpora)
    if (training := card.training) is not None:
        text = f"{training.steps} steps, {training.epochs} epochs, {training.tiles} tiles, "
        rows.append(("training", f"{text}seed {training.seed}"))
    if (figures := card.figures) is not None:
        rows += [
            ("held out", f"{figures.tokens} tokens, {figures.sound_tokens} of them not silent"),
            (
                "error",
                f"MSE {_or_dash(figures.reconstruction)}; "
                f"{_or_dash(figures.reconstruction_db)} dB², "
                f"not silent {_or_dash(figures.sound_reconstruction_db)} dB²",
            ),
            (
                "usage",
                f"{_percent(figures.usage)}, not silent {_percent(figures.sound_usage)}",
            ),
            (
                "entropy",
                f"{_percent(figures.entropy)}, not silent {_percent(figures.sound_entropy)}, "
                "of the maximum",
            ),
        ]
    if card.versions is not None:
        versions = card.versions.model_dump()
        rows.append(("made with", ", ".join(f"{name} {text}" for name, text in versions.items())))
    rows += notes_rows(card.notes)
    return rows or [("", "empty")]


def _corpus(corpus: "Corpus") -> str:
    return (
        f"{corpus.name or 'unnamed recordings'}: {counted(corpus.recordings, 'recording')}, "
        f"{_duration(corpus.hours)}, licence {corpus.licence or 'not stated'}"
    )


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{60 * hours:.1f} minutes" if hours >= 1 / 60 else f"{3600 * hours:.0f} seconds"


def _file(file: "Table") -> str:
    digest = f"sha256 {file['sha256'][:12]}..." if file["sha256"] else ""
    return f"  {file['name']:<{_FILE_LABEL}}{file['bytes']:>14,} bytes  {digest}".rstrip()


def _round(frequency: float) -> str:
    return f"{frequency:.0f}" if frequency >= 100 else f"{frequency:.3g}"


def _number(value: float) -> str:
    """Four digits, without an exponent for common sizes."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
