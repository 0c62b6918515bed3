"""Every file below configs/ fits the code, and what does not fit is refused by name."""

import importlib.util
import inspect
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
from towers.config.composing import CONFIG_DIR, compose
from towers.config.instantiate import MOVED, instantiate
from towers.config.messages import one_line
from towers.config.overrides import quoted, raw_list, raw_text
from towers.config.signature import signature_of
from towers.errors import UserError

CONFIGS = Path(CONFIG_DIR)
COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
NEEDED = {"data.root": "somewhere"}
"""What only the caller knows."""


def find_targets(node, key, *, inner=True):
    """(key, node) of everything with a `_target_`; without `inner`, of the outermost alone."""
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


LEAVES = [
    pytest.param(node, id=f"{path.relative_to(CONFIGS).with_suffix('')}:{key}")
    for path in sorted(CONFIGS.rglob("*.yaml"))
    for key, node in find_targets(yaml.safe_load(path.read_text()), "")
]


def known_when_written(value):
    """Without what stands for a value of later: interpolations and `???`."""
    if isinstance(value, dict):
        return {name: known_when_written(inner) for name, inner in value.items() if not is_of_later(inner)}
    return value


def is_of_later(value):
    return isinstance(value, str) and (value == "???" or "${" in value)


@cache
def train_config(*overrides):
    return compose("train", [f"{key}={value}" for key, value in NEEDED.items()] + list(overrides))


@pytest.fixture
def typed():
    """Composes `train` with one more key, typed as an override; gives the value that Hydra made of it."""

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
            assert {name for name in missing if parameters[name].default is not parameters[name].empty} == set()

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
        config = OmegaConf.to_container(train_config(f"experiment={experiment}"), resolve=True)
        assert config["name"] == experiment
        parts = dict(find_targets(config, "", inner=False))
        assert {"features", "content_tower", "user_tower", "objective", "optimizer", "trainer"} <= set(parts)
        for key, node in parts.items():
            instantiate({**node, "_partial_": True}, key)
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
            instantiate(train_config(override)[key], key)
        assert str(refusal.value).startswith(override.partition("=")[0])

    def test_an_unknown_key(self):
        with pytest.raises(UserError, match=r"^objective\.heat: unknown; .* takes candidates, temperature"):
            instantiate(train_config("+objective.heat=1").objective, "objective")

    @pytest.mark.parametrize("override", ["trainer.gradient_clip_val=1", "+trainer.gradient_clip_val=1"])
    def test_a_key_of_lightnings_names_the_one_that_does_it(self, override):
        with pytest.raises(UserError, match=r"^trainer\.gradient_clip_val: not here; give trainer\.gradient_clip$"):
            instantiate(train_config(override).trainer, "trainer")

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
        split = instantiate(train_config("data.split.test_days=7").data.split, "data.split")
        assert split.cuts(0, 10**13, has_clock=True).test_start_us == 10**13 + 1 - 7 * 86_400_000_000

    def test_a_list_for_a_tuple(self):
        features = instantiate(train_config("features.content_parts=[kind]").features, "features")
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
        assert signature_of(train_config(override)) == signature_of(train_config())

    @pytest.mark.parametrize(
        "override",
        [
            "seed=1",
            "optimizer.lr=0.003",
            "user_tower.dropout=0.3",
            "datamodule.max_length=100",
            "objective=exact_softmax",
            "trainer.max_epochs=31",
            "schedule.warmup_steps=7",
            "schedule=constant",
            "features.min_played_fraction=0.5",
            "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.1}]",
            "trainer.max_time=00:01:00:00",
            "trainer.limit_train_batches=3",
        ],
    )
    def test_changes_with_what_can(self, override):
        assert signature_of(train_config(override)) != signature_of(train_config())

    def test_runs_of_before_there_were_callbacks_are_found(self):
        config = train_config()
        before = config.copy()
        OmegaConf.set_struct(before.trainer, False)
        for name in ("callbacks", "max_time", "limit_train_batches", "fast_dev_run", "profiler", "detect_anomaly"):
            del before.trainer[name]
        assert signature_of(before) == signature_of(config)

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
    from towers.assembly import network_of

    group = part.partition("=")[0]
    several = {"channels", "depths", "expansions"}
    value = f"[{number},1,1,1,1]" if key in several else number
    overrides = [*([part] if "=" in part else []), f"{group}.{key}={value}"]
    with pytest.raises(UserError, match=rf"^{group}.*{key.rpartition('.')[2]}"):
        network_of(train_config("datamodule.crop_s=0.5", *overrides), world_store)


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
    for key in keys:
        config = compose("export" if group == "index" else "train", [f"{group}.{key}={number}"])
        with pytest.raises(UserError, match=key):
            instantiate(OmegaConf.select(config, group), group)


def test_a_metric_of_no_length_that_is_measured(world_store):
    """The length is to blame, not the number of listeners."""
    from towers.commands.wiring import check_monitor, judge_of
    from towers.evaluation.from_store import task_from_store

    config = train_config("evaluation.ks=[10]", "evaluation.min_users=1", "trainer.monitor=validation/recall@20")
    task = task_from_store(world_store, "validation")
    with pytest.raises(UserError, match=r"no recall@20 with evaluation\.ks=\[10\]; add its length") as raised:
        check_monitor(task, judge_of(task, config), config)
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
