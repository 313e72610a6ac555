import pytest

from serving.settings import Settings, SettingsError, read


def test_without_variables_everything_has_its_default():
    assert read({}) == Settings()


def test_variables_are_read_by_name_and_type():
    found = read({"FLIGHTLINE_PORT": "9000", "FLIGHTLINE_LOG_SHARE": "0.5", "FLIGHTLINE_NOTICE": "not fit"})
    assert (found.port, found.log_share, found.notice) == (9000, 0.5, "not fit")


def test_an_empty_variable_counts_as_unset():
    assert read({"FLIGHTLINE_PORT": "", "FLIGHTLINE_BUNDLE_VERSION": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FLIGHTLINE_PORT", "abc"),
        ("FLIGHTLINE_PORT", "0"),
        ("FLIGHTLINE_PORT", "65536"),
        ("FLIGHTLINE_LOG_SHARE", "1.5"),
        ("FLIGHTLINE_MAX_ROWS", "0"),
        ("FLIGHTLINE_BUNDLE_VERSION", "latest"),
        ("FLIGHTLINE_SLO_P95_SECONDS", "-1"),
        ("FLIGHTLINE_REQUEST_TIMEOUT", "nan"),
        ("FLIGHTLINE_READY_WAIT", "inf"),
    ],
)
def test_a_bad_value_is_refused_with_variable_value_and_fix(variable, value):
    with pytest.raises(SettingsError) as caught:
        read({variable: value})
    assert f"{variable} is {value!r}" in str(caught.value)
    assert "unset it for the default" in str(caught.value)


def test_a_variable_that_kubernetes_injected_is_told_apart():
    with pytest.raises(SettingsError, match="enableServiceLinks: false"):
        read({"FLIGHTLINE_PORT": "tcp://10.0.0.1:80"})


def test_only_the_objectives_that_were_given_are_shown():
    assert read({"FLIGHTLINE_SLO_P95_SECONDS": "0.05"}).slo == {"p95_seconds": 0.05}
