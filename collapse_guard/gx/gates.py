"""Expectations of our own on the metric table, and the one that stands where an expectation cannot be asked."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.render.components import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer
from great_expectations.validator.metric_configuration import MetricConfiguration

from collapse_guard.gx.findings import why_closed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.execution_engine.execution_engine import ExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.validator.validator import ValidationDependencies

_TABLE = "table.head"


class _OnMetricTable(BatchExpectation):
    """An expectation that reads the whole metric table, which has one row per gate."""

    @abstractmethod
    def observe(self, table: pd.DataFrame) -> tuple[Any, str | None]:
        """Look at the table: the value to show, and why the expectation does not hold, null where it does."""

    @classmethod
    @abstractmethod
    def told(cls, kwargs: Mapping[str, Any]) -> str:
        """What is expected, in plain words."""

    def get_validation_dependencies(
        self,
        execution_engine: ExecutionEngine[Any] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> ValidationDependencies:
        """Ask for the whole table."""
        needed = super().get_validation_dependencies(execution_engine, runtime_configuration)
        domain = {"batch_id": self.configuration.kwargs.get("batch_id")}
        asked = MetricConfiguration(_TABLE, domain, {"n_rows": 1, "fetch_all": True})
        needed.set_metric_configuration(_TABLE, asked)
        return needed

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002 - the signature is GX's
        execution_engine: ExecutionEngine[Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        observed, reason = self.observe(metrics[_TABLE])
        return {"success": reason is None, "result": {"observed_value": observed, "details": {"reason": reason}}}

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls,
        configuration: ExpectationConfiguration | None = None,
        result: ExpectationValidationResult | None = None,
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG003 - the signature is GX's
    ) -> list[RenderedStringTemplateContent]:
        known = configuration or (result.expectation_config if result else None)
        said = {"template": "$text", "params": {"text": cls.told(known.kwargs if known else {})}, "styling": {}}
        return [RenderedStringTemplateContent(content_block_type="string_template", string_template=said)]


class ExpectMetricInsideBound(_OnMetricTable):
    """Expect that the judge passed a gate, and that its metric is inside the bound."""

    gate: str
    low: float | None = None
    high: float | None = None

    success_keys: ClassVar[tuple[str, ...]] = ("gate", "low", "high")

    def observe(self, table: pd.DataFrame) -> tuple[Any, str | None]:
        """Look at the gate's row."""
        rows = table[table["gate"] == self.gate].to_dict("records")
        observed = rows[0]["value"] if len(rows) == 1 else None
        return observed, why_closed(rows, self.low, self.high)

    @classmethod
    def told(cls, kwargs: Mapping[str, Any]) -> str:
        """Name the gate and its bound."""
        edges = (("low", "at least"), ("high", "at most"))
        return f"gate {kwargs['gate']}: " + " and ".join(
            f"{words} {kwargs[edge]:g}" for edge, words in edges if edge in kwargs
        )


class ExpectJudgementToPass(_OnMetricTable):
    """Expect that the judge passed the corpus as a whole, its state included."""

    def observe(self, table: pd.DataFrame) -> tuple[Any, str | None]:
        """Look at what every row says about the whole."""
        state = " ".join(sorted({str(state) for state in table["state"]})) or "unknown"
        if len(table) and all(flag is True for flag in table["judgement_passed"]):
            return state, None
        return state, f"the judge did not pass the corpus (state {state})"

    @classmethod
    def told(cls, kwargs: Mapping[str, Any]) -> str:  # noqa: ARG003 - of one form with the others
        """Say so."""
        return "the judge passed the corpus"


class ExpectToBeAnswerable(_OnMetricTable):
    """Expect that an expectation of a suite can be asked at all; it stands in its place where it cannot, and fails."""

    asked: str
    reason: str

    success_keys: ClassVar[tuple[str, ...]] = ("asked", "reason")

    def observe(self, table: pd.DataFrame) -> tuple[Any, str | None]:  # noqa: ARG002 - of one form with the others
        """Fail."""
        return None, self.reason

    @classmethod
    def told(cls, kwargs: Mapping[str, Any]) -> str:
        """Say what could not be asked, and why."""
        return str(kwargs["reason"])
