"""What a dev machine's root may try from inside: shell lines, each of which must come to nothing.

A line has succeeded where it prints `GOT`. `{...}` are filled in with what there is to attack.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One line, and whom it is meant for."""

    id: str
    line: str


def connects(name: str, host: str, port: str) -> Attempt:
    """Make a row of a connection to somewhere that it must not reach."""
    return Attempt(name, f"timeout 3 bash -c '</dev/tcp/{host}/{port}' && echo GOT")


def runs(name: str, line: str) -> Attempt:
    """Make a row of a command that the kernel must refuse."""
    return Attempt(name, f"({line}) && echo GOT")


def finds(name: str, line: str) -> Attempt:
    """Make a row of a command whose output must be empty."""
    return Attempt(name, f'test -n "$({line} 2>/dev/null)" && echo GOT')


_PYTHON = "import socket, ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "


def python(name: str, code: str) -> Attempt:
    """Make a row of Python that must raise."""
    return Attempt(name, f"python3 -c '{_PYTHON}{code}' && echo GOT")


def calls(name: str, call: str) -> Attempt:
    """Make a row of a system call (its number is x86-64's) that must not be let through at all."""
    refused = "(1, 38)"  # EPERM and ENOSYS: any other refusal came from further in
    return python(name, f"assert libc.syscall({call}) >= 0 or ctypes.get_errno() not in {refused}")


NETWORK = [
    connects("neighbours-program", "{theirs}", "8080"),
    connects("neighbours-ssh", "{theirs}", "22"),
    connects("neighbours-gateway", "{their_gateway}", "{studio}"),
    connects("neighbour-by-container-name", "{their_name}", "8080"),
    connects("neighbour-by-hostname", "other", "8080"),
    connects("own-gateway-studio", "{gateway}", "{studio}"),
    connects("own-gateway-ssh-gateway", "{gateway}", "{ssh}"),
    connects("own-gateway-relay", "{gateway}", "{relay}"),
    connects("own-gateway-open-port", "{gateway}", "{listener}"),
    connects("node-studio", "{node}", "{studio}"),
    connects("node-relay", "{node}", "{relay}"),
    connects("node-open-port", "{node}", "{listener}"),
    connects("node-ssh-gateway", "{node}", "{ssh}"),
    connects("door-other-port", "169.254.86.1", "{listener}"),
    connects("door-relay", "169.254.86.1", "{relay}"),
    connects("metadata", "169.254.169.254", "80"),
    connects("metadata-of-alibaba", "100.100.100.200", "80"),
    connects("redis-of-the-node", "{gateway}", "6379"),
    connects("postgresql-of-the-node", "{gateway}", "5432"),
    connects("docker-over-tcp", "{gateway}", "2375"),
    connects("node-behind-zero", "0.0.0.0", "{studio}"),
    connects("own-loopback-is-not-the-nodes", "127.0.0.1", "{studio}"),
    connects("neighbour-over-ipv6", "::ffff:{theirs}", "8080"),
    finds("address-of-ipv6", "cat /proc/net/if_inet6 | grep -v ' lo$'"),
    python("raw-socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"),
    python("arp-packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"),
    python("bind-to-the-neighbours-address",
           "s = socket.socket(); s.bind((\"{theirs}\", 0))"),
    runs("another-address", "ip address add {theirs}/24 dev eth0"),
    runs("another-route", "ip route add default via {their_gateway}"),
    runs("forwarding", "echo 1 > /proc/sys/net/ipv4/ip_forward"),
    runs("ipv6-again", "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6"),
]  # fmt: skip

# Both of the kernel's ways to group processes: a file that is only made there is none of its own.
_LIMIT = (
    "f=$(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max | head -1); "
    "was=$(cat $f); echo 99999999999 > $f; test $(cat $f) != $was"
)
_GROUP = (
    "for d in /sys/fs/cgroup /sys/fs/cgroup/memory /sys/fs/cgroup/pids; do mkdir $d/evil; "
    "test -e $d/evil/cgroup.procs && exit 0; done; exit 1"
)
KERNEL = [
    runs("mount-memory", "mount -t tmpfs none /mnt"),
    runs("mount-proc", "mount -t proc proc /mnt"),
    runs("bind-mount", "mount --bind /root /mnt"),
    runs("remount-share", "mount -o remount,rw,bind /share"),
    runs("remount-secrets", "mount -o remount,rw,bind /run/athanor"),
    runs("unmount-secrets", "umount /run/athanor"),
    runs("make-a-disk", "mknod /tmp/sda b 8 0"),
    runs("make-a-memory-device", "mknod /root/mem c 1 1"),
    runs("new-user-namespace", "unshare -U true"),
    runs("new-mount-namespace", "unshare -m true"),
    runs("enter-the-nodes-namespace", "nsenter -t 1 -n -F true && nsenter -t 1 -U -F true"),
    runs("panic-setting", "echo 1 > /proc/sys/kernel/panic"),
    runs("core-pattern", "echo '|/root/evil' > /proc/sys/kernel/core_pattern"),
    runs("sysrq", "echo b > /proc/sysrq-trigger"),
    runs("uevent-helper", "echo /root/evil > /sys/kernel/uevent_helper"),
    runs("cgroup-limit", _LIMIT),
    runs("cgroup-of-its-own", _GROUP),
    runs("kernel-log", "dmesg | grep ."),
    runs("load-a-module", "modprobe dummy || insmod /dev/null"),
    runs("set-the-clock", "date -s 2001-01-01"),
    runs("set-the-hostname", "hostname evil"),
    runs("swap", "swapon /root/swap"),
    runs("reboot", "reboot -f"),
    runs("raise-limits", "ulimit -c unlimited"),
    runs("capability-by-inheritance",
         "setpriv --inh-caps +sys_admin --ambient-caps +sys_admin mount -t tmpfs none /mnt"),
    calls("keyctl", "250, 0, -3, 1"),
    calls("bpf", "321, 0, 0, 0"),
    calls("userfaultfd", "323, 0"),
    calls("perf", "298, 0, 0, -1, -1, 0"),
    calls("kexec", "246, 0, 0, 0, 0"),
    calls("open-by-handle", "304, -1, 0, 0"),
    calls("init-module", "175, 0, 0, 0"),
    calls("pivot-root", "155, b\"/\", b\"/\""),
]  # fmt: skip

FILES = [
    runs("docker-socket", "ls /var/run/docker.sock || ls /run/docker.sock"),
    runs("share-write", "touch /share/x"),
    runs("secrets-write", "touch /run/athanor/x"),
    runs("secrets-overwrite", "echo x > /run/athanor/token"),
    runs("secrets-chmod", "chmod 777 /run/athanor/token"),
    runs("own-address-of-the-studio", "sed -i s/http/https/ /run/athanor/machine.json"),
    finds("her-trash-beside", "ls /root/.. | grep -x trash"),
    finds("her-file-by-a-link", "ln -sfn {her_home} /root/way; cat /root/way/secret"),
    finds("her-file-by-dots", "cat /root/../../{her_id}/home/secret"),
    finds("her-secrets", "cat /run/athanor/../{their_key}/token"),
    finds("node-processes", "ls /proc | grep -x {pid}"),
    finds("node-files-by-a-process", "ls /proc/1/root/var/lib/docker"),
    finds("node-disks", "ls /dev/sd* /dev/vd* /dev/nvme* /dev/dm-*"),
    finds("node-memory", "dd if=/dev/mem bs=1 count=1"),
    finds("kernel-memory", "dd if=/proc/kcore bs=1 count=1"),
    finds("kernel-addresses", "grep -v '^0000000000000000' /proc/kallsyms | head -1"),
    finds("node-token", "tr '\\0' '\\n' < /proc/1/environ | grep -i node_"),
]  # fmt: skip

ATTEMPTS = [*NETWORK, *KERNEL, *FILES]
