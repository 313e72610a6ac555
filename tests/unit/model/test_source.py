from datetime import date

import pandas as pd
import pytest

from model import source
from model.contract import Tables
from model.schema import KNOWN_AFTER, SCHEMA


@pytest.fixture(scope="module")
def january() -> Tables:
    return source.read(date(2013, 1, 1), date(2013, 1, 10))


def test_window_is_closed_at_both_ends(january: Tables) -> None:
    days = set(source.join(january)["date"])
    assert (min(days), max(days), len(days)) == ("2013-01-01", "2013-01-10", 10)


def test_weather_is_that_of_the_hour_before(january: Tables) -> None:
    frame = source.join(january)
    flight = frame[(frame["origin"] == "EWR") & (frame["scheduled_departure"] == "2013-01-01T10:15:00Z")].iloc[0]
    weather = january["weather"]
    before = weather[(weather["origin"] == "EWR") & (weather["time_hour"] == "2013-01-01T09:00:00Z")].iloc[0]
    assert flight["temp"] == before["temp"]
    hour = weather[(weather["origin"] == "EWR") & (weather["time_hour"] == "2013-01-01T10:00:00Z")].iloc[0]
    assert (before["temp"], before["wind_speed"]) != (hour["temp"], hour["wind_speed"])


def test_row_count_and_key_survive_the_joins(january: Tables) -> None:
    frame = source.join(january)
    assert len(frame) == len(january["flights"])
    assert not frame.duplicated(list(SCHEMA.key)).any()


def test_label_is_more_than_15_minutes_and_unknown_where_the_flight_never_arrived(january: Tables) -> None:
    frame = source.join(january)
    delay = frame["arr_delay"]
    assert (frame["late"][delay == 15] == 0).all()
    assert (frame["late"][delay == 16] == 1).all()
    assert (frame["late"].isna() == delay.isna()).all()
    assert delay.isna().any()


def test_impossible_wind_is_made_null(january: Tables) -> None:
    weather = january["weather"].assign(wind_speed=1048.36)
    assert source.join({**january, "weather": weather})["wind_speed"].isna().all()


def test_renamed_column_is_refused_by_name(january: Tables) -> None:
    renamed = {**january, "weather": january["weather"].rename(columns={"temp": "temperature"})}
    with pytest.raises(source.SourceError, match="table 'weather' has no column 'temp'"):
        source.join(renamed)


def test_missing_table_is_refused_by_name(january: Tables) -> None:
    with pytest.raises(source.SourceError, match="table 'planes' is missing"):
        source.join({name: table for name, table in january.items() if name != "planes"})


def test_duplicated_plane_is_refused_before_it_doubles_flights(january: Tables) -> None:
    planes = pd.concat([january["planes"], january["planes"].head(1)])
    with pytest.raises(ValueError, match="many-to-one"):
        source.join({**january, "planes": planes})


def test_every_column_is_documented() -> None:
    for column in (*SCHEMA.columns, *KNOWN_AFTER):
        assert column.description
        assert column.source
    assert all(column.unit for column in SCHEMA.columns if column.type == "number")


def test_nothing_known_only_afterwards_is_a_feature() -> None:
    assert not {column.name for column in KNOWN_AFTER} & set(SCHEMA.names)
