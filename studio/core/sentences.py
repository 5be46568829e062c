"""What the studio says of machines, nodes and runs by itself, each sentence by its code.

A page finds the codes of these, and of what nodes and engines say, beside the English sentences,
and says them in its own language (decision 043). What people are refused is in `errors`.
"""

from functools import lru_cache
from typing import Any

from rest_framework import serializers

from engine.refusals import REFUSALS
from engine.sentences import RUN_SENTENCES, Sentences, join
from workers.sentences import NODE_SENTENCES

SENTENCES = Sentences(
    {
        "copy_is_made": "Its copy is being made: it starts as soon as that is done.",
        "copy_failed": "Its copy was not made: {problem}",
        "node_aside_reset": "Its node {node} is set aside by an administrator: the machine starts "
        "when it is used again. Stop and reset it to begin on another; your home is kept.",
        "node_aside_change": "Its node {node} is set aside by an administrator: the machine starts "
        "when it is used again. Stop it and change its image to begin on another; your home is "
        "kept.",
        "node_away": "Its node {node} does not answer: the machine starts when it is back.",
        "machine_all_aside": "Every node is set aside by an administrator: the machine waits for "
        "one.",
        "machine_no_engine": "No node with a Docker engine is online: the machine starts as soon "
        "as one is.",
        "machine_none_holds": "No node can hold {flavor} now: the machine waits for one.",
        "machine_all_busy": "All nodes are busy: the machine waits for its turn.",
        "machine_node_lost": "Its node has not answered for two minutes; you pay only for the time "
        "it did. Start it when the node is back, or reset it to begin on another: your home is "
        "kept.",
        "machine_not_started": "Its node did not start it within 15 minutes: start it again.",
        "machine_waited_too_long": "No node had room for it within {days} days: start it on "
        "another flavor, or ask an operator.",
        "machine_node_silent": "Its node does not answer now; this time is not charged.",
        "machine_drained": "Its node {node} is being emptied by an administrator. Your files are "
        "kept: start it when the node is back, or reset it to begin on another.",
        "machine_drained_why": "Its node {node} is being emptied by an administrator ({why}). Your "
        "files are kept: start it when the node is back, or reset it to begin on another.",
        "machine_node_removed": "Its node {node} was removed. Your home is kept: it begins anew "
        "from its image.",
        "machine_image_removed": "Its node {node} was removed, and its image with it: give it "
        "another image.",
        "machine_out_of_memory": "Its programs used more memory than its flavor has: pick a larger "
        "one.",
        "machine_ended": "It ended by itself, or its node was restarted: start it again.",
        "machine_container_gone": "Its container was removed on the node; your home is kept. "
        "Starting begins anew from the image.",
        "machine_idle": "Nothing was connected since {since} UTC, and no kernel, terminal, "
        "processor, GPU or detached run was busy. Your files are kept.",
        "saving_silent": "Its node did not say which image it made.",
        "saving_node_removed": "Its node {node} was removed.",
        "saving_too_long": "Its node did not save it within an hour: save it again.",
        "saving_image_deleted": "Its image was deleted before it was saved.",
        "saving_machine_deleted": "The machine was deleted before it was saved.",
        "machine_note": "Machine {name}",
        "no_node": "No node is online.",
        "no_engine": "No Docker engine answers on any node, so no machine can run yet: install one "
        "there, such as with `sudo apt install docker.io`.",
        "run_no_node": "No node is online: the run starts as soon as one is.",
        "run_no_engine": "No node with a Docker engine is online: the run starts as soon as one "
        "is.",
        "run_no_able": "No node can run such a job now: an operator sees why on the page Nodes.",
        "run_all_aside": "Every node is set aside by an administrator: the run waits for one.",
        "run_none_holds": "No node that is online can hold {flavor}: the run waits for one that "
        "can.",
        "run_all_busy": "All nodes are busy: the run waits for its turn.",
        "run_node_silent": "Node {node} gave no sign of life for {minutes} minutes. Your points "
        "are back: retry the job.",
        "run_not_started": "Node {node} took the run and did not start it. Your points are back: "
        "retry the job.",
        "run_refused": "Node {node} cannot read {fields} of this job: its software and the "
        "studio's are of different versions. Your points are back: retry the job once an "
        "administrator has brought both to one version.",
        "run_not_taken": "Node {node} was sent the run for {minutes} minutes and did not take it. "
        "Your points are back: retry the job, and tell an administrator, who finds why in the "
        "node's log.",
        "run_unreadable": "The studio cannot read {fields} of this job any more: it was launched "
        "before an upgrade. Your points are back: launch it anew.",
        "run_waited_too_long": "No node could take it within {days} days. Your points are back: "
        "launch it on another flavor, or ask an operator.",
        "run_node_removed": "Node {node} was removed. Your points are back: retry the job.",
        "stopped_by_owner": "You stopped it.",
        "stopped_by_operator": "An operator stopped it.",
        "points_used_up": "Your points are used up: ask an operator for a grant.",
        "stopped_by_studio": "The studio stopped it.",
        "server_idle": "Nobody used it for a while.",
        "model_use": "Use of models",
        "rollout_begun": "A new revision is being started beside it.",
        "rollout_back": "An operator went back to this revision.",
        "rollout_not_started": "Its server did not start.",
        "rollout_refused": "The new revision was set aside: {problem}",
        "gate_unwell": "Its server says that it is not well.",
        "gate_silent": "Its server did not answer when it was tried.",
        "gate_refused": "Its server refused the trial {prompt}: {said}",
        "gate_empty": "Its server answered the trial {prompt} with nothing.",
        "quota_not_btrfs": "The disk is not btrfs.",
        "quota_btrfs_tools": "The disk is btrfs, but its quotas need root and btrfs-progs.",
        "quota_btrfs_off": "The disk is btrfs, but its quotas cannot be turned on ({words}).",
        "quota_not_project": "It is neither ext4 nor XFS.",
        "quota_project_off": "It is {kind}, but {point} is mounted without the option prjquota.",
        "quota_project_tools": "It is {kind} with project quotas, but they need root and {tools}.",
        "run_drained": "Its node {node} is being emptied by an administrator.",
        "run_drained_why": "Its node {node} is being emptied by an administrator ({why}).",
    }
)
ALL = join([SENTENCES, NODE_SENTENCES, RUN_SENTENCES, REFUSALS])
CODES = sorted(ALL.table)
_LOOKED_UP = 4096

say = SENTENCES.say


class ToldOutput(serializers.Serializer):
    """The code of a sentence, and what it names."""

    code = serializers.ChoiceField(CODES)
    params = serializers.DictField(
        help_text="What it names: words, or another sentence as `{message, told}`."
    )


class SentenceOutput(serializers.Serializer):
    """A sentence, and its code where a table has it."""

    message = serializers.CharField()
    told = ToldOutput(allow_null=True)


@lru_cache(_LOOKED_UP)
def find_told(message: str) -> dict[str, Any] | None:
    """Return the code of a sentence and what it names; None of one that no table has.

    A param that is itself such a sentence is `{message, told}`.
    """
    found = ALL.find(message) if message else None
    if found is None:
        return None
    params = {name: _look_into(words) for name, words in found.params.items()}
    return {"code": found.code, "params": params}


def _look_into(words: str) -> str | dict[str, Any]:
    told = find_told(words)
    return words if told is None else {"message": words, "told": told}
