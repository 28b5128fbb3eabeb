"""The recipe's section `[options]`: ideas that a run may use, every one off unless the recipe asks."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

Rate = Annotated[float, Field(ge=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0)]


class OptionsError(ValueError):
    """An option with a value that it cannot have; the message names it."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Options:
    """Defaults leave training as the rest of the recipe says."""

    accumulate: Annotated[int, Field(ge=1)] = 1  # batches whose gradients make one optimiser step
    freeze_layers: Annotated[int, Field(ge=0)] = 0  # the embeddings and so many layers from below stay as they are
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # each layer's rate, against the one above it
    encoder_dropout: Rate = 0.0  # of hidden states and attention; costs a third of the time on a CPU
    head_dropout: Rate = 0.1
    class_weights: tuple[Weight, Weight, Weight] = (1.0, 1.0, 1.0)  # of SENTIMENT_LABELS
    average: Rate = 0.0  # decay of the moving average of the weights that the checkpoint then holds, such as 0.999
    r_drop: Annotated[float, Field(ge=0)] = 0.0  # weight of the disagreement of two passes
    fgm: Annotated[float, Field(ge=0)] = 0.0  # length of the adversarial shift of each text's embeddings
    adapter: Literal["", "lora", "adalora"] = ""  # trains low-rank updates in place of the encoder's weights
    adapter_rank: Annotated[int, Field(ge=1)] = 8
    casing: Chance = 0.0  # of a text to be set in lower case or capitals
    typos: Chance = 0.0
    punctuation: Chance = 0.0  # to lose most of it
    code_switch: Chance = 0.0  # to get names and words of feeling of other languages
    pairs: Chance = 0.0  # of a short post to be joined with one of another sentiment, each part learned by itself
    stop_check_minutes: Annotated[float, Field(ge=0)] = 0.0  # between two looks at the dev score; 0: no early stopping
    stop_patience: Annotated[int, Field(ge=1)] = 3  # looks without a better score that end the run
    stop_rows: Annotated[int, Field(ge=1)] = 40  # of each dev file
    wandb: str = ""  # the Weights & Biases project to log to, beside TensorBoard

    def __post_init__(self) -> None:
        if self.r_drop and not self.encoder_dropout and not self.head_dropout:
            raise ValueError("r_drop compares two passes that differ by dropout: set encoder_dropout or head_dropout")


def build_options(raw: dict[str, Any]) -> Options:
    """Options from the parsed section; OptionsError names the first field that is wrong."""
    try:
        return Options(**raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["options", *map(str, first["loc"])])
        raise OptionsError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
