"""What a group remembers of what its proxies accepted: as long as it is offered, or what is offered may need it."""

from __future__ import annotations

import pytest

from tests.protocol.client import CDS, RDS, cluster, resource, route
from xds_server.envoy.resource import Resource, keyed
from xds_server.xds.group import Group
from xds_server.xds.request import Meaning
from xds_server.xds.session import Verdict
from xds_server.xds.shared import Shared
from xds_server.xds.table import Change


class Proxies:
    """They accept and refuse what their group is offered."""

    def __init__(self, *remembered: Resource) -> None:
        self.group, self.shared = Group(remembered), Shared()

    def offer(self, *resources: Resource) -> None:
        self.group.offer(self.group.settle(keyed(resources), self.shared, self.shared.intern))
        self.shared.turn()

    def accept(self, *resources: Resource) -> None:
        for one in resources:
            self.group.judge("n", Verdict(Meaning.ACK, one.type_url, Change((one,), (one,))))

    def refuse(self, one: Resource) -> None:
        self.group.judge("n", Verdict(Meaning.NACK, one.type_url, Change((one,), (one,)), (one,), "no"))

    def known(self) -> set[Resource]:
        """What would be offered in the place of what is refused."""
        assert self.group.published
        found = {have for _, held in self.group.published.accepted for have in held.rows.values()}
        return {one for one in found if isinstance(one, Resource)}


@pytest.mark.parametrize("remembered", [False, True], ids=["accepted", "from the server before"])
def test_what_is_gone_is_forgotten(remembered: bool) -> None:
    old, kept = resource(CDS, "a", "old"), resource(CDS, "b")
    proxies = Proxies(old) if remembered else Proxies()
    if not remembered:
        proxies.offer(old, kept)
        proxies.accept(old)
    proxies.offer(kept)
    proxies.accept(kept)
    bad = resource(CDS, "a", "bad")
    proxies.offer(kept, bad)
    proxies.refuse(bad)
    assert proxies.known() == {kept}


def test_what_was_accepted_after_it_had_gone_is_forgotten_too() -> None:
    old, kept, bad = resource(CDS, "a", "old"), resource(CDS, "b"), resource(CDS, "a", "bad")
    proxies = Proxies()
    proxies.offer(old, kept)
    proxies.offer(kept)
    proxies.accept(old, kept)
    proxies.offer(kept, bad)
    proxies.refuse(bad)
    proxies.offer(kept)
    proxies.offer(kept, bad)
    proxies.refuse(bad)
    assert proxies.known() == {kept}


def test_what_the_last_good_form_of_a_resource_needs_is_kept_with_it() -> None:
    old, new = cluster("old"), cluster("new")
    leads_to_old, leads_to_new = route("r", "old"), route("r", "new")
    proxies = Proxies()
    proxies.offer(leads_to_old, old)
    proxies.accept(leads_to_old, old)
    proxies.offer(leads_to_new, new)
    proxies.refuse(leads_to_new)
    assert proxies.known() == {leads_to_old, old}
    better = resource(RDS, "r", "better", [(CDS, "new")])
    proxies.offer(better, new)
    proxies.accept(better, new)
    proxies.offer(better, new, bad := resource(RDS, "bad"))
    proxies.refuse(bad)
    assert proxies.known() == {better, new}
