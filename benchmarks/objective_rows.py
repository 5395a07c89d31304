"""The rows of the table of objectives: what the encoder learns, and further flags."""

from typing import Literal, NamedTuple

from ulmo.config import OBJECTIVE_TRAITS

# One step so small that no weight changes: training only fits the codebook, by k-means.
UNTRAINED = (
    *("--quantizer", "kmeans", "--balance", "0"),
    *("--max-minutes", "1e-6", "--learning-rate", "1e-12", "--final-learning-rate", "0"),
)


class Row(NamedTuple):
    """One encoder."""

    title: str
    objective: str = ""  # as `ulmo-train --objective` takes it
    flags: tuple[str, ...] = ()  # further flags of ulmo-train, which override those of all rows
    kind: Literal["ulmo", "mfcc"] = "ulmo"


# Each objective alone, then combinations.
ROWS = {
    "mfcc": Row("k-means, MFCC-39, 10 ms", kind="mfcc"),
    "untrained": Row("untrained encoder, k-means", "reconstruct", UNTRAINED),
    **{name: Row(name, name) for name in OBJECTIVE_TRAITS},
    "next_frame-simclr": Row("next_frame + simclr", "next_frame=1,simclr=1"),
    "reconstruct-simclr": Row("reconstruct + simclr", "reconstruct=1,simclr=1"),
    "reconstruct-next_frame-simclr": Row(
        "reconstruct + next_frame + simclr", "reconstruct=1,next_frame=1,simclr=1"
    ),
}
