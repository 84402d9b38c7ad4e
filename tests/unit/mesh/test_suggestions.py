"""What a user may have meant, found without a look at every host of a large mesh."""

from __future__ import annotations

import pytest

from xds_server.incremental import fixed
from xds_server.memo import no_memo
from xds_server.mesh.suggestions import similar_host, spelling

REST = "shop.svc.cluster.local"
KNOWN = fixed((host, host) for host in (f"reviews.{REST}", f"ratings.{REST}", "api.example.com", "x.org"))


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (f"revixws.{REST}", f"reviews.{REST}"),
        (f"ervews.{REST}", f"reviews.{REST}"),
        (f"reviewz.{REST}", f"reviews.{REST}"),
        (f"rating.{REST}", f"ratings.{REST}"),
        ("reviews.shop2.svc.cluster.local", f"reviews.{REST}"),
        ("apu.example.com", "api.example.com"),
        (f"checkout.{REST}", ""),
        ("reviews.elsewhere.org", ""),
        ("", ""),
    ],
)
def test_a_host_that_is_mistyped_at_one_end_is_found(wanted: str, meant: str) -> None:
    assert similar_host(wanted, spelling(KNOWN, no_memo)) == meant
