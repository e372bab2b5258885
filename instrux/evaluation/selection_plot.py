"""The choice of a checkpoint by a scorer: validation loss and score side by side, epoch by epoch."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from instrux.data.selected_step import SelectedStep
from instrux.evaluation.drawing import INK, MUTED, Drawing, arm_style, draw, plain


@dataclass(frozen=True)
class SelectionSection:
    """How one run's checkpoint was chosen: heading, a sentence, and the two curves."""

    title: str
    sentence: str
    drawing: Drawing


def selection_section(name: str, number: int, chosen: SelectedStep) -> SelectionSection:
    """Draws the curves of a run whose checkpoint a scorer chose.

    Args:
        name: the run's.
        number: its place in the report.
        chosen: scores and losses by step.
    """
    per_epoch = chosen.steps_per_epoch or 1
    word = "epoch" if chosen.steps_per_epoch else "step"
    scores = [(step / per_epoch, score) for step, score in chosen.scores.items()]
    losses = [(step / per_epoch, loss) for step, loss in chosen.losses.items()]
    at = chosen.step / per_epoch
    sentence = (
        f"{word.capitalize()} {at:g} of {max(chosen.scores) / per_epoch:g} was chosen by"
        f" {chosen.rule} on {chosen.split} prompts ({chosen.score:.3f})."
    )
    if losses:
        lowest, loss = min(losses, key=lambda point: point[1])
        sentence += (
            f" Validation loss, which has no say, was lowest at {word} {lowest:g} ({loss:.4f})."
        )
    else:
        sentence += " Training logged no validation loss at these steps."

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _curve(left, losses, at, marked=min(losses, key=lambda p: p[1]) if losses else None)
        _curve(right, scores, at, marked=max(scores, key=lambda p: (p[1], -p[0])))
        left.set_title("Validation loss")
        left.set_ylabel("nats a target token")
        right.set_title(plain(f"Score: {chosen.rule}"))
        for axes in (left, right):
            axes.set_xlabel(word)
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.grid(axis="y")

    drawing = draw(f"selection_{number}", f"{name}: {sentence}", paint, width=9, height=3.4)
    return SelectionSection(name, sentence, drawing)


def _curve(
    axes: Axes,
    points: list[tuple[float, float]],
    chosen: float,
    *,
    marked: tuple[float, float] | None,
) -> None:
    if marked is None:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=MUTED)
        return
    colour = arm_style(0)["color"]
    axes.plot(*zip(*points, strict=True), color=colour, lw=2, marker="o", ms=4)
    axes.plot(*marked, ls="", marker="o", ms=10, mfc="none", mec=INK, mew=1.5)
    axes.axvline(chosen, color=MUTED, lw=1, ls="--")
