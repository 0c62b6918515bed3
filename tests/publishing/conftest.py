import hashlib
from dataclasses import replace

import pytest

from tests.publishing.listening import write_listening


@pytest.fixture(scope="session")
def listening(tmp_path_factory, make_builder, feature_settings):
    """A store of listeners of plain taste, without sound or metadata. Read only."""
    folder = tmp_path_factory.mktemp("listening")
    features = replace(feature_settings, user_columns=())
    return make_builder(write_listening(folder / "raw"), folder / "stores", features=features).build()[0]


@pytest.fixture(scope="module")
def graphs_traced_once():
    """Within a module, the graph of the same network is traced once: that takes seconds, and what most tests of an
    export are about stands beside it. Every export still holds its file against torch."""
    import onnx

    from towers.publishing.onnx import towers

    trace, traced = towers._graph, {}

    def graph(model, example, shapes, names):
        key = _digest_of(model, shapes, names)
        if key not in traced:
            traced[key] = trace(model, example, shapes, names).SerializeToString()
        return onnx.ModelProto.FromString(traced[key])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(towers, "_graph", graph)
        yield trace


@pytest.fixture
def graphs_traced_anew(graphs_traced_once, monkeypatch):
    """The exporter as it is, for a test that is about it."""
    from towers.publishing.onnx import towers

    monkeypatch.setattr(towers, "_graph", graphs_traced_once)


def _digest_of(model, shapes, names):
    """Of all that decides what is traced: classes, their plain settings and every tensor."""
    plain = (bool, int, float, str, tuple, type(None))
    told = [
        (name, type(part).__qualname__, sorted((key, repr(value)) for key, value in vars(part).items()
                                               if isinstance(value, plain)))
        for name, part in model.named_modules()
    ]  # fmt: skip
    digest = hashlib.sha256(repr((told, shapes, list(names))).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + str(tensor.dtype).encode() + str(tensor.shape).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
