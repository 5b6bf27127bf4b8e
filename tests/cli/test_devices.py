"""Where a bundle runs, as the command line takes it and tells it."""

from zen_edge.runtimes.installed import build

CPU = "CPUExecutionProvider"


def test_auto_tells_what_it_took(zen, demo_fp32):
    plain, auto = zen("run", demo_fp32, "a text editor"), zen("run", demo_fp32, "a text editor", "--device", "auto")
    assert auto.stdout == plain.stdout
    assert plain.stderr == ""
    assert auto.stderr.startswith(f"zen-edge: auto took cpu: {build()} has no CUDAExecutionProvider")
    assert auto.stderr.count("\n") == 1


def test_providers_by_name(zen, demo_fp32):
    plain = zen("run", demo_fp32, "a text editor")
    assert zen("run", demo_fp32, "a text editor", "--provider", "cpu").stdout == plain.stdout
    unknown = zen("run", demo_fp32, "a text editor", "--provider", "openvino,device_type=CPU")
    assert unknown.exit_code == 1
    assert f"{build()} offers no provider 'openvino'" in unknown.stderr and CPU in unknown.stderr
    assert "--provider takes NAME[,KEY=VALUE...], and 'fast' is no KEY=VALUE" in zen("run", demo_fp32, "x", "--provider", "cpu,fast").stderr
    for malformed, said in (
        ("cpu,=1", "'=1' is no KEY=VALUE"),
        (",fast=1", "',fast=1' names no provider"),
        ("cpu,fast=1", f"{CPU} takes no options"),
    ):
        assert said in zen("run", demo_fp32, "x", "--provider", malformed).stderr
    assert "in the place of a device" in zen("run", demo_fp32, "x", "--provider", "cpu", "--device", "cpu").stderr


def test_what_was_asked_for_is_not_replaced(zen, demo_fp32, demo_checkpoint):
    for arguments in (
        ("run", demo_fp32, "x", "--device", "cuda", "--device-id", "1"),
        ("parity", demo_fp32, demo_checkpoint, "--device", "cuda"),
        ("run", demo_fp32, "x", "--device", "cuda", "--cuda-graphs"),
    ):
        done = zen(*arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"zen-edge: {build()} has no CUDAExecutionProvider") and done.stderr.count("\n") == 1
    graphs = zen("run", demo_fp32, "x", "--device", "cpu", "--cuda-graphs")
    assert "CUDA graphs are of CUDAExecutionProvider" in graphs.stderr
