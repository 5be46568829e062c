"""What a node says of itself and its machines, its sentences by codes: see `engine.sentences`."""

from engine.sentences import Sentences

NODE_SENTENCES = Sentences(
    {
        "engine_away": "No Docker engine answers on the node: install one with `sudo apt install "
        "docker.io`, or start it with `sudo systemctl start docker`.",
        "engine_says": "The Docker engine says: {words}",
        "engine_not_looked_at": "The node has not looked at its Docker engine yet.",
        "no_user_namespaces": "The Docker engine runs without user namespaces, so a machine's root "
        "would be the node's: set `userns-remap` in its daemon.json and start it again.",
        "image_not_pinned": "The image {image} is named neither by digest nor by id.",
        "image_missing": "The image {image} is not on this node: build or pull it there.",
        "engine_image_missing": "The image {image} of ATHANOR_ENGINE_IMAGE is not on this node: "
        "build or pull it there.",
        "engine_version_differs": "The image {image} of ATHANOR_ENGINE_IMAGE has the engine of "
        "Athanor {found}, and this node is {version}: build it again with each upgrade.",
        "engine_version_unknown": "The image {image} of ATHANOR_ENGINE_IMAGE does not say which "
        "Athanor its engine is of, so it is an older one: build it again with each upgrade.",
        "engine_image_empty": "The image {image} of ATHANOR_ENGINE_IMAGE carries no engine: build "
        "it without `--build-arg ENGINE=`.",
        "drive_missing": "The drive {drive} is not on this node.",
        "drive_of_another": "The drive {drive} belongs to user {owner} and machines' root is {root}"
        " here: set STUDIO_DRIVE_OWNER={root} for the studio, and `chown -R` the drives to it.",
        "drives_not_set": "ATHANOR_DRIVE_DIR is not set: write the studio's folder of drives.",
        "machines_need_root": "Dev machines need a node that runs as root: their network and their "
        "secrets are set up by it.",
        "machine_order_unread": "This node cannot read {fields} of what the machine shall be: its "
        "software and the studio's are of different versions. Ask an administrator to bring both "
        "to one.",
        "engines_need_root": "Engines in containers need a node that runs as root: it mounts their "
        "folders.",
        "studio_unknown": "The studio's name {host} is not known on this node.",
        "mount_failed": "{source} cannot be shown at {target}: {words}",
        "scratch_failed": "The scratch disk {disk} cannot be had: {words}",
        "nothing_to_save_there": "Its node has no container of it: start the machine first.",
        "command_failed": "`{command}` failed on the node: {words}",
        "box_has_link": "{folder} is a link, and no run's folder has any.",
        "device_missing": "GPU {device} is not on this node any more: retry the job.",
        "no_packet_filter": "The node's packet filter is not laid, so no script may start: is its "
        "`python -m workers machines` running?",
        "save_disk_full": "The disk of its node is full: nothing was saved. Ask an operator to make"
        " room.",
    }
)
