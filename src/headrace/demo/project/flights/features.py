"""The features and the model of the demo: one definition, used to train, to judge and to score live."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import polars as pl

# Codes are positions in these tuples, never learnt from the rows at hand: one row alone has the same features as among
# a million. Whoever is not listed has no code (null), which the model treats as unknown.
ORIGINS = ("EWR", "JFK", "LGA")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
_DESTINATIONS = """
ABQ ACK ALB ANC ATL AUS AVL BDL BGR BHM BNA BOS BQN BTV BUF BUR BWI BZN CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA
DEN DFW DSM DTW EGE EYW FLL GRR GSO GSP HDN HNL HOU IAD IAH ILM IND JAC JAX LAS LAX LEX LGA LGB MCI MCO MDW MEM MHT
MIA MKE MSN MSP MSY MTJ MVY MYR OAK OKC OMA ORD ORF PBI PDX PHL PHX PIT PSE PSP PVD PWM RDU RIC ROC RSW SAN SAT SAV
SBN SDF SEA SFO SJC SJU SLC SMF SNA SRQ STL STT SYR TPA TUL TVC TYS XNA
"""
DESTINATIONS = tuple(_DESTINATIONS.split())
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
FEATURES = (
    *("carrier", "origin", "dest", "hour", "minute", "weekday", "distance"),
    *WEATHER,
    *("outcomes_count", "recent_late_share"),
)
_CATEGORIES = ("carrier", "origin")  # 105 destinations as categories overfit the first model (AUC 0.688 against 0.694)
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "seed": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "bin_construct_sample_cnt": 1_000_000,  # more than all rows: a sample would depend on their order
    "verbosity": -1,
}


def features(flights: pl.DataFrame) -> pl.DataFrame:
    """One row of `FEATURES` (codes Int64, the rest Float64) for each flight, in the same order.

    `flights` has the columns of the departures, the weather known when the flight was announced (or nulls), and the
    `outcomes_count` and `outcomes_late` outcomes at its airport. Each row depends on itself alone.
    """
    share = pl.when(pl.col("outcomes_count") > 0).then(pl.col("outcomes_late") / pl.col("outcomes_count"))
    numbers = ("hour", "minute", "weekday", "distance", *WEATHER, "outcomes_count")
    return flights.select(
        _code("carrier", CARRIERS),
        _code("origin", ORIGINS),
        _code("dest", DESTINATIONS),
        pl.col(numbers).cast(pl.Float64),
        recent_late_share=share,
    )


def train(rows: pl.DataFrame, rounds: int = 200) -> lgb.Booster:
    """A model of `late`, a column of `rows` beside those that `features` needs; the same rows give the same model."""
    data = lgb.Dataset(
        _matrix(rows),
        rows["late"].cast(pl.Float64).to_numpy(),
        feature_name=list(FEATURES),
        categorical_feature=list(_CATEGORIES),
    )
    return lgb.train(_PARAMETERS, data, num_boost_round=rounds)


def predict(model: lgb.Booster, rows: pl.DataFrame) -> pl.Series:
    """The probability, 0..1, that each flight is late, as `p_late`: the same however rows are split (one thread)."""
    if rows.is_empty():
        return pl.Series("p_late", [], dtype=pl.Float64)
    return pl.Series("p_late", np.asarray(model.predict(_matrix(rows), num_threads=1)), dtype=pl.Float64)


def _matrix(rows: pl.DataFrame) -> npt.NDArray[np.float64]:
    return features(rows).select(pl.all().cast(pl.Float64)).to_numpy()


def _code(column: str, values: tuple[str, ...]) -> pl.Expr:
    codes = {value: code for code, value in enumerate(values)}
    return pl.col(column).replace_strict(codes, default=None, return_dtype=pl.Int64)
