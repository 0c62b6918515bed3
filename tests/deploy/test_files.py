"""The files that run nights and servers elsewhere pass their schema or tool, and their commands of `towers` are
valid.
"""

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
    ROOT,
    TERMINATED,
    compose_words,
    documents,
    hand_words,
    kubernetes_words,
    pod_of,
    unit,
    unit_words,
)

sys.path.insert(0, str(DEPLOY / "night"))
import towers_night  # it lies beside the package

KUBERNETES = ("night.yaml", "rollback.yaml", "serve.yaml", "volume.yaml")
LEAST_KUBERNETES = "1.31.0"
"""The least version, as deploy/kubernetes/night.yaml states it."""
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


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomization_builds_and_an_overlay_gives_overrides_to_night_and_roll_back(tmp_path):
    """The overlay has the patch of the comment in kustomization.yaml."""
    base = (DEPLOY / "kubernetes" / "kustomization.yaml").read_text()
    patch = "\n".join(line[2:] for line in base[base.index("# patches:") :].splitlines())
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "base")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "kustomization.yaml").write_text(f"resources: [../base]\n{patch}\n")
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path / "ours")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    made = {document["kind"]: document for document in built}
    assert set(made) == {
        "ConfigMap", "CronJob", "Deployment", "PersistentVolumeClaim", "PodDisruptionBudget", "Service",
    }  # fmt: skip
    jobs = {document["metadata"]["name"]: document for document in built if document["kind"] == "CronJob"}
    assert set(jobs) == {"towers-night", "towers-rollback"}
    for job in jobs.values():
        (container,) = pod_of(job)["containers"]
        assert container["image"] == "registry.example.com/towers:0.9.0"
        assert container["envFrom"][0]["configMapRef"]["name"] == made["ConfigMap"]["metadata"]["name"]
        assert container["args"][-1] == "sink=milvus"
    assert jobs["towers-rollback"]["spec"]["suspend"]


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


def test_schedulers_know_which_exit_codes_are_final():
    """The exit codes of a mistake and of a refusal are final: the same command would end the same way again."""
    final = {MISTAKE, REFUSED}
    settings = dict(unit("towers-night.service"))
    assert set(map(int, settings["RestartPreventExitStatus"].split())) == final
    assert int(settings["RestartForceExitStatus"]) == int(settings["SuccessExitStatus"]) == TERMINATED
    (night,) = documents("kubernetes/night.yaml")
    rule = night["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert set(rule["values"]) == final
    assert rule["containerName"] in [container["name"] for container in pod_of(night)["containers"]]
    assert {code for code in range(256) if towers_night.NightFailed((), code, ()).is_final} == final


def test_a_server_gets_none_of_the_secrets_of_nights():
    (compose,) = documents("compose.yaml")
    of_compose = {name: {each["path"] for each in compose["services"][name]["env_file"]} for name in ("night", "serve")}
    of_systemd = {
        name: {value.lstrip("-") for key, value in unit(f"towers-{name}.service") if key == "EnvironmentFile"}
        for name in ("night", "serve")
    }
    of_kubernetes = {
        name: {
            source["secretRef"]["name"]
            for source in pod_of(documents(f"kubernetes/{name}.yaml")[0])["containers"][0]["envFrom"]
            if "secretRef" in source
        }
        for name in ("night", "serve")
    }
    for read in (of_compose, of_systemd, of_kubernetes):
        assert read["night"]
        assert read["serve"]
        assert not read["night"] & read["serve"]
    files = [f"deploy/{Path(file).name}" for files in of_compose.values() for file in files] + ["deploy/.env"]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert sorted(ignored.stdout.split()) == sorted(files)


def test_all_servers_listen_where_they_are_asked():
    port = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())["port"]
    (compose,) = documents("compose.yaml")
    assert [each.rpartition(":")[2] for each in compose["services"]["serve"]["ports"]] == [str(port)]
    assert f"\nEXPOSE {port}\n" in (ROOT / "Dockerfile.gpu").read_text()
    for words in (kubernetes_words("serve.yaml"), unit_words("towers-serve.service")):
        assert f"port={port}" in words
    server, service, _ = documents("kubernetes/serve.yaml")
    (container,) = pod_of(server)["containers"]
    (listening,) = container["ports"]
    probed = {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert listening["containerPort"] == port
    assert probed == {listening["name"]} == {each["targetPort"] for each in service["spec"]["ports"]}


def test_exporter_reads_the_folder_that_the_night_of_compose_writes_to():
    services = documents("compose.yaml")[0]["services"]
    (path,) = [
        word.partition("=")[2] for word in compose_words("night") if word.startswith("watchers.prometheus.path=")
    ]
    home = next(each for each in services["night"]["volumes"] if each["target"] == "/srv/towers")
    (read,) = services["node-exporter"]["volumes"]
    assert read["source"] == f"{home['source']}/{Path(path).parent.relative_to(home['target'])}"
    assert f"--collector.textfile.directory={read['target']}" in services["node-exporter"]["command"]


def test_a_command_by_hand_is_run_as_the_service_runs_nights(tmp_path):
    options, words = hand_words("action=rollback", "why=$5 too much", folder=tmp_path)
    assert words == [*unit_words("towers-night.service"), "action=rollback", "why=$5 too much"]
    settings = unit("towers-night.service")
    known = dict(settings)
    for key in ("uid", "gid", "working-directory"):
        name = {"uid": "User", "gid": "Group", "working-directory": "WorkingDirectory"}[key]
        assert f"--{key}={known[name]}" in options
    for key, value in settings:
        if key in ("EnvironmentFile", "UMask", "PrivateTmp", "KillMode", "TimeoutStopSec"):
            assert f"--property={key}={value}" in options
        if key == "Environment":
            assert {f"--setenv={each}" for each in value.split()} <= set(options)


def test_a_roll_back_in_kubernetes_needs_no_gpu_and_has_the_nights_volume():
    night, back = (pod_of(documents(f"kubernetes/{name}.yaml")[0]) for name in ("night", "rollback"))
    (of_night,), (of_back,) = night["containers"], back["containers"]
    assert "nvidia.com/gpu" in of_night["resources"]["limits"]
    assert not [key for amounts in of_back["resources"].values() for key in amounts if "/" in key]
    assert of_back["image"] == of_night["image"]
    assert of_back["envFrom"] == of_night["envFrom"]
    assert next(mount for mount in of_night["volumeMounts"] if mount["name"] == "towers") in of_back["volumeMounts"]
    assert [each for each in of_night["args"] if "=$(" in each] == [
        each for each in of_back["args"] if "=$(" in each and each != "why=$(WHY)"
    ]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(compose_words("night"), id="compose-night"),
        pytest.param(compose_words("serve"), id="compose-serve"),
        pytest.param(kubernetes_words("night.yaml"), id="kubernetes-night"),
        pytest.param(kubernetes_words("serve.yaml"), id="kubernetes-serve"),
        pytest.param(kubernetes_words("rollback.yaml"), id="kubernetes-rollback"),
        pytest.param([*unit_words("towers-night.service"), "action=rollback", "why=wrong covers"], id="by-hand"),
        pytest.param(unit_words("towers-night.service"), id="systemd-night"),
        pytest.param(unit_words("towers-serve.service"), id="systemd-serve"),
    ],
)
def test_what_they_ask_is_a_command_of_ours(tmp_path, words):
    """A wrong key would only be found in the first night."""
    assert words[0] in ("retrain", "serve")
    assert ok(tmp_path, *words, "--cfg", "job")


@pytest.fixture
def healthy(tmp_path):
    """Runs the image's health check in a container whose process 1 was started with these words."""

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
