"""The manifests of deploy/kubernetes against the code: rights, flags, bootstrap, hardening."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner

from xds_server.cli import serve
from xds_server.cli.main import cli
from xds_server.sources.kubernetes_resources import Scope, resources, rules, secret
from xds_server.sources.listwatch import List, Watch

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes"
HEADER = """\
# What the server may do: read what it translates, and nothing else. `make docs` writes this file. Where it serves
# chosen namespaces only (--namespace), a Role with the same rules in each of them will do; without rights for
# Namespaces and Nodes it goes on and says so. With --secrets none, leave out secrets.
"""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def rbac() -> str:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "xds-server"},
        "rules": rules(Scope()),
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "xds-server"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "xds-server"},
        "subjects": [{"kind": "ServiceAccount", "name": "xds-server", "namespace": "xds-system"}],
    }
    return HEADER + yaml.safe_dump_all([role, binding], sort_keys=False)


def test_the_role_is_the_one_that_the_kinds_need(request: pytest.FixtureRequest) -> None:
    file = FOLDER / "rbac.yaml"
    if request.config.getoption("--update-docs"):
        file.write_text(rbac())
    assert file.read_text() == rbac(), "run `make docs`"


@pytest.mark.parametrize("scope", [Scope(), Scope(("a", "b"), secrets="referenced"), Scope(secrets="none")], ids=repr)
def test_the_rules_allow_what_is_asked_and_nothing_else(scope: Scope) -> None:
    asked = set()
    for resource in [*resources(scope), *(secret("web", scope) if scope.secrets == "referenced" else [])]:
        for verb, request in (("list", List(0)), ("watch", Watch(0, "5", 60))):
            parts = urlsplit(resource.url(request)).path.strip("/").split("/")
            group = parts[1] if parts[0] == "apis" else ""
            asked.add((group, parts[-1], verb))
    allowed = {
        (group, name, verb)
        for rule in rules(scope)
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }
    assert asked == allowed


PODS = [("xds-server.yaml", "xds-server"), ("gateway.yaml", "envoy")]


def pod(name: str) -> dict[str, Any]:
    [deployment] = [one for one in documents(name) if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(("file", "container"), PODS)
def test_pods_are_restricted_and_probed(file: str, container: str) -> None:
    spec = pod(file)
    [found] = spec["containers"]
    assert found["name"] == container
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"readinessProbe", "livenessProbe", "resources"} <= found.keys()


def test_the_server_understands_its_arguments() -> None:
    [container] = pod("xds-server.yaml")["containers"]
    command, *arguments = container["args"]
    assert command == "serve"
    flags = serve.command.make_context("serve", arguments).params
    assert flags["source"] == ("kubernetes",)
    assert int(flags["drain_seconds"]) < pod("xds-server.yaml")["terminationGracePeriodSeconds"]


def test_what_the_server_keeps_outlives_its_container() -> None:
    spec = pod("xds-server.yaml")
    [container] = spec["containers"]
    flags = serve.command.make_context("serve", container["args"][1:]).params
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == flags["state_dir"]]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == mount["name"]]
    assert volume["emptyDir"] == {"sizeLimit": "600Mi"}  # the file and its successor, 256 MiB at most each


BOOTSTRAP = (
    "bootstrap --node-id gateway --namespace xds-system --label istio=ingressgateway --service-account gateway "
    "--unprivileged --xds-host xds-server "
    "--tls-ca /certs/ca.pem --tls-cert /certs/cert.pem --tls-key /certs/key.pem"
)


def test_the_bootstrap_of_the_gateway_is_what_the_command_prints(request: pytest.FixtureRequest) -> None:
    printed = CliRunner().invoke(cli, BOOTSTRAP.split()).output
    expected = f"# The gateway's bootstrap; `make docs` writes this file with\n# xds-server {BOOTSTRAP}\n{printed}"
    file = FOLDER / "envoy.yaml"
    if request.config.getoption("--update-docs"):
        file.write_text(expected)
    assert file.read_text() == expected, "run `make docs`"


def test_kustomize_puts_all_of_it_together() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("NO KUBECTL on PATH, which has kustomize")
    built = subprocess.run(["kubectl", "kustomize", str(FOLDER)], check=True, capture_output=True, text=True).stdout
    kinds = sorted(document["kind"] for document in yaml.safe_load_all(built))
    assert kinds == [
        *("ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Deployment", "Namespace"),
        *("PodDisruptionBudget", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "ServiceAccount"),
    ]
