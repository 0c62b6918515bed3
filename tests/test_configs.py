"""Every file below configs/ fits the code, and a wrong key or value is refused by name."""

import importlib.util
import inspect
import re
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import towers
from towers.assembly.fitting import FROM_DATA
from towers.config.composing import compose, composed, narrowed, resolved, seen_by, without_said
from towers.config.help import help_text
from towers.config.instantiate import MOVED, factory, instantiate
from towers.config.keys import CONFIG_DIR
from towers.config.messages import one_line
from towers.config.overrides import quoted, raw_list, raw_text
from towers.config.signature import DECIDES, DOES_NOT, digest_of_run, network_digest, signature_of
from towers.errors import UserError
from towers.evaluation.known import FACTS
from towers.manifest import digest_of

pytestmark = pytest.mark.unhooked  # there is no array here, and commands of other tests are composed with the hook
CONFIGS = Path(CONFIG_DIR)
COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
NEEDED = {"data.root": "somewhere"}
"""Keys that only the caller can set."""


def find_targets(node, key, *, inner=True):
    """Yields (key, node) of everything with a `_target_`; without `inner`, of the outermost alone."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
            if not inner:
                return
        for name, value in node.items():
            yield from find_targets(value, f"{key}.{name}".lstrip("."), inner=inner)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from find_targets(value, f"{key}[{place}]", inner=inner)


def without_defaults(node):
    """Returns the mapping without the names of other leaves, which have tests of their own."""
    return {key: value for key, value in node.items() if key != "defaults"} if isinstance(node, dict) else node


LEAVES = [
    pytest.param(node, id=f"{path.relative_to(CONFIGS).with_suffix('')}:{key}")
    for path in sorted(CONFIGS.rglob("*.yaml"))
    for key, node in find_targets(without_defaults(yaml.safe_load(path.read_text())), "")
]

FOLLOWING = {key.rpartition(".")[2] for key in FROM_DATA}


def known_when_written(value):
    """Returns the value without what is known only later: interpolations, `???`, and null for what follows from the
    data.
    """
    if isinstance(value, dict):
        later = {name for name, inner in value.items() if is_of_later(inner) or (inner is None and name in FOLLOWING)}
        return {name: known_when_written(inner) for name, inner in value.items() if name not in later}
    return value


def is_of_later(value):
    return isinstance(value, str) and (value == "???" or "${" in value)


@cache
def train_config(*overrides):
    return compose("train", [f"{key}={value}" for key, value in NEEDED.items()] + list(overrides))


@cache
def network_config(*overrides):
    """Composes the configuration of a training on the tiny world; it is shared and must not be changed."""
    return train_config("datamodule.crop_s=0.5", *overrides)


@cache
def whole_config(*overrides):
    """Composes the whole configuration of an experiment, with the keys of all commands."""
    return composed("train", [f"{key}={value}" for key, value in NEEDED.items()] + list(overrides))


@cache
def whole_of(command):
    """Composes the whole configuration of a command, without an override."""
    return composed(command, [])


@pytest.fixture
def typed():
    """Composes `train` with one more key, typed as an override; returns the value that Hydra made of it."""

    def type_in(override):
        key = override.partition("=")[0]
        with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
            config = hydra_compose("train", overrides=[f"+{override}"], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        return config[key]

    yield type_in
    HydraConfig.instance().cfg = None
    GlobalHydra.instance().clear()


class TestLeaves:
    @pytest.mark.parametrize("node", LEAVES)
    def test_keys_are_the_constructors(self, node):
        keys = set(node) - {"_target_", "_partial_"}
        parameters = inspect.signature(get_object(node["_target_"])).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        assert keys <= set(parameters) or takes_any
        if node["_target_"].startswith("towers."):
            missing = set(parameters) - keys
            if not node.get("_partial_"):
                assert not missing
            settings = missing - set(FACTS)  # these come from the store
            assert {name for name in settings if parameters[name].default is not parameters[name].empty} == set()

    @pytest.mark.parametrize("node", LEAVES)
    def test_values_fit_the_annotations(self, node):
        instantiate({**known_when_written(node), "_partial_": True}, "leaf")


class TestComposition:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_composes(self, command):
        assert "defaults" not in compose(command)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_exists(self, command):
        assert (Path(towers.__path__[0]) / "commands" / f"{command}.py").exists()

    @pytest.mark.parametrize("experiment", EXPERIMENTS)
    def test_every_experiment_fits(self, experiment):
        config = OmegaConf.to_container(whole_config(f"experiment={experiment}"), resolve=True)
        assert config["name"] == experiment
        parts = dict(find_targets(config, "", inner=False))
        assert {"features", "content_tower", "user_tower", "objective", "optimizer", "trainer"} <= set(parts)
        for key, node in parts.items():
            instantiate({**known_when_written(node), "_partial_": True}, key)
        instantiate(config["features"], "features")
        instantiate(config["data"]["split"], "data.split")


class TestRefusals:
    @pytest.mark.parametrize(
        ("override", "key"),
        [
            ("objective.temperature=hot", "objective"),
            ("objective.is_temperature_learned=1", "objective"),
            ("content_tower.dim=64.5", "content_tower"),
            ("user_tower.num_layers=true", "user_tower"),
            ("optimizer.lr=[0.1]", "optimizer"),
            ("features.content_parts=[kind,3,genres,language]", "features"),
            ("audio_encoder.channels=[16,wide]", "audio_encoder"),
            ("features.spectrogram.n_mels=many", "features"),
        ],
    )
    def test_a_value_of_another_type(self, override, key):
        with pytest.raises(UserError) as refusal:
            instantiate(whole_config(override)[key], key)
        assert str(refusal.value).startswith(override.partition("=")[0])

    def test_an_unknown_key(self):
        with pytest.raises(UserError, match=r"^objective\.heat: unknown; .* takes candidates, temperature"):
            instantiate(train_config("+objective.heat=1").objective, "objective")

    @pytest.mark.parametrize("override", ["trainer.gradient_clip_val=1", "+trainer.gradient_clip_val=1"])
    def test_a_key_of_lightnings_names_the_one_that_does_it(self, override):
        with pytest.raises(UserError, match=r"^trainer\.gradient_clip_val: not here; give trainer\.gradient_clip$"):
            instantiate({**known_when_written(resolved(train_config(override).trainer)), "_partial_": True}, "trainer")

    @pytest.mark.parametrize(
        "node",
        [
            {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor", "logging_interval": "year"},
            {"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": 3},
            {"_target_": "pytorch_lightning.callbacks.Timer", "duration": "soon"},
        ],
    )
    def test_a_part_of_lightnings_that_will_not_do(self, node):
        with pytest.raises(UserError, match=r"^part"):
            instantiate(node, "part")

    def test_a_missing_key(self):
        with pytest.raises(UserError, match=r"^objective\.temperature: missing"):
            instantiate(train_config("~objective.temperature").objective, "objective")

    def test_a_value_that_has_to_be_given(self):
        with pytest.raises(UserError, match=r"^objective\.temperature: missing; give it as"):
            instantiate(train_config("objective.temperature='???'").objective, "objective")

    def test_no_target(self):
        with pytest.raises(UserError, match=r"^paths: no _target_"):
            instantiate(train_config().paths, "paths")

    @pytest.mark.parametrize("name", ["towers.nowhere.Part", "towers.models.content_tower.Nothing"])
    def test_a_target_that_is_not_there(self, name):
        with pytest.raises(UserError, match=r"^part\._target_: cannot import"):
            instantiate({"_target_": name}, "part")

    def test_foreign_targets_unless_allowed(self, monkeypatch):
        node = {"_target_": "decimal.Decimal", "value": "1.5"}
        with pytest.raises(UserError, match="TOWERS_ALLOW_TARGETS"):
            instantiate(node, "part")
        monkeypatch.setenv("TOWERS_ALLOW_TARGETS", "fractions.,decimal.")
        assert instantiate(node, "part") == 1.5

    def test_a_class_of_the_callers_in_the_working_folder(self, monkeypatch, tmp_path):
        (tmp_path / "a_part_of_mine.py").write_text("class Part:\n    size = 3\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.path", [*sys.path])
        monkeypatch.delitem(sys.modules, "a_part_of_mine", raising=False)
        monkeypatch.setenv("TOWERS_ALLOW_TARGETS", "a_part_of_mine.")
        assert instantiate({"_target_": "a_part_of_mine.Part"}, "part").size == 3
        assert sys.path[-1] == str(tmp_path)

    @pytest.mark.parametrize("override", ["no_such_key=1", "experiment=nothing", "seed=[", "objective=nothing"])
    def test_overrides_that_do_not_fit(self, override):
        with pytest.raises(UserError) as refusal:
            train_config(override)
        assert "\n" not in str(refusal.value)

    def test_what_does_not_parse_is_shown_and_told_to_quote(self):
        with pytest.raises(UserError, match=r"^name=\[a: cannot be read; .*quotes"):
            train_config("name=[a")


class TestConversions:
    def test_an_int_for_a_float(self):
        split = instantiate(whole_config("data.split.test_days=7").data.split, "data.split")
        assert split.cuts(0, 10**13, has_clock=True).test_start_us == 10**13 + 1 - 7 * 86_400_000_000

    def test_a_list_for_a_tuple(self):
        features = instantiate(whole_config("features.content_parts=[kind]").features, "features")
        assert features.content_parts == ("kind",)

    def test_arguments_of_run_time_win(self):
        part = instantiate({"_target_": "towers.features.settings.SpectrogramSettings", "n_mels": 8}, "part", n_mels=9)
        assert part.n_mels == 9


class TestIds:
    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("user=1e5", "1e5"),
            ("user=0017", "0017"),
            ("user=1_000", "1_000"),
            ("user=0.10", "0.10"),
            ("user=true", "true"),
            ("user=nan", "nan"),
            ("user=null", None),
            ("user=a b", "a b"),
            ("user='Sigur Rós'", "Sigur Rós"),
            ('user="it\'s, 1e5"', "it's, 1e5"),
            (r"user='it\'s'", "it's"),
            ("user='null'", "null"),
            ("user=spotify:track:1", "spotify:track:1"),
        ],
    )
    def test_one_is_what_was_typed(self, typed, override, expected):
        assert raw_text("user", typed(override)) == expected

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("history=[1e5,007,true, a b ]", ["1e5", "007", "true", "a b"]),
            ("history=['Sigur Rós',\"a, b\",c]", ["Sigur Rós", "a, b", "c"]),
            (r"history=['it\'s, 1e5',1e5,a\,b]", ["it's, 1e5", "1e5", "a,b"]),
            ("history=[]", []),
            ("history=1e5", ["1e5"]),
            ("history=null", None),
        ],
    )
    def test_several_are_what_was_typed(self, typed, override, expected):
        assert raw_list("history", typed(override)) == expected

    def test_a_list_of_something_else(self, typed):
        with pytest.raises(UserError, match=r"history=.*: must be a list of ids"):
            raw_list("history", typed("history=[[a,b],c]"))

    def test_without_a_command_line(self):
        assert raw_text("user", 17) == "17"
        assert raw_list("history", OmegaConf.create([1, "a"])) == ["1", "a"]

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
    @example("Don't Stop")
    @example("Hello (Remix)")
    @example("What? [Live]")
    @example("[Live]")
    @example("A, B")
    @example("'Round Midnight")
    @example("str(")
    @example("say \\'it\\\\' \\")
    @example("null")
    def test_an_id_is_read_by_hydra_as_typed(self, text):
        (override,) = OverridesParser.create().parse_overrides([quoted(f"content={text}")])
        value = override.value()
        assert not override.is_sweep_override()
        assert not isinstance(value, (list, dict, type(None)))
        # Hydra reads quotations, escapes, functions and numbers in its own way; `raw_text` goes back to what was typed.
        if isinstance(value, str) and not set(text) & set("'\"\\()"):
            assert value.strip() == text.strip()

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
    def test_what_had_to_be_quoted_is_kept_to_the_letter(self, text):
        argument = quoted(f"content={text}")
        if argument != f"content={text}":
            assert OverridesParser.create().parse_overrides([argument])[0].value() == text

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
    def test_lists_and_choices_of_other_keys_stay(self, text):
        if text[:1] in ("'", '"', "[", "{", "(", "\\") or "${" in text:
            assert quoted(f"history={text}") == f"history={text}"

    def test_a_sweep_has_choices(self):
        assert quoted("user=a,b", is_sweep=True) == "user=a,b"
        assert quoted("user=a,b") == "user='a,b'"

    @pytest.mark.parametrize("argument", ["user=AC/DC", "--config-dir=/a b", "-m", "seed=1,2", "~user", "history=[a"])
    def test_what_hydra_reads_stays(self, argument):
        assert quoted(argument) == argument

    @pytest.mark.parametrize(
        "argument",
        ["user=Sigur Rós", "user=a=b", "user=abc==", "+user=a&b", "data.root=Müsik 2026", "data.root=a/run[1]",
         "data.root=My music, 2026 (new)", "data.root=2\" singles"],
    )  # fmt: skip
    def test_what_hydra_does_not_read_is_quoted(self, argument):
        key, _, value = argument.partition("=")
        assert quoted(argument) == f"{key}='{value}'"


@cache
def plain_signature() -> str:
    """Returns the signature of a training without overrides."""
    return signature_of(train_config())


class TestSignature:
    @pytest.mark.parametrize(
        "override",
        [
            "datamodule.num_workers=3",
            "data.num_workers=7",
            "data.shard=3/16",
            "data.root=elsewhere",
            "logger=csv",
            "paths.runs=elsewhere",
            "trainer.progress=false",
            "trainer.devices=4",
            "trainer.micro_batches=8",
            "trainer=ddp",
            "name=another",
            "loggers=[{_target_: pytorch_lightning.loggers.TensorBoardLogger}]",
            "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.LearningRateMonitor}]",
            "trainer.profiler=simple",
            "trainer.detect_anomaly=true",
            "trainer.fast_dev_run=true",
        ],
    )
    def test_ignores_what_cannot_change_the_result(self, override):
        assert signature_of(train_config(override)) == plain_signature()

    @pytest.mark.parametrize(
        "override",
        [
            "seed=1",
            "optimizer.lr=0.003",
            "user_tower.dropout=0.3",
            "datamodule.max_length=100",
            "objective=exact_softmax",
            "trainer.max_epochs=31",
            "schedule.max_warmup_steps=7",
            "schedule=constant",
            "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.1}]",
            "trainer.max_time=00:01:00:00",
            "trainer.limit_train_batches=3",
            "rows=divided",
            "content_tower.id_min_events=2",
        ],
    )
    def test_changes_with_what_can(self, override):
        assert signature_of(train_config(override)) != plain_signature()

    def test_runs_from_before_a_key_came_are_found_again(self):
        before = OmegaConf.create(OmegaConf.to_container(train_config()))
        del before["rows"]
        del before["content_tower"]["id_min_events"], before["objective"]["candidates"]["max_in_batch"]
        assert signature_of(before) == signature_of(train_config())
        assert network_digest(before) == network_digest(train_config())
        assert digest_of_run(resolved(train_config())) == digest_of(resolved(before))  # as exports of before name it

    def test_what_is_named_to_place_by_counts_only_where_contents_are_placed(self):
        named = "+audio_encoder@placement.audio_encoder=statistics"
        assert signature_of(train_config("placement=none", named)) == signature_of(train_config("placement=none"))
        assert signature_of(train_config(named)) != signature_of(train_config())

    def test_every_key_is_said_to_decide_or_not(self):
        """A new key fails here until it is listed as one that decides the result or as one that does not."""
        for group, node in resolved(without_said(train_config())).items():
            if group in DECIDES and DECIDES[group] is None:
                continue
            if group in DOES_NOT and DOES_NOT[group] is None:
                continue
            assert set(node) == {*DECIDES[group], *DOES_NOT[group]}, group
        assert not [group for group in DECIDES.keys() & DOES_NOT.keys() if {*DECIDES[group]} & {*DOES_NOT[group]}]

    def test_a_key_of_a_class_of_ones_own_decides(self):
        for group in ("datamodule", "trainer"):
            configs = [OmegaConf.create(resolved(train_config())) for _ in range(2)]
            for weight, config in enumerate(configs):
                config[group].weight = weight
            assert signature_of(configs[0]) != signature_of(configs[1])

    def test_a_new_group_changes_nothing(self):
        config = OmegaConf.create(resolved(train_config()))
        config.playlist = {"length": 30}
        assert signature_of(config) == signature_of(train_config())

    def test_what_the_store_decided_comes_with_its_fingerprint(self):
        assert signature_of(train_config("features.min_played_fraction=0.5")) == signature_of(train_config())

    def test_changes_with_the_data(self):
        config = train_config()
        assert signature_of(config, "store a") != signature_of(config, "store b")


def test_one_line_names_the_cause():
    error = ValueError("an\neffect")
    error.__cause__ = ValueError("a\n  cause")
    assert one_line(error) == "an effect; a cause"


COUNTS = [
    ("user_tower", ("dim", "num_layers", "num_heads", "window", "block.expansion")),
    ("user_tower=sasrec", ("block.expansion", "positions.max_length")),
    ("user_tower=ligr", ("block.expansion",)),
    ("content_tower", ("dim", "hidden_dim")),
    ("audio_encoder", ("dim", "channels")),
    ("audio_encoder=mobile", ("dim", "channels", "depths", "expansions", "kernel_size")),
    ("audio_encoder=patch", ("dim", "width", "num_layers", "num_heads", "patch_bands", "patch_frames", "window_frames",
                             "block.expansion")),
]  # fmt: skip


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize(("part", "key"), [(part, key) for part, keys in COUNTS for key in keys])
def test_sizes_and_counts_of_the_network_are_one_or_more(world_store, part, key, number):
    from towers.assembly.network import network_parts

    group = part.partition("=")[0]
    several = {"channels", "depths", "expansions"}
    value = [number, 1, 1, 1, 1] if key in several else number
    config = deepcopy(network_config(*([part] if "=" in part else [])))
    OmegaConf.update(config, f"{group}.{key}", value)
    with pytest.raises(UserError, match=rf"^{group}.*{key.rpartition('.')[2]}"):
        network_parts(config).build(world_store)


@pytest.mark.parametrize(
    ("group", "keys"),
    [
        ("index", ("num_lists", "num_probes", "num_candidates", "code_dim")),
        ("placement", ("epochs", "batch_size")),
        ("evaluation.slicings.genres", ("max_values",)),
        ("evaluation.slicings.popularity", ("parts",)),
    ],
)
@pytest.mark.parametrize("number", [0, -1])
def test_other_counts_are_one_or_more(group, keys, number):
    whole = whole_of({"index": "export", "placement": "train"}.get(group, "evaluate"))
    for key in keys:
        config = deepcopy(OmegaConf.select(whole, group))
        config[key] = number
        with pytest.raises(UserError, match=key):
            instantiate(config, group)


def test_a_metric_of_no_length_that_is_measured(world_store):
    """The error names the length, not the number of listeners."""
    from towers.assembly.judging import judging_of
    from towers.assembly.monitoring import check_monitor, measured_by
    from towers.evaluation.from_store import task_from_store

    config = train_config("evaluation.ks=[10]", "evaluation.min_users=1", "trainer.monitor=validation/recall@20")
    task, judging = task_from_store(world_store, "validation"), judging_of(config)
    with pytest.raises(UserError, match=r"no recall@20 with evaluation\.ks=\[10\]; add its length") as raised:
        check_monitor(config.trainer.monitor, measured_by(judging.judge(task), task), task, judging)
    assert "min_users" not in str(raised.value)


@pytest.mark.parametrize("old", MOVED)
def test_a_target_of_before_is_found_where_it_is_now(old):
    module = importlib.import_module(f"towers.{MOVED[old]}")
    (name, _) = next(
        found for found in inspect.getmembers(module, inspect.isclass) if found[1].__module__ == module.__name__
    )
    config = {"_target_": f"towers.{old}.{name}", "_partial_": True}
    assert instantiate(config, "part").func is getattr(module, name)
    assert importlib.util.find_spec(f"towers.{old}") is None


class TestNarrowing:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_command_sees_what_it_says_that_it_reads(self, command):
        whole = whole_of(command)
        seen = narrowed(command, whole_of(command), [])
        reads = whole.command.get("reads")
        assert set(seen) == {key.partition(".")[0] for key in reads or whole} - {"command"}
        assert len(whole.command.first) <= 10

    @pytest.mark.parametrize("command", COMMANDS)
    def test_what_it_reads_is_there(self, command):
        whole = whole_of(command)
        for key in [*(whole.command.get("reads") or ()), *whole.command.first, *(whole.command.get("stored") or ())]:
            parent, _, name = key.rpartition(".")
            assert name in list(OmegaConf.select(whole, parent) if parent else whole), key

    def test_others_keys_are_taken_and_not_shown(self):
        """The same line of overrides serves all commands."""
        overrides = ["experiment=ml1m", "user_tower.num_layers=1", "evaluation.list_k=10", "paths.runs=elsewhere"]
        assert "user_tower" not in compose("prepare", overrides)
        assert compose("train", overrides).user_tower.num_layers == 1
        assert compose("prepare", overrides).paths.runs == "elsewhere"

    def test_of_what_is_stored_only_what_is_given(self):
        assert "features" not in compose("train")
        assert set(compose("train").data) == {"name"}
        assert "features" not in compose("train", ["experiment=ml1m"])
        given = without_said(
            compose("train", ["features.spectrogram.n_mels=8", "data.root=elsewhere", "data.split.test_days=3"])
        )
        assert resolved(given)["features"] == {"spectrogram": {"n_mels": 8}}
        assert resolved(given)["data"] == {"name": "parquet", "root": "elsewhere", "split": {"test_days": 3}}
        assert compose("train", ["features=ids_only"]).features.content_parts == []
        assert compose("train", ["data/split=leave_one_out"]).data.split._target_.endswith("LeaveOneOut")

    def test_what_follows_from_keys_that_are_not_seen(self):
        """The demo's world gives the store its name, and the periods their days."""
        config = compose("train", ["experiment=demo", "world.seed=3", "data/split=temporal"])
        assert config.data.name == "world-3"
        assert config.data.split.test_days == 15
        assert seen_by("train", composed("demo", ["world.seed=3"])).data.name == "world-3"

    def test_what_an_experiment_says_of_the_data_stands_apart(self, tmp_path):
        """The data may have been prepared otherwise by an override; a YAML file edited since then is reported."""
        (tmp_path / "experiment").mkdir()
        text = "# @package _global_\nfeatures:\n  min_played_fraction: 0.9\ndata:\n  split:\n    test_days: 30\n"
        (tmp_path / "experiment" / "edited.yaml").write_text(text)
        overrides = ["experiment=edited"]
        seen = resolved(narrowed("train", composed("train", overrides, str(tmp_path)), overrides))
        assert "features" not in seen
        assert seen["data"] == {"name": "parquet"}
        assert seen["said"] == {"features.min_played_fraction": 0.9, "data.split.test_days": 30}
        assert compose("train", ["experiment=demo", "world.evaluation_days=20"]).said["data.split.test_days"] == 20

    def test_interpolations_to_what_is_not_seen(self):
        text = "name='${oc.select:features.spectrogram.record_s,none}'"
        assert compose("train", [text]).name == 10.0
        node = "loggers=[{_target_: pytorch_lightning.loggers.CSVLogger, name: '${data.source}'}]"
        seen = resolved(compose("train", ["experiment=demo", node]))
        assert seen["loggers"][0]["name"]["root"].endswith("world-0")
        assert compose("train", ["+depth=1", "user_tower.num_layers=${depth}"]).user_tower.num_layers == 1

    def test_what_is_not_known_yet_is_left_as_it_is(self):
        config = compose("train", ["seed=${oc.env:NOT_THERE}"])
        assert OmegaConf.to_container(config)["seed"] == "${oc.env:NOT_THERE}"

    def test_an_experiment_may_say_how_an_export_is_written(self, tmp_path):
        (tmp_path / "experiment").mkdir()
        (tmp_path / "experiment" / "short.yaml").write_text("# @package _global_\nexport:\n  dim: 32\n")
        assert composed("export", ["experiment=short"], str(tmp_path)).export.dim == 32

    def test_a_file_of_ones_own_need_not_say_what_is_read(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("defaults:\n  - base\n  - _self_\nseed: 7\n")
        config = composed("mine", [], str(tmp_path))
        seen = narrowed("train", config, [])
        assert seen.seed == 7
        assert {"features", "data", "trainer"} <= set(seen)
        assert help_text("train", config, seen, str(tmp_path)).startswith("towers train\n")

    def test_unknown_keys_are_refused(self):
        with pytest.raises(UserError, match=r"data\.rooot"):
            compose("train", ["data.rooot=elsewhere"])

    @pytest.mark.parametrize("key", ["dim", "align_to", "variants", "min_recall_share", "num_threads"])
    def test_keys_of_an_export_of_before_are_told_the_new_ones(self, key):
        with pytest.raises(UserError, match=rf"^{key}: not here; give export\.{key}$"):
            compose("export", [f"{key}=2"])


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_keys_that_matter_come_first_and_all_are_explained(self, command):
        whole = whole_of(command)
        text = help_text(command, whole, narrowed(command, whole, []))
        first, _, rest = text.partition("== All keys ==")
        for key in whole.command.first:
            assert re.search(rf"^{re.escape(key)}=.* # \w", first, re.MULTILINE), key
        assert rest

    @pytest.mark.parametrize("group", ["data", "datamodule", "objective", "trainer", "experiment"])
    def test_groups_say_what_they_are(self, group):
        whole = whole_of("train")
        assert re.search(
            rf"^{group}=[\w|]+ +# \w", help_text("train", whole, narrowed("train", whole, [])), re.MULTILINE
        )

    def test_a_group_that_stands_elsewhere_is_shown_as_it_is_typed(self):
        whole = whole_of("export")
        assert "\npublishing@export=default " in help_text("export", whole, narrowed("export", whole, []))
        for command in ("evaluate", "recommend"):  # their export is a folder
            whole = whole_of(command)
            assert "publishing" not in help_text(command, whole, narrowed(command, whole, []))

    def test_groups_of_ones_own_are_shown(self, tmp_path):
        (tmp_path / "objective").mkdir()
        (tmp_path / "objective" / "mine.yaml").write_text("{}")
        whole = whole_of("train")
        assert "|mine|" in help_text("train", whole, narrowed("train", whole, []), str(tmp_path))

    def test_keys_that_another_choice_does_not_have_are_left_out(self):
        config = composed("prepare", ["data=pairs"])
        assert "={}" not in help_text("prepare", config, narrowed("prepare", config, ["data=pairs"]))

    def test_short_where_little_is_read(self):
        everything = len(help_text("prepare", *[whole_of("prepare")] * 2).splitlines())
        whole = whole_of("prepare")
        assert 2 * len(help_text("prepare", whole, narrowed("prepare", whole, [])).splitlines()) < everything


class TestPreparedStore:
    @pytest.fixture
    def opened(self, monkeypatch, world_store):
        def open_with(*overrides):
            monkeypatch.setattr("towers.assembly.prepared.Store.open", lambda folder: world_store)
            from towers.assembly.prepared import prepared_store

            return prepared_store(compose("train", list(overrides))).open()

        return open_with

    def test_what_a_file_says_otherwise_is_told(self, opened, world_store, capsys):
        assert opened("experiment=demo") is world_store
        record_s = world_store.features.spectrogram.record_s
        line = f"features.spectrogram.record_s={record_s:g}, as {world_store.folder} was prepared; a file says 8"
        assert line in capsys.readouterr().out.splitlines()

    def test_what_was_prepared_is_taken(self, opened, world_store):
        assert opened() is world_store
        assert opened(f"features.spectrogram.n_mels={world_store.features.spectrogram.n_mels}") is world_store

    @pytest.mark.parametrize(
        ("override", "line"),
        [
            ("features.min_played_fraction=0.7", r"^features\.min_played_fraction=0\.7: .* was prepared with "),
            ("features.user_columns=[planet]", r"^features\.user_columns=\[planet\]: .* was prepared with \["),
            (
                "data/split=leave_one_out",
                r"^data\.split=LeaveOneOut: .* was prepared with GlobalTemporal; leave it out",
            ),
            ("data.split.test_days=77", r"^data\.split\.test_days=77: .* was prepared with "),
            ("data/filters=k_core", r"^data\.filters\.k_core=KCore: .* was prepared with no such key"),
            ("data.root=elsewhere", r"was prepared from .*, not data\.root=elsewhere"),
        ],
    )
    def test_another_is_refused_with_both_values(self, opened, override, line):
        with pytest.raises(UserError, match=line):
            opened(override)


class TestKeysThatAreNone:
    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("max_epochs", "trainer.max_epochs"),
            ("lr", "optimizer.lr"),
            ("optimizer.lr.foo", "optimizer.lr"),
            ("audio_encodr", "audio_encoder"),
            ("trianer.lr", "optimizer.lr"),
            ("datamodule.crop_ss", "datamodule.crop_s"),
            ("trainer.epochs", "trainer.max_epochs"),
        ],
    )
    @pytest.mark.parametrize("sign", ["", "++", "~"])
    def test_the_one_that_was_meant_is_named(self, key, meant, sign):
        if sign.startswith("+") and key.startswith(("datamodule", "optimizer", "trainer")):
            return  # a key of a part is refused by what it builds
        with pytest.raises(UserError, match=rf"^{re.escape(key)}: no such key; did you mean {re.escape(meant)}\?$"):
            compose("train", [f"{sign}{key}=3"])

    @pytest.mark.parametrize(
        ("command", "override", "said"),
        [
            ("recommend", "usr=3", "usr: no such key; did you mean user?"),
            (
                "similar",
                "usr=3",
                "usr: no such key; did you mean user, of towers forget and towers home and towers playlists and "
                "towers recommend?",
            ),
            (
                "similar",
                "user=3",
                "user: no key of this command, but of towers forget and towers home and towers playlists and "
                "towers recommend",
            ),
            ("recommend", "export.dim=3", "export.dim: no key of this command, but of towers export"),
            ("demo", "world.num_trcks=3", "world.num_trcks: no such key; did you mean world.num_tracks?"),
            (
                "train",
                "audio_encoder=convv",
                "audio_encoder=convv: no such choice; did you mean audio_encoder=conv? There are conv, frozen, joined, "
                "mobile, none, patch, statistics",
            ),
            (
                "prepare",
                "data/split=foo",
                "data/split=foo: no such choice; There are catalogue, last_session, leave_one_out, nightly, rolling, "
                "temporal",
            ),
            ("train", "audio_encoder@foo=conv", "audio_encoder@foo: no such key; did you mean audio_encoder?"),
            ("export", "publishing=default", "publishing: no such key; did you mean publishing@export?"),
            ("train", "optimizer=null", "optimizer=null: takes one of adamw; leave it out for the default"),
            ("train", "+seed=3", "+seed: is there already; give it as seed=VALUE, without the +"),
            (
                "train",
                "+trainer=ddp",
                "trainer: is chosen already; give it as trainer=NAME, without a +, or in a file's defaults as "
                "`override trainer: NAME`",
            ),
            ("train", "~seed=3", "~seed=3: its value is 0; ~seed removes it with any value"),
            ("recommend", "~user", "~user: has no value to remove"),
            ("train", "sead", "sead: has no value; give it as seed=VALUE"),
            ("train", "epochs=3", "epochs: no such key; did you mean trainer.max_epochs?"),
            ("train", "batch_size=3", "batch_size: not here; give datamodule.max_tokens"),
            ("train", "datamodule.batch_size=3", "datamodule.batch_size: not here; give datamodule.max_tokens"),
            ("train", "trainer=", "trainer=: no such choice; There are auto, ddp"),
            ("train", "optimizer=[a,b]", "optimizer=b: no such choice; There are adamw"),
            (
                "train",
                "seed=1,2",
                "seed=1,2: is several values; -m sweeps over them, seed=[1,2] is a list, \"seed='1,2'\" is text",
            ),
            (
                "train",
                "trainer.callbacks.0=3",
                "trainer.callbacks.0=3: nothing can be set there; give trainer.callbacks=VALUE as a whole",
            ),
        ],
    )
    def test_hydras_words_become_ours(self, command, override, said):
        with pytest.raises(UserError) as refusal:
            compose(command, [override])
        assert str(refusal.value) == said

    def test_of_a_part_the_nearest_argument_is_named(self):
        with pytest.raises(UserError, match=r"^optimizer\.lrr: unknown; did you mean optimizer\.lr\? "):
            factory(compose("train", ["+optimizer.lrr=3"]).optimizer, "optimizer")

    def test_a_part_within_a_part_is_chosen_by_its_group(self):
        with pytest.raises(UserError, match=r"such as \+audio_encoder@placement\.audio_encoder=NAME$"):
            instantiate("convv", "placement.audio_encoder")

    def test_none_is_like_it(self):
        with pytest.raises(UserError, match=r"^zzz: no such key; --help shows"):
            compose("train", ["zzz=3"])
