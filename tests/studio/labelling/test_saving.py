"""What comes of the answers: files whose untouched rows are the same bytes, saved whole or not."""

import json

import pytest

from studio.core.errors import BadInput, Conflict, Forbidden
from studio.hub.content import open_blob
from studio.hub.models import Repo
from studio.hub.selectors import get_file
from studio.labelling.models import Draft, Project
from studio.labelling.saving import LABELS_FILE, Wish, make_result, save_result
from studio.labelling.services import NewProject, create_project
from tests.studio.hub.made import make_row, push
from tests.studio.labelling.made import make_project, pairs, talks, texts

pytestmark = pytest.mark.django_db


def read(commit, path: str) -> bytes:
    with open_blob(get_file(commit, path).blob) as file:
        return file.read()


def export(project, wanted: str, rest: str = "drop") -> list:
    made = make_result(project, Wish(wanted, rest), by=project.owner)
    return [json.loads(line) for line in made.rows.read().splitlines()]


def turns(answer: str, question: str = "q1") -> list[dict[str, str]]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]


def test_a_saved_revision_changes_only_the_rows_that_people_changed(alice, label):
    rows = [
        make_row("q0").encode() + b"\r\n",
        b'{"messages":[{"role":"user","content":"q1"},{"role":"assistant","content":"a"}],'
        b' "id":7}\n',
        b"\n",
        b"{broken\n",
        make_row("q3").encode() + b"\n",
        b'  {"messages": [{"role":"user","content":"\\u4f60"},{"role":"assistant","content":"z"}]}',
    ]
    project = make_project(alice, b"".join(rows))
    mine = label(alice, project)
    mine.say("accept")
    mine.send(mine.next(), "edit", messages=turns("better"), reason="wrong year")
    mine.say("accept", "reject")
    commit = save_result(by=alice, project=project, wish=Wish("sft"))
    edited = json.dumps({"messages": turns("better"), "id": 7}).encode() + b"\n"
    assert read(commit, "train.jsonl") == b"".join([rows[0], edited, rows[2], rows[3], rows[5]])
    assert "4 rows, 1 left out (2 accept, 1 edit, 1 reject)" in commit.message
    assert commit.parent_id == project.commit_id and commit.repo.num_rows == 4


def test_the_record_says_who_did_what_and_when(alice, bob, label):
    project = make_project(alice, talks(3), people=[bob], num_annotators=2)
    label(alice, project).say("accept", "accept")
    label(bob, project).say("accept", "reject")
    save_result(by=alice, project=project, wish=Wish("sft"))
    commit = Repo.objects.get().head
    record = json.loads(read(commit, LABELS_FILE))
    assert (record["dataset"], record["revision"]) == ("alice/talk", project.revision)
    assert record["settled"] == {"agreed": 1, "undecided": 1, "none": 1}
    first, second = record["rows"]
    assert [said["who"] for said in first["answers"]] == ["alice", "bob"]
    assert first["answers"][0]["at"] and first["how"] == "agreed"
    assert second["verdict"] is None and second["is_in"] is True
    assert record["agreement"]["num_shared_rows"] == 2


def test_names_are_numbers_where_the_project_says_so(alice, bob, label):
    project = make_project(alice, talks(1), people=[bob], num_annotators=2, shows_names=False)
    label(alice, project).say("accept")
    label(bob, project).say("accept")
    commit = save_result(by=alice, project=project, wish=Wish("sft", new_name="out"))
    text = read(commit, LABELS_FILE).decode()
    assert "bob" not in text and "annotator-2" in text and '"annotator-1"' in text


def test_it_can_be_saved_again_as_more_is_done(alice, project, label):
    mine = label(alice, project)
    mine.say("reject")
    assert save_result(by=alice, project=project, wish=Wish("sft")).repo.num_rows == 5
    mine.say("reject")
    project.refresh_from_db()
    assert save_result(by=alice, project=project, wish=Wish("sft")).repo.num_rows == 4


def test_what_others_pushed_meanwhile_is_not_lost(alice, project, label):
    label(alice, project).say("reject")
    pushed = push(alice, "alice/talk", {"train.jsonl": talks(9)})
    project = Project.objects.get(pk=project.pk)
    with pytest.raises(Conflict) as refused:
        save_result(by=alice, project=project, wish=Wish("sft"))
    assert refused.value.code == "dataset_moved"
    assert Repo.objects.get().head == pushed
    saved = save_result(by=alice, project=project, wish=Wish("sft", new_name="mine"))
    assert (saved.repo.repo_id, saved.repo.num_rows) == ("alice/mine", 5)


def test_a_new_dataset_is_made_whole_or_not_at_all(alice, project, label):
    label(alice, project).say("accept")
    with pytest.raises(Conflict) as refused:
        save_result(by=alice, project=project, wish=Wish("sft", new_name="talk"))
    assert refused.value.code == "name_taken"
    with pytest.raises(BadInput):
        save_result(by=alice, project=project, wish=Wish("sft", new_name="no name"))
    assert Repo.objects.count() == 1
    with pytest.raises(Conflict) as refused:
        save_result(by=alice, project=project, wish=Wish("preference", new_name="empty"))
    assert refused.value.code == "nothing_to_save"
    assert Repo.objects.count() == 1


def test_who_may_only_read_a_dataset_saves_into_one_of_their_own(alice, bob, label):
    push(alice, "alice/open", {"train.jsonl": talks(2)}, visibility="public")
    project = create_project(by=bob, wanted=NewProject(dataset="alice/open", kind="review"))
    label(bob, project).say("reject")
    with pytest.raises(Forbidden):
        save_result(by=bob, project=project, wish=Wish("sft"))
    saved = save_result(by=bob, project=project, wish=Wish("sft", new_name="mine"))
    assert saved.repo.repo_id == "bob/mine" and saved.repo.num_rows == 1


def test_rewritten_answers_are_preferences(alice, project, label):
    mine = label(alice, project)
    mine.say("accept")
    mine.send(mine.next(), "edit", messages=turns("better"))
    (row,) = export(project, "preference")
    assert row == {
        "prompt": [{"role": "user", "content": "q1"}],
        "chosen": [{"role": "assistant", "content": "better"}],
        "rejected": [{"role": "assistant", "content": "a1"}],
    }
    with pytest.raises(BadInput) as refused:
        save_result(by=alice, project=project, wish=Wish("preference"))
    assert refused.value.code == "needs_new_dataset"


def rank(mine, *wanted: str) -> None:
    """Choose the answer that begins so, row by row."""
    for beginning in wanted:
        work = mine.next()
        if beginning in {"tie", "both_bad"}:
            mine.send(work, beginning)
        else:
            is_first = work["answers"][0].startswith(beginning)
            mine.send(work, "first" if is_first else "second")


def test_ranked_pairs_become_preferences_and_conversations(alice, label):
    project = make_project(alice, pairs(5), kind="rank")
    rank(label(alice, project), "c", "r", "tie", "both_bad")
    assert export(project, "preference") == [
        {"prompt": "q0", "chosen": "c0", "rejected": "r0"},
        {"prompt": "q1", "chosen": "r1", "rejected": "c1"},
    ]
    assert [row["messages"][-1]["content"] for row in export(project, "sft")] == ["c0", "r1", "c2"]
    kept = make_result(project, Wish("preference", "keep"), by=alice).rows.read().splitlines()
    assert kept[0] == pairs(1).splitlines()[0] and kept[2] == pairs(5).splitlines()[4]


def test_a_second_answer_of_a_model_is_ranked_once_it_is_there(alice, label):
    project = make_project(alice, talks(2), kind="rank")
    mine = label(alice, project)
    assert project.needs_drafts and mine.next() is None
    Draft.objects.create(project=project, row=0, model="m", text="drafted")
    Project.objects.update(next_draft_row=1)
    work = mine.next()
    assert sorted(work["answers"]) == ["a0", "drafted"] and sorted(work["drafted"]) == [False, True]
    mine.send(work, "first" if work["answers"][0] == "drafted" else "second")
    (row,) = export(project, "preference")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("drafted", "a0")
    assert mine.next() is None


def test_a_span_is_kept_that_most_annotators_tagged(alice, bob, carol, label):
    wish = {"kind": "spans", "text_field": "text", "labels": ["N"], "num_annotators": 3}
    project = make_project(alice, texts("one two"), people=[bob, carol], **wish)
    one, two = ({"start": a, "end": b, "label": "N"} for a, b in ((0, 3), (4, 7)))
    for person, spans in ((alice, [one]), (bob, [one, two]), (carol, [one])):
        mine = label(person, project)
        mine.send(mine.next(), "tagged", spans=spans)
    (row,) = export(project, "spans")
    assert row == {"text": "one two", "spans": [{**one, "text": "one"}]}
    figures = label(alice, project).get("figures/")
    assert figures["span_f1"] == pytest.approx(2 * 3 / (2 + 3 + 3))


def test_the_owners_decision_counts_more_than_the_majority(alice, bob, label):
    project = make_project(alice, talks(1), people=[bob], num_annotators=2)
    label(alice, project).say("accept")
    label(bob, project).say("reject")
    assert len(export(project, "sft")) == 0
    client = label(alice, project).client
    url = f"/api/labelling/projects/{project.pk}/rows/0/decision/"
    assert client.put(url, {"verdict": "accept"}, format="json").status_code == 204
    assert len(export(project, "sft")) == 1


def test_a_line_over_the_limit_is_copied_as_it_is_in_pieces(alice, label):
    huge = b'{"messages": "' + b"x" * (5 * 2**20) + b'"}\n'
    content = talks(1) + huge + talks(1)
    project = make_project(alice, content)
    label(alice, project).say("accept")
    made = make_result(project, Wish("sft", "keep"), by=alice)
    assert made.rows.read() == content
    assert (made.num_rows, made.num_dropped) == (3, 0)
    dropped = make_result(project, Wish("sft", "drop"), by=alice)
    assert dropped.rows.read() == talks(1)
