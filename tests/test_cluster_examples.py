"""The examples for clusters: they are well formed, and what they name exists."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.commands import run
from ulmo.cli.main import ulmo

EXAMPLES = Path(__file__).parents[1] / "examples"


def manifests():
    yaml = pytest.importorskip("yaml")
    text = (EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8")
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}


def pods():
    specs = {name: each["spec"] for (_, name), each in manifests().items()}
    return {name: spec["template"] for name, spec in specs.items() if "template" in spec}


def test_the_script_of_slurm_is_one_of_bash():
    subprocess.run(["bash", "-n", EXAMPLES / "slurm.sh"], check=True)


def test_the_parts_of_the_manifest_find_each_other():
    found, templates = manifests(), pods()
    claims = {name for kind, name in found if kind == "PersistentVolumeClaim"}
    services = {name: each for (kind, name), each in found.items() if kind == "Service"}
    labels = [each["metadata"]["labels"] for each in templates.values() if "metadata" in each]
    for each in services.values():
        assert each["spec"]["selector"] in labels
    for name, template in templates.items():
        (container,) = template["spec"]["containers"]
        for volume in template["spec"].get("volumes", ()):
            assert volume["persistentVolumeClaim"]["claimName"] in claims
        for word in container["command"]:
            for host, port in re.findall(r"tcp://([\w-]+):(\d+)", word):
                assert port in {str(each["port"]) for each in services[host]["spec"]["ports"]}, name


def test_commands_have_the_options_that_examples_give_them():
    lines = [" ".join(template["spec"]["containers"][0]["command"]) for template in pods().values()]
    for file in ("Dockerfile", "slurm.sh"):
        lines += (EXAMPLES / file).read_text(encoding="utf-8").splitlines()
    named = [found for line in lines if (found := re.search(r"\bulmo (tokenize)\b(.*)", line))]
    assert len(named) == 3
    shown = run(ulmo, "tokenize", "--help").output
    for found in named:
        for option in re.findall(r"--[a-z-]+", found[2]):
            assert option in shown
