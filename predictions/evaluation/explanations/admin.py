"""The explanation on a prediction's page in the admin."""

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from predictions.evaluation.charts import Chart, Series
from predictions.evaluation.explanations.errors import (
    ExplanationBusy,
    ExplanationFailed,
    ExplanationRefused,
)
from predictions.evaluation.explanations.explaining import Explanation, explain
from predictions.evaluation.explanations.features import Feature
from predictions.evaluation.explanations.verification import Part
from predictions.models import Prediction
from predictions.serving.limits.deadlines import Deadline
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined

PARAMETER = "explain"
# A page of a thousand rows helps nobody; the API has them all.
MAX_SHOWN_FEATURES = 30
BACKGROUNDS = {
    "training": "the rows on which the model was trained",
    "reference": "rows of the reference of its version",
    "zeros": "an input of zeros, since its version has no reference",
}


def is_wanted(request: HttpRequest) -> bool:
    """Whether the page is to explain the answer, which may take seconds."""
    return PARAMETER in request.GET


def explain_link(row: Prediction) -> SafeString:
    url = reverse("admin:predictions_prediction_change", args=[row.pk])
    return format_html('<a href="{}?{}=1">Explain this answer</a>', url, PARAMETER)


def explanation_html(row: Prediction) -> SafeString:
    """A table of what each feature contributed, the greatest first; or why there is none."""
    limit = row.model.timeout_seconds or settings.PREDICTION_TIMEOUT_SECONDS
    try:
        explanation = explain(row, Deadline.after(limit))
    except (
        ExplanationRefused,
        ExplanationBusy,
        ExplanationFailed,
        ArtifactMissing,
        ModelNotReady,
        ModelQuarantined,
    ) as error:
        return format_html("<p>{}</p>", str(error))
    tables = (
        (format_html("{}{}", _chart(explanation, part), _table(explanation, part)),)
        for part in explanation.parts
    )
    return format_html(
        "<p>By {}, compared with {}.</p>{}",
        explanation.method.replace("_", " "),
        BACKGROUNDS[explanation.background.kind],
        format_html_join("", "{}", tables),
    )


def _chart(explanation: Explanation, part: Part) -> SafeString:
    rows = _greatest_first(explanation, part)[:MAX_SHOWN_FEATURES]
    return Chart(
        title=f"Contributions to {part.output if part.label is None else part.label}",
        row_title="Feature",
        rows=[feature.name for feature, *_ in rows],
        series=[
            Series(
                name="contribution",
                values=[contribution for *_, contribution in rows],
                texts=[f"{contribution:+.4g}" for *_, contribution in rows],
                shape="bars",
            )
        ],
        axis="names",
    ).html()


def _table(explanation: Explanation, part: Part) -> SafeString:
    rows = _greatest_first(explanation, part)
    shown = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (feature.name, "-" if value is None else str(value)[:100], f"{contribution:+.4g}")
            for feature, value, contribution in rows[:MAX_SHOWN_FEATURES]
        ),
    )
    rest = rows[MAX_SHOWN_FEATURES:]
    more = format_html(
        "<tr><td>{} others</td><td></td><td>{}</td></tr>",
        len(rest),
        f"{sum(contribution for *_, contribution in rest):+.4g}",
    )
    return format_html(
        "<table><caption>{}: {}</caption><thead><tr><th>Feature</th><th>Value</th>"
        "<th>Contribution</th></tr></thead><tbody><tr><td>base</td><td></td><td>{}</td></tr>{}{}"
        "</tbody><tfoot><tr><th>sum</th><td></td><td>{}</td></tr>"
        "<tr><th>answer, by the link {}</th><td></td><td>{}</td></tr></tfoot></table>",
        part.output,
        "" if part.label is None else part.label,
        f"{part.base:.4g}",
        shown,
        more if rest else "",
        f"{part.total:.6g}",
        explanation.link,
        f"{part.explained:.6g}",
    )


def _greatest_first(explanation: Explanation, part: Part) -> list[tuple[Feature, object, float]]:
    """Each feature with its value and its contribution."""
    rows = zip(explanation.features, explanation.values, part.contributions, strict=True)
    return sorted(rows, key=lambda row: -abs(row[2]))
