from __future__ import annotations

import msgspec
import pytest

from headrace.models.promotion import Gain, IfBetter, Verdict, gate

RULE = IfBetter("auc", by=0.003)


def measured(gain: float, se: float | None = 0.008) -> Gain:
    return Gain("auc", 0.700, 0.700 + gain, gain, se, 12_000, 14)


@pytest.mark.parametrize("gain", [0.017, 0.010, 0.027, 0.023, 0.004])
def test_by_default_a_gain_above_the_margin_promotes_also_within_its_noise(gain: float) -> None:
    assert gate(RULE, measured(gain)).promoted


@pytest.mark.parametrize("gain", [-0.013, 0.00197, 0.003])
def test_by_default_a_gain_not_above_the_margin_is_rejected(gain: float) -> None:
    assert not gate(RULE, measured(gain)).promoted


def test_a_gain_within_one_standard_error_is_called_inconclusive() -> None:
    verdict = gate(RULE, measured(0.004))
    assert verdict.inconclusive
    assert verdict.reason.endswith("is above 0.003 (inconclusive: within one standard error)")
    assert gate(RULE, measured(-0.004)).inconclusive
    assert not gate(RULE, measured(0.010)).inconclusive


@pytest.mark.parametrize(("choice", "outcome"), [("keep", "reject"), ("promote", "promote")])
@pytest.mark.parametrize("gain", [0.004, -0.004])
def test_an_inconclusive_gain_follows_what_the_rule_says(choice, outcome: str, gain: float) -> None:
    verdict = gate(IfBetter("auc", by=0.003, inconclusive=choice), measured(gain))
    assert (verdict.outcome, verdict.inconclusive) == (outcome, True)
    assert f'inconclusive="{choice}"' in verdict.reason


def test_what_to_do_with_an_inconclusive_gain_does_not_touch_a_clear_one() -> None:
    assert gate(IfBetter("auc", by=0.003, inconclusive="keep"), measured(0.02)).promoted
    assert not gate(IfBetter("auc", by=0.003, inconclusive="promote"), measured(-0.02)).promoted


def test_a_gain_of_unknown_error_is_inconclusive_and_says_so() -> None:
    verdict = gate(RULE, measured(0.02, se=None))
    assert verdict.promoted
    assert verdict.inconclusive
    assert "of unknown error" in verdict.reason


def test_the_first_version_promotes_itself_with_that_reason() -> None:
    verdict = gate(RULE, None)
    assert verdict.promoted
    assert verdict.reason.startswith("the first version")


def test_the_reason_shows_gain_error_and_rows() -> None:
    assert gate(RULE, measured(-0.013)).reason == (
        "auc 0.7000 → 0.6870: gain -0.01300 ± 0.00800 (n = 12,000, 14 days) is not above 0.003"
    )


def test_a_verdict_survives_json() -> None:
    verdict = gate(RULE, measured(0.01))
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
