"""What every user of a node's Docker engine shares."""

import socket

import pytest

from workers.machines.walls import DockerEngine, EngineFault


def test_where_no_engine_listens_one_sentence_says_how_to_have_one(tmp_path):
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    for path in (tmp_path / "none.sock", stale):
        with pytest.raises(EngineFault, match=r"apt install docker\.io.*systemctl start docker"):
            DockerEngine("n1", host=f"unix://{path}").tell_version()
