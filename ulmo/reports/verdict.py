"""What `ulmo-train` and `ulmo eval` print if ids do not change with the sound."""

from collections.abc import Container

from ulmo.evaluation.verdict import Verdict


def verdict_lines(verdict: Verdict, where: str, advice: str) -> list[str]:
    """One line, or none if the ids vary; `where` says which tokens were judged."""
    if verdict.kind == "varied":
        return []
    if verdict.kind == "silence":
        return [
            f"SILENCE     no token is sound ({where}): these figures say nothing about the "
            "tokenizer; measure it on recordings with sound"
        ]
    used = f"{verdict.codes} of {verdict.codebook_size} codes in use"
    if verdict.kind == "one_code":
        words = f"all {verdict.tokens} non-silent tokens have one id ({where}: {used})"
        return [f"ONE CODE    {words}: {advice}"]
    return [
        f"COLLAPSED   ids hardly change with the sound ({where}: {used}, the most used for "
        f"{verdict.top1:.0%} of non-silent tokens, entropy within bands {verdict.entropy:.3f}): "
        f"{advice}"
    ]


def training_advice(objectives: Container[str], quantizer: str) -> str:
    """What to do about a collapse; never what the run did already."""
    if "reconstruct" not in objectives:
        return "train with reconstruct as one of the objectives"
    if quantizer != "ema":
        return "train with --quantizer ema, or on more varied recordings"
    return "train on more varied recordings, or for more epochs"
