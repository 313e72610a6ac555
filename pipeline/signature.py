"""The bundle's `signature.json`, made from the model's card and schema."""

from typing import TYPE_CHECKING

from serving.signature import Input, Output, Signature

if TYPE_CHECKING:
    from model.contract import Card, Column, Schema

# What a column says to people of the pipeline only; a client has no use for it.
_NOT_FOR_CLIENTS = {"known", "source", "faults"}


def of_model(card: "Card", schema: "Schema") -> Signature:
    """What pipeline and server agree on, in the order of the model's matrix."""
    return Signature(
        model=card.name,
        title=card.title,
        task=card.task,
        description=card.description,
        api=card.api,
        inputs=tuple(map(_input, schema.columns)),
        output=Output(
            description=card.output,
            unit=card.unit,
            minimum=card.minimum,
            maximum=card.maximum,
            threshold=card.threshold,
        ),
    )


def _input(column: "Column") -> Input:
    return Input(**column.model_dump(exclude=_NOT_FOR_CLIENTS))
