"""Labelling at the API: who may do what, what is refused, and what is kept."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from studio.labelling.models import Project
from tests.studio.asgi import make_token
from tests.studio.hub.made import make_row, push
from tests.studio.labelling.made import URL, make_project, pairs, talks, texts

pytestmark = pytest.mark.django_db


def begin(client, status: int = 201, **wish):
    body = {"dataset": "alice/talk", "kind": "review", **wish}
    answer = client.post(URL, body, format="json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_project_pins_the_revision_it_was_made_from(api, alice):
    pinned = push(alice, "alice/talk", {"train.jsonl": talks(3)})
    made = begin(api(alice), name="Spring", num_annotators=2)
    push(alice, "alice/talk", {"train.jsonl": talks(9)})
    got = api(alice).get(f"{URL}{made['id']}/").json()
    assert (got["revision"], got["num_rows"], got["path"]) == (pinned.sha, 3, "train.jsonl")
    assert (got["name"], got["is_mine"], got["formats"]) == ("Spring", True, ["sft", "preference"])


def test_a_stranger_learns_nothing_of_a_project(api, alice, carol, project):
    client, url = api(carol), f"{URL}{project.pk}/"
    gets = ["", "figures/", "disputes/", "rows/0/", "rows/0/decision/", "export/sft/"]
    assert {client.get(url + path).status_code for path in gets} == {404}
    posts = ["next/", "undo/", "rows/0/skip/", "members/", "save/", "drafting/", "drafting/cost/"]
    assert {client.post(url + path, {}, format="json").status_code for path in posts} == {404}
    puts = ["rows/0/", "rows/0/decision/"]
    assert {client.put(url + path, {}, format="json").status_code for path in puts} == {404}
    assert client.patch(url, {"name": "mine"}, format="json").status_code == 404
    assert client.delete(url).status_code == 404
    assert client.delete(f"{url}drafting/").status_code == 404
    assert client.delete(f"{url}members/alice/").status_code == 404
    assert client.get(URL).json()["results"] == []


def test_a_strangers_private_dataset_cannot_be_labelled(api, alice, carol):
    push(alice, "alice/talk", {"train.jsonl": talks(3)})
    begin(api(carol), status=404)


def test_an_annotator_labels_and_does_nothing_more(api, alice, bob, label):
    project = make_project(alice, talks(3), people=[bob])
    label(bob, project).say("accept")
    client, url = api(bob), f"{URL}{project.pk}/"
    assert {client.get(url + path).status_code for path in ("figures/", "disputes/")} == {403}
    body = {"username": "carol"}
    assert client.post(f"{url}members/", body, format="json").status_code == 403
    assert client.post(f"{url}save/", {"format": "sft"}, format="json").status_code == 403
    assert client.delete(url).status_code == 403
    assert client.get(URL).json()["results"][0]["id"] == str(project.pk)


def test_who_was_sent_away_sees_the_project_no_more(api, alice, bob):
    project = make_project(alice, talks(3), people=[bob])
    assert api(alice).delete(f"{URL}{project.pk}/members/bob/").status_code == 204
    assert api(bob).post(f"{URL}{project.pk}/next/").status_code == 404


def test_a_token_that_reads_hands_out_no_rows(client, alice, project):
    headers = {"Authorization": f"Bearer {make_token(alice, ['read'])}"}
    assert client.get(f"{URL}{project.pk}/", headers=headers).status_code == 200
    assert client.post(f"{URL}{project.pk}/next/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("files", "wish", "code", "said"),
    [
        ({"a.jsonl": b"{}\n", "b.jsonl": b"{}\n"}, {}, "dataset_file_unclear", "train.jsonl"),
        ({"a.jsonl": b"\n\n"}, {}, "dataset_empty", "no row"),
        ({"a.jsonl": texts("x")}, {}, "nothing_to_review", "messages"),
        ({"a.jsonl": texts("x")}, {"kind": "rank"}, "nothing_to_rank", "chosen"),
        ({"a.jsonl": texts("x")}, {"kind": "spans", "labels": []}, "bad_labels", "1 to 50"),
        (
            {"a.jsonl": texts("x")},
            {"kind": "spans", "labels": ["N"], "text_field": "body"},
            "no_such_text",
            "The rows have: text.",
        ),
        ({"a.jsonl": talks(1)}, {"kind": "draw"}, "invalid_choice", "kind"),
        ({"a.jsonl": talks(1)}, {"num_annotators": 6}, "max_value", "num_annotators"),
        ({"a.jsonl": talks(1)}, {"typo": 1}, "unknown_field", "typo"),
    ],
)
def test_what_cannot_be_labelled_gets_one_sentence(api, alice, files, wish, code, said):
    push(alice, "alice/talk", files)
    answer = begin(api(alice), status=400, **wish)
    assert answer["code"] == code and said in answer["message"]
    assert not Project.objects.exists()


def test_a_row_is_edited_checked_and_shown_again(alice, project, label):
    mine = label(alice, project)
    work = mine.next()
    assert [turn["content"] for turn in work["messages"]] == ["q0", "a0"]
    bad = [{"role": "wizard", "content": "x"}]
    refused = mine.send(work, "edit", messages=bad, status=400)
    assert refused["field"] == "messages[0].role" and "Use one of" in refused["message"]
    good = [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "better \u4f60"}]
    following = mine.send(work, "edit", messages=good, reason="clearer")
    assert (following["work"]["row"], following["num_mine"]) == (1, 1)
    again = mine.get("rows/0/")["work"]
    assert (again["verdict"], again["edited"], again["reason"]) == ("edit", good, "clearer")
    assert again["state"] == "done" and following["work"]["before"] == 0


def test_a_stale_tab_is_told_what_is_kept_and_a_double_press_is_one(alice, project, label):
    mine = label(alice, project)
    work = mine.next()
    mine.send(work, "accept", reason="good")
    mine.send(work, "accept", reason="good")
    refused = mine.send(work, "reject", status=409)
    assert refused["code"] == "answer_moved"
    assert (refused["params"]["verdict"], refused["params"]["revision"]) == ("accept", 1)
    project.refresh_from_db()
    assert project.num_answers == 1


def test_what_is_typed_is_kept_until_it_is_sent(alice, project, label):
    mine = label(alice, project)
    work = mine.next()
    body = {"revision": work["revision"], "unsent": {"reason": "half a tho"}}
    url = f"{mine.url}rows/{work['row']}/"
    assert mine.client.patch(url, body, format="json").status_code == 204
    assert mine.next()["unsent"] == {"reason": "half a tho"}
    mine.send(work, "accept")
    assert mine.client.patch(url, body, format="json").status_code == 409
    assert mine.get("rows/0/")["work"]["unsent"] is None


def test_undo_brings_the_answer_back_to_be_changed(alice, project, label):
    mine = label(alice, project)
    mine.say("accept", "reject")
    work = mine.post("undo/")["work"]
    assert (work["row"], work["verdict"], work["state"]) == (1, "reject", "held")
    mine.send(work, "accept")
    assert mine.get("rows/1/")["work"]["verdict"] == "accept"


def test_people_see_the_two_answers_in_their_own_order_and_mean_the_same(alice, bob, label):
    project = make_project(alice, pairs(12), people=[bob], kind="rank", num_annotators=2)
    orders = []
    for person in (alice, bob):
        mine = label(person, project)
        while work := mine.next():
            orders.append((work["row"], work["answers"][0][0]))
            mine.send(work, "first" if work["answers"][0].startswith("c") else "second")
            shown = mine.get(f"rows/{work['row']}/")["work"]
            assert shown["verdict"] in {"first", "second"}
    assert {order[1] for order in orders} == {"c", "r"}
    figures = label(alice, project).get("figures/")
    assert figures["verdicts"] == {"first": 24}
    assert (figures["percent_agreement"], figures["num_disputed"]) == (1.0, 0)


@pytest.mark.parametrize(
    ("span", "code"),
    [
        ({"start": 0, "end": 8, "label": "N"}, "bad_span"),
        ({"start": 3, "end": 3, "label": "N"}, "bad_span"),
        ({"start": 4, "end": 2, "label": "N"}, "bad_span"),
        ({"start": 0, "end": 1, "label": "X"}, "bad_label"),
        ({"start": -1, "end": 1, "label": "N"}, "min_value"),
        ({"start": 0.5, "end": 1, "label": "N"}, "invalid"),
        ({"start": 0, "end": 2**60, "label": "N"}, "max_value"),
    ],
)
def test_a_span_outside_of_the_text_is_refused(alice, label, span, code):
    content = texts("\u4f60\u597d\U0001f600 end")  # seven code points, eight in UTF-16
    wish = {"kind": "spans", "text_field": "text", "labels": ["N"]}
    project = make_project(alice, content, **wish)
    mine = label(alice, project)
    refused = mine.send(mine.next(), "tagged", spans=[span], status=400)
    assert refused["code"] == code


def test_spans_may_overlap_and_count_code_points(alice, label):
    content = texts("\u4f60\u597d\U0001f600 end")
    wish = {"kind": "spans", "text_field": "text", "labels": ["N", "M"]}
    project = make_project(alice, content, **wish)
    mine = label(alice, project)
    spans = [{"start": 2, "end": 7, "label": "M"}, {"start": 0, "end": 3, "label": "N"}]
    mine.send(mine.next(), "tagged", spans=[*spans, spans[0]])
    assert mine.get("rows/0/")["work"]["spans"] == [spans[1], spans[0]]
    answer = mine.client.get(f"{mine.url}export/spans/")
    row = json.loads(_read(answer))
    assert [span["text"] for span in row["spans"]] == ["\u4f60\u597d\U0001f600", "\U0001f600 end"]


def test_the_owner_settles_what_annotators_disagree_on(alice, bob, label):
    project = make_project(alice, talks(3), people=[bob], num_annotators=2)
    label(alice, project).say("accept", "accept", "accept")
    label(bob, project).say("accept", "reject", "accept")
    owner = label(alice, project)
    (dispute,) = owner.get("disputes/")["results"]
    assert dispute["row"] == 1
    assert [said["verdict"] for said in dispute["answers"]] == ["accept", "reject"]
    url = f"{owner.url}rows/1/decision/"
    assert owner.client.put(url, {"verdict": "reject"}, format="json").status_code == 204
    assert owner.get("disputes/")["count"] == 0
    assert owner.get("disputes/?which=decided")["results"][0]["decision"]["verdict"] == "reject"
    work = owner.get("rows/1/")["work"]
    assert owner.send(work, "reject", status=409)["code"] == "row_decided"
    assert owner.client.delete(url).status_code == 204
    assert owner.get("disputes/")["count"] == 1


def test_figures_say_how_each_annotator_does(alice, bob, label):
    project = make_project(alice, talks(4), people=[bob], num_annotators=2)
    label(alice, project).say("accept", "accept", "reject", "reject")
    label(bob, project).say("accept", "reject", "reject", "reject")
    figures = label(alice, project).get("figures/")
    assert figures["percent_agreement"] == pytest.approx(0.75)
    assert figures["kappa"] == pytest.approx(0.5)
    assert figures["alpha"] == pytest.approx(1 - 7 * 2 / 30)
    assert [(p["username"], p["num_done"]) for p in figures["people"]] == [("alice", 4), ("bob", 4)]
    assert figures["pairs"][0]["num_rows"] == 4


def test_lists_ask_the_database_a_fixed_number_of_times(api, alice, bob, label):
    client = api(alice)
    make_project(alice, talks(3), people=[bob], num_annotators=2)

    def count(path: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(path).status_code == 200
        return len(asked)

    few = count(URL)
    project = make_project(alice, talks(5), people=[bob], num_annotators=2, repo="more")
    make_project(alice, talks(3), repo="most")
    assert count(URL) == few
    url = f"{URL}{project.pk}/disputes/"
    label(alice, project).say("accept")
    label(bob, project).say("reject")
    few = count(url)
    label(alice, project).say("accept", "accept", "accept")
    label(bob, project).say("reject", "reject", "reject")
    assert count(url) == few
    assert client.get(url).json()["count"] == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"verdict": "accept"},
        {"verdict": "first", "revision": 0},
        {"verdict": "edit", "revision": 0},
        {"verdict": "edit", "revision": 0, "messages": "x"},
        {"verdict": "edit", "revision": 0, "messages": [{"role": "user"}]},
        {"verdict": "accept", "revision": -1},
        {"verdict": "accept", "revision": 2**70},
        {"verdict": "accept", "revision": 0, "reason": "x" * 5000},
        {"verdict": ["accept"], "revision": 0},
        [],
        "accept",
    ],
)
def test_a_hostile_answer_is_refused_and_changes_nothing(alice, project, label, body):
    mine = label(alice, project)
    mine.next()
    answer = mine.client.put(f"{mine.url}rows/0/", body, format="json")
    assert answer.status_code == 400 and answer.json()["message"]
    project.refresh_from_db()
    assert project.num_answers == 0


def test_a_row_that_was_not_handed_out_cannot_be_answered(alice, project, label):
    mine = label(alice, project)
    for row in (3, 10**6, 2**62, 2**80):
        assert mine.client.get(f"{mine.url}rows/{row}/").status_code == 404
        assert mine.client.get(f"{mine.url}rows/{10**6 + row}/decision/").status_code == 404
        assert mine.client.post(f"{mine.url}rows/{row}/skip/").status_code == 404
        decision = {"verdict": "accept"}
        url = f"{mine.url}rows/{row}/decision/"
        assert mine.client.put(url, decision, format="json").status_code == 404
        answer = mine.client.put(
            f"{mine.url}rows/{row}/", {"verdict": "accept", "revision": 0}, format="json"
        )
        assert answer.status_code == 404


def test_a_bad_row_is_shown_as_written_and_can_be_rejected_or_mended(alice, label):
    project = make_project(alice, make_row().encode() + b"\n{broken\n")
    mine = label(alice, project)
    mine.say("accept")
    work = mine.next()
    assert work["raw"] == "{broken" and work["problems"][0]["code"] == "not_json"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    mine.send(work, "edit", messages=turns)
    answer = mine.client.get(f"{mine.url}export/sft/")
    assert [json.loads(line) for line in _read(answer).splitlines()][1] == {"messages": turns}


def test_an_edit_keeps_what_it_does_not_touch(alice, label):
    turns = [
        {"role": "user", "content": "q", "name": "ann"},
        {"role": "assistant", "content": "a", "loss_weight": 0.5},
    ]
    row = {"id": 3, "messages": turns}
    project = make_project(alice, json.dumps(row).encode() + b"\n")
    mine = label(alice, project)
    edited = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "better"}]
    mine.send(mine.next(), "edit", messages=edited)
    made = json.loads(_read(mine.client.get(f"{mine.url}export/sft/")))
    assert made == {"id": 3, "messages": [turns[0], {**turns[1], "content": "better"}]}


def test_a_row_without_two_answers_is_skipped_not_ranked(alice, label):
    content = pairs(1) + b'{"prompt": "q", "answers": ["only one"]}\n{"other": 1}\n'
    mine = label(alice, make_project(alice, content, kind="rank"))
    mine.say("tie")
    refused = mine.send(mine.next(), "first", status=400)
    assert refused["code"] == "no_two_answers"
    work = mine.post("rows/1/skip/")["work"]
    assert (work["row"], work["raw"]) == (2, '{"other": 1}')


@pytest.mark.parametrize("path", ["?dataset=%00", "members/%00/", "members/%F0%9F%98%80/"])
def test_strange_addresses_are_refused(api, alice, project, path):
    url = URL + path if path.startswith("?") else f"{URL}{project.pk}/{path}"
    answer = api(alice).delete(url) if "members" in path else api(alice).get(url)
    assert answer.status_code in {400, 404}


def test_a_closed_project_takes_no_answers(alice, project, label):
    mine = label(alice, project)
    work = mine.next()
    answer = mine.client.patch(mine.url, {"is_open": False}, format="json")
    assert answer.json()["is_open"] is False
    assert mine.send(work, "accept", status=409)["code"] == "labelling_closed"
    assert mine.post("next/", status=409)["code"] == "labelling_closed"


def test_answers_outlive_their_dataset(api, alice, project, label):
    mine = label(alice, project)
    mine.say("accept")
    assert api(alice).delete("/api/hub/repos/dataset/alice/talk/").status_code == 204
    assert mine.get()["num_answers"] == 1
    assert mine.get("figures/")["verdicts"] == {"accept": 1}
    assert mine.post("next/", status=409)["code"] == "dataset_gone"


def test_labels_may_be_added_and_none_taken_away(alice, label):
    wish = {"kind": "spans", "text_field": "text", "labels": ["N"]}
    mine = label(alice, make_project(alice, texts("some words"), **wish))
    answer = mine.client.patch(mine.url, {"labels": ["N", "M"]}, format="json")
    assert answer.json()["labels"] == ["N", "M"]
    answer = mine.client.patch(mine.url, {"labels": ["M"]}, format="json")
    assert answer.json()["code"] == "label_in_use"


def test_nobody_unknown_is_invited_and_the_owner_stays(alice, project, label):
    mine = label(alice, project)
    refused = mine.post("members/", {"username": "nobody"}, status=400)
    assert (refused["code"], refused["field"]) == ("no_such_user", "username")
    answer = mine.client.delete(f"{mine.url}members/alice/")
    assert answer.json()["code"] == "owner_stays"


def _read(answer) -> bytes:
    import asyncio

    async def read() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    assert answer.status_code == 200
    return asyncio.run(read())


def test_a_gated_dataset_is_labelled_by_who_was_let_in_alone(api, alice, bob):
    from studio.hub.models import AccessRequest, Repo
    from tests.studio.hub.made import push

    row = b'{"messages": [{"role": "user", "content": "q"}]}\n'
    push(alice, "alice/gated", {"train.jsonl": row}, visibility="public")
    repo = Repo.objects.get(name="gated")
    Repo.objects.filter(pk=repo.pk).update(gate="manual")
    wish = {"name": "mine", "dataset": "alice/gated", "kind": "review"}
    refused = api(bob).post("/api/labelling/projects/", wish, format="json")
    assert refused.status_code == 403 and refused.json()["code"] == "repo_gated"
    AccessRequest.objects.create(repo=repo, user=bob, state="accepted")
    assert api(bob).post("/api/labelling/projects/", wish, format="json").status_code == 201
