"""The check of models that read the state of the market."""

from alphazoo.errors import InputError


def check_market_state(model: str, n_market: int) -> None:
    """Raise an error unless the data have a market state.

    Args:
        model: Name of the model, for the message.
        n_market: Number of values in the state of a day.

    Raises:
        InputError: It is 0, because no index is set.
    """
    if n_market < 1:
        raise InputError(
            f"{model} needs a market state: set data.indices to the symbols of at least one "
            "index, such as data.indices=[SH000300]; it is empty"
        )
