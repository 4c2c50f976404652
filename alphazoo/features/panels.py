"""Features computed as one panel per column: Alpha158, the user's own, or a mix of both."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from alphazoo.errors import InputError, did_you_mean
from alphazoo.features import alpha158, rolling
from alphazoo.features.base import FeatureSet, FeatureWindows
from alphazoo.features.store import stored_panel
from alphazoo.market.market import Market

Function = Callable[[Market], Mapping[str, Tensor]]  # [D, S] by name of the column


class Panels(FeatureSet):
    """A feature set that consists of named columns, in any order.

    A column is one of `alphazoo.features.alpha158.COLUMNS`, the result of a user's function, or an
    extra field of the market, such as a fundamental from the user's table.

    Args:
        columns: [F], names of the columns.
        window: T, number of days in a window, today included.
        functions: Each returns panels [D, S] of a market by name; NaN where unknown. The values of
            a day must depend only on days up to that day; ``alphazoo data audit`` checks this.
        cache: Folder in which computed columns of Alpha158 are stored; None or empty for no cache.
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
        """Compute the columns of a market; they take 4 bytes per column, day and stock.

        Raises:
            InputError: A column is unknown or defined twice, a function returns something other
                than panels [D, S], or the window is longer than the calendar.
        """
        self.check_history(market)
        custom = self._custom_panels(market)
        published = [name for name in self.columns if name in alpha158.COLUMNS]
        for name in self.columns:
            if name not in custom and name not in published:
                hint = did_you_mean(name, [*custom, *alpha158.COLUMNS])
                raise InputError(f"features.columns: unknown column {name!r}; {hint}")
        others = [name for name in self.columns if name in custom]
        parts = [self._alpha158_panels(market, published)] if published else []
        if others:
            parts.append(torch.stack([custom[name] for name in others]))
        computed = [*published, *others]
        return PanelWindows(parts, [computed.index(name) for name in self.columns], self.window)

    def _custom_panels(self, market: Market) -> dict[str, Tensor]:
        """Return extra fields of the market and results of the functions, [D, S] by name."""
        panels = {name: x for name, x in market.fields.items() if name not in alpha158.FIELDS}
        for name in panels:
            if name in alpha158.COLUMNS:
                raise InputError(f"the market has a field named like a column: {name!r}")
        for function in self.functions:
            title = getattr(getattr(function, "func", function), "__qualname__", repr(function))
            for name, panel in function(market).items():
                if name in panels or name in alpha158.COLUMNS:
                    raise InputError(f"features.functions: {title} defines {name!r} again")
                shape = getattr(panel, "shape", None)
                if not isinstance(panel, Tensor) or shape != market.members.shape:
                    raise InputError(
                        f"features.functions: {title} returns {name!r} as {type(panel).__name__} "
                        f"{tuple(shape or ())}, expected Tensor {tuple(market.members.shape)}"
                    )
                panels[name] = panel.float()
        return panels

    def _alpha158_panels(self, market: Market, columns: Sequence[str]) -> Tensor:
        """Return columns of Alpha158, [F, D, S]."""
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


class PanelWindows(FeatureWindows):
    """Windows that are sliced from panels.

    Args:
        parts: [f, D, S] each, one panel per column, so that a column is contiguous in memory.
        order: [F], index of each feature in the concatenated parts.
        window: T, number of days in a window.
    """

    def __init__(self, parts: Sequence[Tensor], order: Sequence[int], window: int) -> None:
        self.parts = parts
        self.order = order
        self.window = window
        self._panels = [panel for part in parts for panel in part]

    def __call__(self, day: int, stocks: Tensor) -> Tensor:
        """Return the windows [T, N, F]; NaN before the first day of the calendar."""
        first = day - self.window + 1
        days = slice(max(first, 0), day + 1)
        panels = torch.cat([part[:, days].index_select(2, stocks) for part in self.parts])
        windows = panels.permute(1, 2, 0)[..., self.order].contiguous()  # [t, N, F]
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
        """Return a copy with the panels on the device."""
        return PanelWindows([part.to(device) for part in self.parts], self.order, self.window)
