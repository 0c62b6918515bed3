"""What runs nights and servers elsewhere: each file by its schema or its own tool, and what it asks of `towers`."""

import copy
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.command_line import ok
from tests.deploy.files import (
    DEPLOY,
    MISTAKE,
    REFUSED,
    TERMINATED,
    compose_words,
    documents,
    kubernetes_words,
    pod_of,
    unit,
    unit_words,
)

KUBERNETES = ("night.yaml", "serve.yaml", "volume.yaml")
LEAST_KUBERNETES = "1.31.0"
"""Says deploy/kubernetes/night.yaml."""
UNITS = ("towers-night.service", "towers-night.timer", "towers-serve.service", "towers-alert@.service")


def compose_faults(file: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_compose_file_fits_its_schema(tmp_path):
    assert compose_faults(DEPLOY / "compose.yaml") == ""
    (wrong,) = documents("compose.yaml")
    wrong["services"]["night"]["stop_grace"] = "5m"
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    assert "stop_grace" in compose_faults(tmp_path / "compose.yaml")


def test_compose_night_has_a_gpu_and_time_to_save():
    (compose,) = documents("compose.yaml")
    night, serve = compose["services"]["night"], compose["services"]["serve"]
    (device,) = night["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert night["stop_grace_period"] == "5m"
    assert night["restart"] == "on-failure:3"
    assert [volume["read_only"] for volume in serve["volumes"]] == [True]
    assert not any("environment" in service for service in compose["services"].values())  # secrets are in a file


@pytest.mark.parametrize("version", [None, LEAST_KUBERNETES])
@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_manifests_fit_their_schemas(name, version):
    for document in documents(f"kubernetes/{name}"):
        kubernetes_validate.validate(document, version or kubernetes_validate.latest_version(), strict=True)


def test_a_key_that_kubernetes_does_not_know_is_found():
    wrong = copy.deepcopy(documents("kubernetes/night.yaml")[0])
    wrong["spec"]["jobTemplate"]["spec"]["podFailurePolice"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="podFailurePolice"):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_job_goes_on_after_pre_emption_and_not_after_a_refusal():
    night = documents("kubernetes/night.yaml")[0]["spec"]
    job, pod = night["jobTemplate"]["spec"], pod_of(documents("kubernetes/night.yaml")[0])
    fails, ignored = job["podFailurePolicy"]["rules"]
    assert fails["action"] == "FailJob"
    assert fails["onExitCodes"] == {"containerName": "night", "operator": "In", "values": [MISTAKE, REFUSED]}
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (pod["restartPolicy"], night["concurrencyPolicy"]) == ("Never", "Forbid")
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"towers": "/srv/towers", "scratch": "/tmp", "shm": "/dev/shm"}
    assert job["activeDeadlineSeconds"] + night["startingDeadlineSeconds"] <= 24 * 3600  # the next night finds it over


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomization_builds():
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
    assert set(built) == {
        "ConfigMap", "CronJob", "Deployment", "PersistentVolumeClaim", "PodDisruptionBudget", "Service",
    }  # fmt: skip
    (container,) = pod_of(built["CronJob"])["containers"]
    assert container["image"] == "registry.example.com/towers:0.1.0"
    assert container["envFrom"][0]["configMapRef"]["name"] == built["ConfigMap"]["metadata"]["name"]


@pytest.fixture
def box(tmp_path) -> Path:
    """A folder that systemd takes for a machine: its own units, ours, and the programs that ours start."""
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    for name in UNITS:
        shutil.copy(DEPLOY / "systemd" / name, tmp_path / "etc/systemd/system" / name)
    for program in ("opt/towers/bin/towers", "usr/bin/logger"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / program)
    return tmp_path


def systemd_faults(box: Path, *units: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={box}", *units], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_has_nothing_to_say_of_the_units(box):
    names = [name.replace("@.", "@towers-night.service.") for name in UNITS]
    assert systemd_faults(box, *names) == ""
    service = box / "etc/systemd/system/towers-night.service"
    service.write_text(service.read_text().replace("Restart=on-failure", "Restart=on-falure"))
    assert "on-falure" in systemd_faults(box, "towers-night.service")


def test_systemd_goes_on_after_pre_emption_and_not_after_a_refusal():
    settings = dict(unit("towers-night.service"))
    assert settings["Restart"] == "on-failure"
    assert settings["RestartPreventExitStatus"] == f"{MISTAKE} {REFUSED}"
    assert settings["RestartForceExitStatus"] == settings["SuccessExitStatus"] == str(TERMINATED)
    assert (settings["Type"], settings["KillMode"], settings["KillSignal"]) == ("notify", "mixed", "SIGTERM")
    assert dict(unit("towers-night.timer"))["Persistent"] == "true"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(compose_words("night"), id="compose-night"),
        pytest.param(compose_words("serve"), id="compose-serve"),
        pytest.param(kubernetes_words("night.yaml"), id="kubernetes-night"),
        pytest.param(kubernetes_words("serve.yaml"), id="kubernetes-serve"),
        pytest.param(unit_words("towers-night.service"), id="systemd-night"),
        pytest.param(unit_words("towers-serve.service"), id="systemd-serve"),
    ],
)
def test_what_they_ask_is_a_command_of_ours(tmp_path, words):
    """A key that there is not would be found in the first night."""
    assert words[0] in ("retrain", "serve")
    assert ok(tmp_path, *words, "--cfg", "job")


@pytest.fixture
def healthy(tmp_path):
    """Runs the image's health check in a container whose process 1 was started with some words."""

    def run(*words: str) -> int:
        (tmp_path / "cmdline").write_text("".join(f"{word}\0" for word in words))
        return subprocess.run(
            [sys.executable, str(DEPLOY / "docker" / "healthy")],
            env={**os.environ, "COMMAND_LINE": str(tmp_path / "cmdline")}, check=False, capture_output=True,
        ).returncode  # fmt: skip

    return run


class Health(http.server.BaseHTTPRequestHandler):
    """Answers as `towers serve` does."""

    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_image_is_healthy_while_a_night_runs_or_a_server_answers(healthy):
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = f"port={server.server_port}"
        assert healthy("tini", "--", "towers", "serve", "host=0.0.0.0", "port=1", port) == 0
        server.shutdown()
    assert healthy("tini", "--", "towers", "serve", "host=0.0.0.0", port) == 1
    assert healthy("tini", "--", "towers", "retrain", "experiment=serve", "data.root=/data") == 0
