"""Features that are computed once, a panel per column: Alpha158, those of the user, both mixed."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from alphazoo.data import alpha158, rolling
from alphazoo.data.features import FeatureSet, Windows
from alphazoo.data.market import Market
from alphazoo.data.store import stored_panel
from alphazoo.errors import InputError, did_you_mean

Function = Callable[[Market], Mapping[str, Tensor]]  # [D, S] by name of the column


class Panels(FeatureSet):
    """Columns by name, in any order and mixture.

    A column is one of `alphazoo.data.alpha158.COLUMNS`, one that a function of the user gives, or a
    field of the market beside its prices, such as a fundamental of the user's table.

    Args:
        columns: [F], names.
        window: T, days per window, today included.
        functions: Each makes panels [D, S] from a market; all of them by name, NaN where unknown.
            What it says of a day must depend on days up to that one; ``alphazoo data audit`` looks.
        cache: Folder that keeps the columns of Alpha158, as they take seconds; None or empty: none.
    """

    def __init__(
        self,
        columns: Sequence[str],
        window: int,
        functions: Sequence[Function] = (),
        cache: str | None = None,
    ) -> None:
        super().__init__(columns, window)
        self.functions = list(functions)
        self.cache = cache or None

    def bind(self, market: Market) -> "PanelWindows":
        """Compute the columns of a market: 4 bytes per column, day and stock.

        Raises:
            InputError: A column is unknown or given twice, a function gives something else than
                panels [D, S], or the window is longer than the calendar.
        """
        self.check_history(market)
        own = self._own(market)
        published = [name for name in self.columns if name in alpha158.COLUMNS]
        for name in self.columns:
            if name not in own and name not in published:
                hint = did_you_mean(name, [*own, *alpha158.COLUMNS])
                raise InputError(f"features.columns: nothing gives {name!r}; {hint}")
        rest = [name for name in self.columns if name in own]
        parts = [self._published(market, published)] if published else []
        if rest:
            parts.append(torch.stack([own[name] for name in rest]))
        made = [*published, *rest]
        return PanelWindows(parts, [made.index(name) for name in self.columns], self.window)

    def _own(self, market: Market) -> dict[str, Tensor]:
        """Fields of the market and what the functions give: [D, S] by name."""
        found = {name: x for name, x in market.fields.items() if name not in alpha158.FIELDS}
        for name in found:
            if name in alpha158.COLUMNS:
                raise InputError(f"a field of the market has the name of a column: {name!r}")
        for function in self.functions:
            maker = getattr(getattr(function, "func", function), "__qualname__", repr(function))
            for name, panel in function(market).items():
                if name in found or name in alpha158.COLUMNS:
                    raise InputError(f"features.functions: {maker} gives {name!r} a second time")
                shape = getattr(panel, "shape", None)
                if not isinstance(panel, Tensor) or shape != market.members.shape:
                    raise InputError(
                        f"features.functions: {maker} gives {name!r} as {type(panel).__name__} "
                        f"{tuple(shape or ())}, expected Tensor {tuple(market.members.shape)}"
                    )
                found[name] = panel.float()
        return found

    def _published(self, market: Market, columns: Sequence[str]) -> Tensor:
        """Columns of Alpha158: [F, D, S]."""
        if self.cache is None:
            panel = market.field("close").new_empty(len(columns), *market.members.shape)
            alpha158.compute(market.fields, columns, panel)
            return panel
        return stored_panel(
            self.cache,
            market,
            name="alpha158",
            columns=columns,
            code=[__file__, *(module.__file__ or "" for module in (alpha158, rolling))],
            lookback=alpha158.LONGEST,
            compute=lambda fields, out: alpha158.compute(fields, columns, out),
        )


class PanelWindows(Windows):
    """Windows that are cut from panels.

    Args:
        parts: [f, D, S] each, a panel per column: written, scaled and read one column at a time.
        order: [F], which of the columns of all parts each feature is.
        window: T.
    """

    def __init__(self, parts: Sequence[Tensor], order: Sequence[int], window: int) -> None:
        self.parts = parts
        self.order = order
        self.window = window
        self._panels = [panel for part in parts for panel in part]

    def __call__(self, day: int, stocks: Tensor) -> Tensor:
        """[T, N, F]; NaN before the calendar."""
        first = day - self.window + 1
        days = slice(max(first, 0), day + 1)
        known = torch.cat([part[:, days].index_select(2, stocks) for part in self.parts])
        windows = known.permute(1, 2, 0)[..., self.order].contiguous()  # [t, N, F]
        if first < 0:
            windows = torch.nn.functional.pad(windows, (0, 0, 0, 0, -first, 0), value=torch.nan)
        return windows

    def columns(self, days: Tensor) -> Iterator[Tensor]:
        """Yield [d, S] for every feature."""
        for index in self.order:
            yield self._panels[index][days]

    @property
    def statistics_shape(self) -> tuple[int, int]:
        """(1, F)."""
        return 1, len(self.order)

    def to(self, device: torch.device) -> "PanelWindows":
        """Copy with the panels on that device."""
        return PanelWindows([part.to(device) for part in self.parts], self.order, self.window)
