"""Settings: which place wins, what is refused and where the message points."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import SettingsError
from headrace.settings import FILE, read_settings

BASE = """\
workers = 3

[project]
name = "flights"

[secrets]
warehouse = "env:WAREHOUSE_URL"

[env.prod]
workers = 16
schedules = true

[env.prod.secrets]
warehouse = "file:secrets/warehouse"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "headrace.toml").write_text(BASE)
    return tmp_path


def refusal(folder: Path, text: str, **environ: str) -> SettingsError:
    (folder / "headrace.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_settings(folder, environ=environ)
    return caught.value


def test_the_nearest_file_upwards_is_the_root(project: Path) -> None:
    inner = project / "flights" / "deep"
    inner.mkdir(parents=True)
    settings = read_settings(inner, environ={})
    assert (settings.root, settings.name, settings.workers) == (project, "flights", 3)
    assert settings.database == project / ".headrace" / "headrace.db"


def test_without_a_file_the_folder_itself_is_the_root(tmp_path: Path) -> None:
    folder = tmp_path / "My flights"
    folder.mkdir()
    settings = read_settings(folder, environ={})
    assert (settings.is_project, settings.root, settings.name) == (False, folder, "my_flights")


def test_a_flag_beats_a_variable_beats_the_env_beats_the_base(project: Path) -> None:
    def workers(environ: dict[str, str], **flags: object) -> int:
        return read_settings(project, environ=environ, flags=flags).workers

    assert workers({}) == 3
    assert workers({"HEADRACE_ENV": "prod"}) == 16
    assert workers({"HEADRACE_ENV": "prod", "HEADRACE_WORKERS": "5"}) == 5
    assert workers({"HEADRACE_ENV": "prod", "HEADRACE_WORKERS": "5"}, workers=6) == 6


def test_a_chosen_env_beats_the_variable(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no \[env.prd\] \(did you mean 'prod'\?\)"):
        read_settings(project, env="prd", environ={"HEADRACE_ENV": "prod"})


def test_every_value_knows_where_it_comes_from(project: Path) -> None:
    settings = read_settings(project, env="prod", environ={"HEADRACE_MAX_LOST": "1"})
    assert settings.origins["workers"] == f"{project}/headrace.toml:10"
    assert settings.origins["max_lost"] == "HEADRACE_MAX_LOST"
    assert settings.origins["stream_processes"] == "default"


def test_secrets_of_an_env_are_laid_over_and_files_are_meant_from_the_project(project: Path) -> None:
    assert read_settings(project, environ={}).secrets == {"warehouse": "env:WAREHOUSE_URL"}
    assert read_settings(project, env="prod", environ={}).secrets == {"warehouse": f"file:{project}/secrets/warehouse"}


def test_an_unknown_key_is_refused_with_the_near_one_and_its_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, '[project]\nname = "flights"\n\n[env.prod]\nwrokers = 2\n', HEADRACE_ENV="prod")
    assert error.where == f"{tmp_path}/headrace.toml:5"
    assert "'wrokers' (did you mean 'workers'?)" in error.message


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, '[project]\nname = "flights"\n\n[topics.departures]\nkafka = "x"\n')
    assert (error.code, error.where) == ("HR1301", f"{tmp_path}/headrace.toml:4")
    assert "no key 'topics'" in error.message


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('workers = "4"', "a whole number from 0"),
        ("workers = -1", "a whole number from 0"),
        ("workers = true", "a whole number from 0"),
        ("schedules = 1", "true or false"),
        ("home = 3", "a text"),
        ('retention = "soon"', 'a length of time from 1s, such as "90d", or "forever"'),
        ('retention = "0s"', "a length of time from 1s"),
        ("retention = 90", "a length of time from 1s"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, line: str, wanted: str) -> None:
    error = refusal(tmp_path, f'{line}\n[project]\nname = "flights"\n')
    assert wanted in error.message
    assert error.where == f"{tmp_path}/headrace.toml:1"


@pytest.mark.parametrize("text", ["[project]\n", "", '[project]\nname = ""\n', "[project]\nname = 3\n"])
def test_a_project_needs_a_name(tmp_path: Path, text: str) -> None:
    assert "[project] has no name" in refusal(tmp_path, text).message


def test_text_that_is_not_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "workers = 2\nschedules = maybe\n").where == f"{tmp_path}/headrace.toml:2"


@pytest.mark.parametrize("reference", ["hunter2", "vault:x", "env:", "postgresql://user:pw@host"])
def test_a_secret_is_a_reference_and_never_a_value(tmp_path: Path, reference: str) -> None:
    error = refusal(tmp_path, f'[project]\nname = "flights"\n[secrets]\nwarehouse = "{reference}"\n')
    assert error.where == f"{tmp_path}/headrace.toml:4"
    assert reference not in str(error).replace("env:WAREHOUSE", "")


def test_a_variable_of_the_wrong_type_is_refused(project: Path) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_WORKERS is a whole number"):
        read_settings(project, environ={"HEADRACE_WORKERS": "many"})


def test_a_misspelt_variable_is_refused_and_a_foreign_one_is_not(project: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'HEADRACE_WORKERS'"):
        read_settings(project, environ={"HEADRACE_WORKRES": "2"})
    read_settings(project, environ={"HEADRACE_TEAM": "blue"})


def test_home_can_lie_elsewhere(project: Path, tmp_path: Path) -> None:
    settings = read_settings(project, environ={"HEADRACE_HOME": str(tmp_path / "state")})
    assert settings.logs == tmp_path / "state" / "logs"


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("wrokers = 3", r"\[env.prod\] has no key 'wrokers' \(did you mean 'workers'\?\)"),
        ("workers = -1", "workers is a whole number from 0, got -1"),
        ('[env.prod.secrets]\ntoken = "hunter2"', "says where its value is, never the value itself"),
    ],
)
def test_a_mistake_in_an_env_that_is_not_chosen_is_found_as_well(tmp_path: Path, mistake: str, said: str) -> None:
    (tmp_path / FILE).write_text(f'[project]\nname = "flights"\n[env.prod]\n{mistake}\n')
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(tmp_path, environ={})
    assert caught.value.where == f"{tmp_path / FILE}:{4 + mistake.count(chr(10))}"


def test_details_are_kept_for_90_days_unless_it_is_said_how_long(project: Path) -> None:
    def retention_us(**environ: str) -> int | None:
        return read_settings(project, environ=environ).retention_us

    assert retention_us() == 90 * 86_400_000_000
    assert retention_us(HEADRACE_RETENTION="2h") == 7_200_000_000
    assert retention_us(HEADRACE_RETENTION="forever") is None
    with pytest.raises(SettingsError, match="a length of time from 1s") as caught:
        retention_us(HEADRACE_RETENTION="never")
    assert caught.value.where == "HEADRACE_RETENTION"
