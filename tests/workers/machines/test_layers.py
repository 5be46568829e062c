"""Which of the engine's storages can limit a container's layer."""

import pytest

from workers.machines.layers import can_limit_layers, tell_layer_option

XFS = [["Backing Filesystem", "xfs"]]


@pytest.mark.parametrize(
    ("info", "option"),
    [
        ({"Driver": "btrfs"}, {"size": "150"}),  # a snapshot: the image's own bytes count
        ({"Driver": "zfs"}, {"size": "50"}),
        ({"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}, {}),
        ({"Driver": "overlay2", "DriverStatus": XFS, "DockerRootDir": "/proc"}, {}),
        ({"Driver": "vfs"}, {}),
    ],
)
def test_the_option(info, option):
    assert tell_layer_option(info, 100, 50) == option
    assert can_limit_layers(info) is bool(option)


def test_xfs_limits_layers_where_it_was_mounted_with_project_quotas(monkeypatch):
    lines = [
        "1 0 8:1 / / rw - ext4 /dev/vda rw",
        "2 1 8:2 / /var/lib rw - xfs /dev/vdb rw,prjquota",
        "3 1 8:3 / /var/libother rw - xfs /dev/vdc rw,noquota",
    ]
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: "\n".join(lines))
    for root, is_able in (("/var/lib/docker/1.1", True), ("/var/libother/docker", False)):
        info = {"Driver": "overlay2", "DriverStatus": XFS, "DockerRootDir": root}
        assert can_limit_layers(info) is is_able
