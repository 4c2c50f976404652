"""alphazoo data check, audit and export."""

from alphazoo.commands.arguments import compose_config, split_arguments
from alphazoo.commands.catalog import expected
from alphazoo.commands.importing import importing
from alphazoo.errors import InputError, shorten


def check(arguments: list[str]) -> None:
    """Print a summary of a data source and possible problems in it."""
    with importing():
        from alphazoo.config import instantiate
        from alphazoo.market.check import check_market

    config = compose_config(arguments, "data", "label")
    lines = check_market(instantiate(config.data.market)(), instantiate(config.label))
    width = max(map(len, lines))
    for subject, found in lines.items():
        print(f"{subject:<{width}}  {found}")


def audit(arguments: list[str]) -> None:
    """Raise an error if features or the market state look ahead."""
    with importing():
        from alphazoo.config import instantiate
        from alphazoo.data.audit import find_look_ahead
        from alphazoo.data.state import state_columns

    config = compose_config(arguments, "data", "features")
    features, market = instantiate(config.features), instantiate(config.data.market)()
    found = find_look_ahead(market, features)
    count = f"{len(features.columns)} features"
    if market.indices:
        count += f" and {len(state_columns(market.indices))} columns of the market state"
    if found:
        columns = shorten(f"{name} (on {shorten(dates, 2)})" for name, dates in found.items())
        raise InputError(f"{len(found)} of {count} look ahead: {columns}")
    print(f"none of {count} looks ahead: removing later days changes no value")


def export(arguments: list[str]) -> None:
    """Write features and the raw forward return as a table."""
    with importing():
        from alphazoo.config import instantiate
        from alphazoo.data.export import export_features

    own, rest = split_arguments(arguments, "data export")
    if "out" not in own:
        raise InputError(expected("data export"))
    config = compose_config(rest, "data", "features", "label")
    count = export_features(
        instantiate(config.data.market)(),
        instantiate(config.features),
        instantiate(config.label),
        own["out"],
        first=own.get("from"),
        last=own.get("to"),
    )
    print(f"{own['out']}: {count:,} rows")
