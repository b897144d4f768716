# SPDX-License-Identifier: Apache-2.0
"""Lets a real Label Studio work with the labelling projects of a running `millrace up`.

Each project's configuration and tasks go in as Millrace exports them, the project is
connected as ML backend, its predictions are fetched, tasks are annotated, corrected,
skipped and taken back over Label Studio's API, and what Millrace holds then is compared
with what was said. Label Studio's own exports are left in OUT, for an import elsewhere.
"""
import base64, json, os, time, urllib.error, urllib.request

STUDIO, MILLRACE, OUT = os.environ["STUDIO_URL"], os.environ["MILLRACE_URL"], os.environ["OUT"]
OPERATOR, LABELLER = os.environ["MILLRACE_OPERATOR"], os.environ["MILLRACE_LABELLER"]
SECONDS = 60  # that a webhook may take
STARTS = 240  # seconds that Label Studio may take to start


def call(method, url, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
    except urllib.error.HTTPError as e:
        raise SystemExit(f"{method} {url}: {e.code} {e.read()[:2000]!r}\nfor {json.dumps(body)[:600]}")
    try:
        return json.loads(text)
    except ValueError:
        return text.decode()


def studio(method, path, body=None):
    return call(method, STUDIO + path, body, {"Authorization": "Token " + os.environ["STUDIO_TOKEN"]})


def millrace(method, path, body=None):
    return call(method, MILLRACE + "/v1/labeling/projects/" + path, body, {"Authorization": "Bearer " + OPERATOR})


def same(what, got, want):
    if got != want:
        raise SystemExit(f"{what}:\n got {json.dumps(got, sort_keys=True)}\nwant {json.dumps(want, sort_keys=True)}")


def result(name, value, text):
    """A value as Label Studio's front end writes it."""
    base = {"from_name": "label", "to_name": "item"}
    if name in ("review", "tags"):
        return [{**base, "id": "a", "type": "choices", "value": {"choices": value["choices"]}}] if value["choices"] else []
    if name in ("amount", "free"):
        return [{**base, "id": "a", "type": "number", "value": {"number": value["number"]}}]
    units = lambda n: len(text[:n].encode("utf-16-le")) // 2  # the front end counts UTF-16 units
    return [{**base, "id": f"s{i}", "type": "labels", "value": {"start": units(s["start"]), "end": units(s["end"]),
             "text": text[s["start"]:s["end"]], "labels": [s["label"]]}} for i, s in enumerate(value["spans"])]


VALUES = {
    "review": [{"choices": ["fraud"]}, {"choices": ["genuine"]}],
    "tags": [{"choices": ["urgent", "it's \"odd\""]}, {"choices": ["genuine & <b>"]}],
    "amount": [{"number": 1000.5}, {"number": -5}],
    "free": [{"number": 0}, {"number": -2.25}],
    "parts": [{"spans": [{"start": 2, "end": 5, "label": "person"}, {"start": 9, "end": 13, "label": "place"}]},
              {"spans": [{"start": 2, "end": 5, "label": "place"}]}],
}


def held(name):
    """What Millrace holds: status, and kind and value of what each person said, by task."""
    return {t["id"]: (t["status"], sorted((a["annotator"], a["kind"], json.dumps(a.get("value") or {}, sort_keys=True)) for a in t.get("annotations", [])))
            for t in millrace("GET", name + "/tasks?limit=1000")["tasks"]}


def until(name, task, want):
    end = time.monotonic() + SECONDS
    while held(name)[task] != want:
        if time.monotonic() > end:
            same(f"{name}: task {task} after the webhook", held(name)[task], want)
        time.sleep(0.1)


def said(name, value):
    return ("ls-1", "annotation", json.dumps(value, sort_keys=True))


def connect(name):
    """A project of Label Studio with the tasks, the backend and the webhook."""
    xml = millrace("GET", name + "/labelstudio.xml")
    project = studio("POST", "/api/projects", {"title": name, "label_config": xml})["id"]
    backend = f"{MILLRACE}/labelstudio/{name}"
    studio("POST", "/api/webhooks/", {"project": project, "url": backend + "/webhook", "headers": {"Authorization": "Bearer " + OPERATOR}})
    tasks = millrace("GET", name + "/export?format=labelstudio")
    answer = studio("POST", f"/api/projects/{project}/import", tasks)
    same(f"{name}: tasks that were imported", answer["task_count"], len(tasks))
    ml = studio("POST", "/api/ml", {"url": backend, "project": project, "title": "millrace", "auth_method": "BASIC_AUTH", "basic_auth_user": "millrace", "basic_auth_pass": LABELLER})
    same(f"{name}: webhooks", len(studio("GET", f"/api/webhooks/?project={project}")), 1)
    return project, ml["id"], {t["meta"]["millrace_id"]: t for t in tasks}


def predictions(name, project, ml, tasks):
    """The tasks as Label Studio has them, after it asked the backend for predictions."""
    studio("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", {"selectedItems": {"all": True, "excluded": []}})
    state = studio("GET", f"/api/ml/{ml}")
    same(f"{name}: state of the backend", (state["state"], state["error_message"]), ("CO", None))
    same(f"{name}: versions", studio("GET", f"/api/ml/{ml}/versions")["versions"], [state["model_version"]])
    shown = {}
    for t in studio("GET", f"/api/tasks?project={project}&fields=all&page_size=100")["tasks"]:
        full = studio("GET", f"/api/tasks/{t['id']}")
        id = full["meta"]["millrace_id"]
        shown[id] = full
        same(f"{name}: data of {id}", full["data"], tasks[id]["data"])
        # A guess that came with the task and is asked for again is there twice.
        brief = lambda all: sorted({json.dumps([p["model_version"], [r["value"] for r in p["result"]]], sort_keys=True) for p in all if p["result"]})
        got = brief(full["predictions"])
        same(f"{name}: predictions of {id}", got, brief(tasks[id]["predictions"]))
        if name in ("review", "parts") and not got:
            raise SystemExit(f"{name}: {id} has no prediction")
    same(f"{name}: tasks", sorted(shown), sorted(tasks))
    return shown


def annotate(name, shown):
    ids = sorted(shown)
    first, second = VALUES[name]
    number = {id: shown[id]["id"] for id in ids}
    make = lambda id, value, **more: studio("POST", f"/api/tasks/{number[id]}/annotations/", {"result": result(name, value, shown[id]["data"].get("note", "")), "lead_time": 3.5, **more})["id"]
    done = "open" if name == "tags" else "done"
    a = make(ids[0], first)
    until(name, ids[0], (done, [said(name, first)]))
    studio("PATCH", f"/api/annotations/{a}/", {"result": result(name, second, shown[ids[0]]["data"].get("note", ""))})
    until(name, ids[0], (done, [said(name, second)]))
    b = make(ids[1], first)
    until(name, ids[1], (done, [said(name, first)]))
    studio("DELETE", f"/api/annotations/{b}/")
    until(name, ids[1], ("open", []))
    make(ids[1], second)
    until(name, ids[1], (done, [said(name, second)]))
    studio("POST", f"/api/tasks/{number[ids[2]]}/annotations/?was_cancelled=1", {"result": [], "was_cancelled": True})
    until(name, ids[2], ("open", [("ls-1", "skip", "{}")]))
    c = make(ids[3], first)
    studio("PATCH", f"/api/annotations/{c}/", {"ground_truth": True})
    until(name, ids[3], (done, [said(name, first)]))
    return ids


def back(name):
    """All that Millrace has of a project, annotations too, is taken by a project of its own."""
    xml = millrace("GET", name + "/labelstudio.xml")
    project = studio("POST", "/api/projects", {"title": name + " again", "label_config": xml})["id"]
    tasks = millrace("GET", name + "/export?format=labelstudio")
    answer = studio("POST", f"/api/projects/{project}/import", tasks)
    same(f"{name}: what came back", (answer["task_count"], answer["annotation_count"]), (len(tasks), sum(len(t["annotations"]) for t in tasks)))


def started():
    end = time.monotonic() + STARTS
    while True:
        try:
            return urllib.request.urlopen(STUDIO + "/health").close()
        except OSError as e:
            if time.monotonic() > end:
                raise SystemExit(f"Label Studio does not answer: {e}")
        time.sleep(0.5)


def main():
    started()
    for name in VALUES:
        project, ml, tasks = connect(name)
        shown = predictions(name, project, ml, tasks)
        studio("POST", f"/api/ml/{ml}/train", {})
        same(f"{name}: after training was asked for", studio("GET", f"/api/ml/{ml}")["error_message"], None)
        annotate(name, shown)
        with open(os.path.join(OUT, name + ".json"), "w") as f:
            json.dump(studio("GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"), f)
        back(name)
        print(name, len(tasks), "tasks")
    # Annotations that are made of predictions come as a list.
    project, ml, tasks = connect("parts")
    before = held("parts")
    ids = [t["id"] for t in studio("GET", f"/api/tasks?project={project}&fields=all&page_size=100")["tasks"] if studio("GET", f"/api/tasks/{t['id']}")["meta"]["millrace_id"].endswith("-4")]
    studio("POST", f"/api/dm/actions?id=predictions_to_annotations&project={project}", {"selectedItems": {"all": False, "included": ids}})
    until("parts", "parts-4", ("done", [said("parts", {"spans": [{"start": 2, "end": 5, "label": "person"}]})]))
    same("parts: what others have", {k: v for k, v in held("parts").items() if k != "parts-4"}, {k: v for k, v in before.items() if k != "parts-4"})


main()
