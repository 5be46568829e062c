"""Conversations at the API, without any model."""

URL = "/api/playground/conversations/"


def test_a_conversation_is_made_renamed_listed_and_deleted(api, alice):
    client = api(alice)
    made = client.post(URL, {"title": "Furnaces", "settings": {"seed": 5}}, format="json").json()
    assert made["messages"] == [] and made["settings"]["seed"] == 5
    assert made["settings"]["max_tokens"] == 512
    one = f"{URL}{made['id']}/"
    assert client.patch(one, {"title": "Kilns"}, format="json").json()["title"] == "Kilns"
    for change in ({"system": "Be brief."}, {"temperature": 0.1}):
        settings = client.patch(one, {"settings": change}, format="json").json()["settings"]
    assert (settings["system"], settings["temperature"]) == ("Be brief.", 0.1)
    page = client.get(URL).json()
    assert [head["title"] for head in page["results"]] == ["Kilns"]
    assert "messages" not in page["results"][0]
    assert client.delete(one).status_code == 204
    assert client.get(one).status_code == 404


def test_a_stranger_cannot_learn_that_a_conversation_exists(api, alice, carol):
    made = api(alice).post(URL, {}, format="json").json()
    one = f"{URL}{made['id']}/"
    assert api(carol).get(one).status_code == 404
    assert api(carol).patch(one, {"title": "x"}, format="json").status_code == 404
    assert api(carol).delete(one).status_code == 404
    assert api(alice).get(one).status_code == 200


def test_an_operator_reads_nobodys_conversations(api, alice, olga):
    made = api(alice).post(URL, {}, format="json").json()
    assert api(olga).get(f"{URL}{made['id']}/").status_code == 404


def test_nobody_has_no_conversations(api, db):
    assert api().get(URL).status_code == 401
    assert api().get("/api/playground/models/").status_code == 401
