"""What predictions adds to the registry: admin links and the promotion gate."""

import re

from django.test import Client

from predictions.evaluation.promotion import gate
from registry import hooks
from registry.aliases import moves
from registry.models import ModelVersion


def test_the_promotion_gate_is_registered() -> None:
    assert hooks.extension().promotion_gate is gate.check


def test_the_links_of_a_version_lead_to_its_predictions_and_quality(
    admin_client: Client, iris: ModelVersion
) -> None:
    page = admin_client.get(f"/admin/registry/modelversion/{iris.pk}/change/").content.decode()

    assert f'<a href="/admin/predictions/prediction/?model__id__exact={iris.pk}">' in page
    for label in ("Predictions", "Quality"):
        link = re.search(rf'href="([^"]+)">{label}</a> ·|· <a href="([^"]+)">{label}</a>', page)
        assert link is not None
        assert admin_client.get(link[1] or link[2]).status_code == 200


def test_the_link_of_an_alias_leads_to_its_comparison(
    admin_client: Client, iris: ModelVersion
) -> None:
    row, _ = moves.set_alias(name="iris", alias="champion", version="1")
    page = admin_client.get(f"/admin/registry/alias/{row.pk}/change/").content.decode()

    link = re.search(r'href="([^"]+)">Comparison</a>', page)

    assert link is not None
    assert admin_client.get(link[1]).status_code == 200
