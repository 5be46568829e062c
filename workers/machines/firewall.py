"""What dev machines may reach: the world, their tenant's machines, the studio, and nothing else.

Docker keeps bridges apart from each other. It does not keep a container from the node's own ports,
nor from whatever else is on the node's networks: Redis, the database, the cloud's metadata.
"""

import subprocess
from collections.abc import Sequence
from ipaddress import ip_address

from workers.errors import WorkerError
from workers.machines.walls import BRIDGE_PREFIX

_TO_NODE, _TO_OTHERS = "ATHANOR-NODE", "ATHANOR-OTHERS"
# RFC 6890's addresses that are not of the world; 169.254.169.254 is where clouds keep keys.
_INNER = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)


class FirewallFault(WorkerError):
    """The node's packet filter refused; machines must not run without it."""


def raise_firewall(studio: Sequence[tuple[str, int]]) -> None:
    """Lay the rules anew, in one step each; `studio` are addresses and ports that stay open.

    Raises:
        FirewallFault: they could not be laid.
    """
    doors = [(str(ip_address(host)), port) for host, port in studio]
    opened = [f"-p tcp -d {host} --dport {port} -j ACCEPT" for host, port in doors]
    # Answers to what the node itself began: the proxy and the gateway come from there.
    known = "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    _lay(_TO_NODE, "INPUT", [known, *opened, "-j DROP"])
    inner = [f"-d {network} -j DROP" for network in _INNER]
    # One bridge's own traffic passes here only where the kernel filters bridges: it is let by.
    same = f"-o {BRIDGE_PREFIX}+ -j RETURN"
    _lay(_TO_OTHERS, "DOCKER-USER", [known, same, *opened, *inner, "-j RETURN"])


def is_firewall_up() -> bool:
    """Say whether containers' packets go through the rules now: no container may start before."""
    jumps = [("INPUT", _TO_NODE), ("DOCKER-USER", _TO_OTHERS)]
    return all(_has_jump(parent, chain) for parent, chain in jumps)


def _has_jump(parent: str, chain: str) -> bool:
    command = ["iptables", "--wait", "-C", *_jump(parent, chain)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _jump(parent: str, chain: str) -> list[str]:
    return [parent, "-i", f"{BRIDGE_PREFIX}+", "-j", chain]


def _lay(chain: str, parent: str, rules: Sequence[str]) -> None:
    """Fill a chain in one step, and have the machines' packets go through it before all else."""
    lines = ["*filter", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), "COMMIT"]
    _run("iptables-restore", "--wait", "--noflush", given="\n".join(lines) + "\n")
    if parent == "DOCKER-USER":  # the engine makes it where it finds none
        subprocess.run(["iptables", "--wait", "-N", parent], capture_output=True, check=False)
    if not _has_jump(parent, chain):
        _run("iptables", "--wait", "-I", *_jump(parent, chain))


def _run(*command: str, given: str | None = None) -> None:
    try:
        done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise FirewallFault(f"{command[0]} is not on this node: install iptables.") from error
    if done.returncode:
        raise FirewallFault(f"{' '.join(command)}: {' '.join(done.stderr.split())[:300]}")
