"""StockMixer: multilayer perceptrons over the days of a stock, its features, and all stocks.

Fan and Shen, "StockMixer: a simple yet strong MLP-based architecture for stock price
forecasting", AAAI 2024. https://doi.org/10.1609/aaai.v38i8.28681
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alphazoo.bounds import NonNegativeFloat, PositiveInt
from alphazoo.data.days import DayBatch
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, shorten
from alphazoo.models.head import Head
from alphazoo.models.named import NamedModel
from alphazoo.models.probe import Probe


class CausalMix(nn.Module):
    """A linear layer over time by which each day reads itself and earlier days only.

    Args:
        window: T, number of days.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        rows, columns = torch.tril_indices(window, window)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        bound = (rows + 1.0).rsqrt()  # of torch's linear layers, by number of inputs
        self.weight = nn.Parameter(bound * torch.empty(len(rows)).uniform_(-1, 1))
        daily = torch.arange(1.0, window + 1).rsqrt()
        self.bias = nn.Parameter(daily * torch.empty(window).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the days of [N, T, F]."""
        weight = x.new_zeros(self.window, self.window)
        weight = weight.index_put((self.rows, self.columns), self.weight.to(x.dtype))
        return weight @ x + self.bias.unsqueeze(1)


class IndicatorMix(nn.Module):
    """Mixes the days of each stock, then the features of each day, with residual connections.

    Args:
        window: T, number of days.
        n_features: F, number of features per day.
    """

    def __init__(self, window: int, n_features: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm((window, n_features))
        self.time = CausalMix(window)
        self.norm2 = nn.LayerNorm((window, n_features))
        self.channels = nn.Sequential(
            nn.Linear(n_features, n_features), nn.GELU(), nn.Linear(n_features, n_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix [N, T, F]."""
        x = self.norm2(self.time(self.norm1(x)) + x)
        mixed: Tensor = x + self.channels(x)
        return mixed


class StockMixer(NamedModel):
    """The sum of two linear heads: on a stock's own days, and on those of all stocks mixed.

    For the window x [N, T, F] of a stock::

        c = convolution of x over pairs of days                     [N, T // 2, F]
        y = linear over features of [x, mix(x), mix(c)]             [N, 2 T + T // 2]
        z = mix of y over all S stocks, through market_size units   [S, 2 T + T // 2]
        score = head(y) + market_head(z)

    The universe is fixed: each of its S stocks has weights of its own, so a model is refused on
    another universe than that of its training run. A stock that is absent on a day enters the mix
    over stocks as zeros; one that is absent on all training days has weights that are not trained.

    In the authors' code, the score is a price, from which the loss computes the return; features
    here are scaled, so the score is the return itself. They train with ``loss=mse_pairwise``.

    Args:
        n_features: F, number of features per day.
        window: T, number of days, at least 2.
        n_stocks: S, number of stocks of the universe, on whichever days.
        market_size: Number of units through which the stocks are mixed.
        lr: Learning rate.
        weight_decay: L2 penalty.

    Attributes:
        names: Symbols of the universe, once a data module or a checkpoint has given them.
    """

    names_key = "symbols"
    fixed_universe = True

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        window: PositiveInt,
        n_stocks: int,
        market_size: PositiveInt,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if n_stocks < 1:
            raise InputError(
                "StockMixer needs model.n_stocks, the number of stocks of the universe; alphazoo "
                "data check prints it"
            )
        if window < 2:
            raise InputError(f"StockMixer needs features.window of at least 2 days, got {window}")
        self.n_stocks = n_stocks
        self.convolution = nn.Conv1d(n_features, n_features, kernel_size=2, stride=2)
        self.mix = IndicatorMix(window, n_features)
        self.pair_mix = IndicatorMix(window // 2, n_features)
        self.reduce = nn.Linear(n_features, 1)
        self.market = nn.Sequential(
            nn.LayerNorm(n_stocks),
            nn.Linear(n_stocks, market_size),
            nn.Hardswish(),
            nn.Linear(market_size, n_stocks),
        )
        steps = 2 * window + window // 2
        self.head = Head(steps)
        self.market_head = Head(steps)
        self.terms = Probe("terms", "stock", "term", terms=("own days", "market"))

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly."""
        x = day.features
        pairs = self.convolution(x.transpose(1, 2)).transpose(1, 2)
        y = self.reduce(torch.cat([x, self.mix(x), self.pair_mix(pairs)], dim=1)).squeeze(2)
        universe = y.new_zeros(self.n_stocks, y.shape[1]).index_copy(0, day.stocks, y)
        z = self.market(universe.T).T[day.stocks]  # [N, steps]
        own, market = self.head(y), self.market_head(z)
        if self.terms.observed:
            self.terms(torch.cat([own, market], dim=1))
        scores: Tensor = own + market
        return scores.squeeze(-1)

    def names_in(self, data: MarketDataModule) -> Sequence[str]:
        """Return the symbols of the universe.

        Raises:
            InputError: Their number is not that of the model.
        """
        if len(data.market.symbols) != self.n_stocks:
            raise InputError(
                f"the universe has {len(data.market.symbols)} stocks, but model.n_stocks="
                f"{self.n_stocks}: StockMixer has weights for each stock"
            )
        return data.market.symbols

    def refuse_names(self, known: Sequence[str], other: Sequence[str]) -> InputError:
        """Return the error for another universe."""
        differ = shorten(sorted({*known} ^ {*other})) or "only the order"
        return InputError(
            "StockMixer was trained on another universe than that of the data, and has weights "
            f"for each stock; they differ in {differ}"
        )
