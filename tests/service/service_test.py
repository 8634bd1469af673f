#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The service from outside: the REST interface, its client, tokens and roles."""

import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import json_schema  # noqa: E402
from service_case import GENEROUS, PIPELINE, TRIGGER, ServiceCase, support  # noqa: E402

# Who may call what: by operation, the least role. Written down by hand, and compared with what the service does.
LEAST_ROLE = {
    "submitRun": "submitter", "listRuns": "reader", "getRun": "reader", "deleteRun": "submitter",
    "cancelRun": "submitter", "retryRun": "submitter", "rerunRun": "submitter", "getReport": "reader",
    "listRunEvents": "reader", "getChunks": "reader", "getLogs": "reader", "getPreview": "submitter",
    "getLineage": "reader", "getObjectLineage": "reader",
    "listPipelines": "reader", "getPipeline": "reader", "listPipelineVersions": "reader",
    "publishPipeline": "operator",
    "listTriggers": "reader", "putTrigger": "operator", "deleteTrigger": "operator", "listReceipts": "reader",
    "retryReceipts": "operator", "takeEvents": "submitter", "greetEvents": None,
    "listPools": "reader", "getCosts": "operator",
    "listDeliveries": "operator", "redeliver": "operator",
    "createToken": "operator", "listTokens": "operator", "revokeToken": "operator", "whoAmI": "reader",
    "getHealth": None, "getReadiness": None, "getMetrics": "reader", "listAudit": "admin", "backUp": "admin",
    "getOpenApi": None, "getPage": None,
    "streamEvents": "reader", "streamRunEvents": "reader", "followLogs": "reader",
}
ROLES = ["reader", "submitter", "operator", "admin"]


class Interface(ServiceCase):
    def webhook(self):
        """Of whom nobody hears."""
        (self.folder / "hook.secret").write_text("whsec_" + "A" * 43 + "=\n")
        (self.folder / "hook.secret").chmod(0o600)
        return ('[webhooks]\nallow = ["127.0.0.1:9"]\n[[webhook]]\nname = "team"\nurl = "https://127.0.0.1:9/x"\n'
                'secret_file = "hook.secret"\n')

    def test_every_operation_answers_as_described(self):
        self.configure(more=self.webhook())
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=5)
        document = self.ask("GET", "/openapi.json", token=False).json()
        self.assertEqual(document["openapi"], "3.1.0")
        self.check_the_checker(document)
        run = self.submit().json()["id"]
        self.assertEqual(self.wait_until_over(run)["state"], "finished")
        other = self.submit("absent.mp4").json()["id"]
        self.wait_until_over(other)
        token = self.ask("POST", "/v1/tokens", {"name": "x", "role": "reader"}).json()["id"]
        bodies = self.bodies()
        support.make_video(self.media / "long.mp4", frames=400, size="320x240")
        names = {"retryRun": other, "deleteRun": other}
        called = set()
        order = ["retryRun", "cancelRun", "rerunRun", "putTrigger", "takeEvents", "greetEvents", "listReceipts", "retryReceipts",
                 "deleteTrigger", "deleteRun"]
        operations = [(path, method, operation) for path, methods in document["paths"].items()
                      for method, operation in methods.items()]
        rank = {name: place for place, name in enumerate(order)}
        operations.sort(key=lambda item: rank.get(item[2]["operationId"], -1))
        for path, method, operation in operations:
            name = operation["operationId"]
            if name == "deleteRun":
                self.wait_until_over(other)
            if name == "cancelRun":
                names[name] = self.submit("long.mp4").json()["id"]
            filled = (path.replace("/v1/runs/{id}", f"/v1/runs/{names.get(name, run)}").replace("{id}", token)
                      .replace("pipelines/{name}", "pipelines/paint").replace("{name}", "mine"))
            filled = filled.replace("{delivery}", "1")
            if name == "getObjectLineage":
                filled += f"?url={self.media}/a.mp4"
            called.add(name)
            if "servers" in operation:
                self.check_stream(operation, filled)
                continue
            reply = self.ask(method.upper(), filled, bodies.get(name), headers=self.headers_of(operation))
            if name == "getPreview":
                reply = self.wait_for(lambda: (lambda r: r if r.status != 202 else None)(self.ask("GET", filled)), "a picture")
                self.assertTrue(reply.body.startswith(b"\x89PNG"))
            with self.subTest(name):
                documented = [int(code) for code in operation["responses"] if code != "default"]
                self.assertIn(reply.status, documented, reply.body)
                self.check_content(document, operation, reply)
        self.assertEqual(called, set(LEAST_ROLE))
        # Every change is written down under its operation's name. Events are hints: what they start is, as triggerRun.
        changes = {operation["operationId"] for _, method, operation in operations if method != "get"}
        self.assertEqual(changes - self.audited(), {"takeEvents", "greetEvents"})

    def audited(self):
        return {entry["action"] for entry in self.ask("GET", "/v1/audit?limit=1000").json()["entries"]}

    def test_what_webhooks_were_told_is_listed_and_told_again(self):
        self.configure(more=self.webhook())
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=5)
        run = self.submit().json()["id"]
        self.wait_until_over(run)
        tried = self.wait_for(lambda: [row for row in self.deliveries() if row["last_error"]], "an attempt")
        self.assertEqual([(row["webhook"], row["run"], row["state"]) for row in tried], [("team", run, "waiting")])
        self.assertEqual(self.deliveries("?state=delivered"), [])
        again = self.ask("POST", f"/v1/deliveries/{tried[0]['seq']}/redeliver")
        self.assertEqual((again.status, again.json()["attempts"]), (200, 0), again.body)
        self.wait_for(lambda: [row for row in self.deliveries() if row["attempts"]], "another attempt")
        self.assertEqual(self.ask("POST", "/v1/deliveries/999/redeliver").status, 404)
        self.assertIn("redeliver", self.audited())

    def deliveries(self, query=""):
        return self.ask("GET", "/v1/deliveries" + query).json()["deliveries"]

    def bodies(self):
        trigger = (f'name = "mine"\nkind = "event"\nlocation = "{self.media}/in"\npipeline = "paint"\n[parameters]\n'
                   f'input = "{{url}}"\noutput = "{self.media}/out/{{stem}}.mp4"\n')
        return {
            "submitRun": {"pipeline": "paint", "parameters": {"input": f"{self.media}/a.mp4",
                                                              "output": f"{self.media}/out/c.mp4"}},
            "publishPipeline": PIPELINE.replace("default = 20", "default = 30"), "putTrigger": trigger, "takeEvents": [],
            "createToken": {"name": "y", "role": "reader"},
        }

    @staticmethod
    def headers_of(operation):
        types = list(operation.get("requestBody", {}).get("content", {}))
        greeting = {"WebHook-Request-Origin": "events.example.com"} if operation["operationId"] == "greetEvents" else {}
        return {"Content-Type": types[0]} if types else greeting

    def check_the_checker(self, document):
        """What it must find; else it finds nothing in the answers either."""
        cost = {"busy_seconds": 1, "idle_seconds": 0, "starting_seconds": 0, "starts": 1, "cost": 0.5, "name": "local"}
        schema = {"$ref": "#/components/schemas/RunCost"}
        self.assertEqual(json_schema.problems(cost, schema, document), [])
        for wrong in ({"cost": -1}, {"cost": "1"}, {"starts": True}, {"name": None}, {"surplus": 1}):
            self.assertEqual(len(json_schema.problems({**cost, **wrong}, schema, document)), 1, wrong)
        del cost["name"]
        self.assertEqual(json_schema.problems(cost, schema, document), ["the answer: name is missing"])
        for receipt in ({"state": "lost"}, {"seen_at": 1.5}):
            page = {"receipts": [{"url": "u", "etag": "e", "seen_at": 1, "state": "seen", **receipt}]}
            self.assertEqual(len(json_schema.problems(page, {"$ref": "/ReceiptList"}, document)), 1, receipt)

    def check_content(self, document, operation, reply):
        content = operation["responses"].get(str(reply.status), {}).get("content", {})
        if not content:
            return
        (kind, described), = content.items()
        self.assertTrue(reply.headers["Content-Type"].startswith(kind), operation["operationId"])
        if "schema" in described:
            self.assertEqual(json_schema.problems(reply.json(), described["schema"], document), [], operation["operationId"])
        elif kind == "application/json":
            self.assertIn(operation["operationId"], ("getOpenApi", "takeEvents"), "its answer has no schema")

    def test_a_token_has_its_share_of_the_streams(self):
        self.limits = GENEROUS + "max_streams_per_token = 1\n"
        self.configure()
        self.assertTrue(self.start())
        host, port = self.events_address.split("//")[1].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as stream:
            stream.sendall(f"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n"
                           .encode())
            self.assertTrue(stream.recv(4096).startswith(b"HTTP/1.1 200"))
            refused = self.ask("GET", "/v1/events", address=self.events_address)
            self.assertEqual(refused.status, 429, refused.body)
            self.assertIn("Retry-After", refused.headers)

        def has_room():
            with socket.create_connection((host, int(port)), timeout=30) as again:
                again.sendall(f"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n"
                              .encode())
                return again.recv(4096).startswith(b"HTTP/1.1 200")
        self.wait_for(has_room, "the end of the first stream")

    def check_stream(self, operation, path):
        address = self.events_address.split("//")[1]
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as stream:
            stream.sendall(f"GET {path}?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
            heard = b""
            wanted = b"event: queued" if "Events" in operation["operationId"] else b"Run: "
            while wanted not in heard:
                piece = stream.recv(65536)
                self.assertTrue(piece, heard)
                heard += piece
        self.assertTrue(heard.startswith(b"HTTP/1.1 200"), heard[:200])

    def test_roles_cell_by_cell(self):
        self.assertTrue(self.start())
        tokens = {role: self.make_token(role, role) for role in ROLES}
        document = self.ask("GET", "/openapi.json", token=False).json()
        cells = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                name = operation["operationId"]
                address = self.events_address if "servers" in operation else None
                filled = path.replace("{id}", "absent").replace("{name}", "absent")
                for role in [None] + ROLES:
                    least = LEAST_ROLE[name]
                    allowed = least is None or (role is not None and ROLES.index(role) >= ROLES.index(least))
                    if allowed and name in ("streamEvents", "backUp"):
                        continue  # endless; and a file each
                    reply = self.ask(method.upper(), filled, "{}" if method in ("post", "put") else None,
                                     token=tokens[role] if role else False, address=address)
                    expected = (401,) if role is None and not allowed else (403,) if not allowed else None
                    if expected:
                        self.assertIn(reply.status, expected, (name, role, reply.body))
                    else:
                        self.assertNotIn(reply.status, (401, 403), (name, role, reply.body))
                    cells += 1
        self.assertGreater(cells, 150)

    def test_a_run_is_changed_by_its_owner_and_by_operators(self):
        self.assertTrue(self.start())
        tokens = {name: self.make_token(name, role) for name, role in
                  (("ann", "submitter"), ("bob", "submitter"), ("otto", "operator"))}
        support.make_video(self.media / "long.mp4", frames=400, size="320x240")
        first = self.submit("long.mp4").json()["id"]  # keeps the pool busy
        body = {"pipeline": "paint", "parameters": {"input": f"{self.media}/a.mp4", "output": f"{self.media}/out/a.mp4"}}
        runs = [self.ask("POST", "/v1/runs", body, token=tokens["ann"]).json()["id"] for _ in range(2)]
        self.assertEqual({self.run_of(run)["owner"] for run in runs}, {"ann"})

        def change(who, run):
            """All that can be done to a run that waits; what came of each."""
            calls = (("POST", f"/v1/runs/{run}/cancel"), ("POST", f"/v1/runs/{run}/retry"),
                     ("POST", f"/v1/runs/{run}/cancel"), ("DELETE", f"/v1/runs/{run}"))
            return [self.ask(method, path, token=tokens[who]).status for method, path in calls]

        for run, may in zip(runs, ("ann", "otto")):
            self.assertEqual(change("bob", run), [403] * 4)
            self.assertEqual(self.run_of(run)["state"], "queued")
            self.assertEqual(change(may, run), [200, 200, 200, 204], may)
            self.assertEqual(self.ask("GET", f"/v1/runs/{run}").status, 404)
        self.assertNotIn("bob", {entry["who"] for entry in self.ask("GET", "/v1/audit?limit=1000").json()["entries"]})
        self.assertEqual(self.ask("POST", f"/v1/runs/{first}/cancel").status, 200)

    def test_scopes_of_tokens(self):
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=5)
        (self.media / "mine").mkdir()
        narrow = self.make_token("ann", "submitter", prefixes=[str(self.media / "mine")])
        body = {"pipeline": "paint", "parameters": {"input": f"{self.media}/a.mp4", "output": f"{self.media}/mine/a.mp4"}}
        refused = self.ask("POST", "/v1/runs", body, token=narrow)
        self.assertEqual(refused.status, 400, refused.body)
        shutil.copy(self.media / "a.mp4", self.media / "mine" / "in.mp4")
        body["parameters"]["input"] = f"{self.media}/mine/in.mp4"
        self.assertEqual(self.ask("POST", "/v1/runs", body, token=narrow).status, 201)
        for outside in ("/etc/passwd", f"{self.media}/mine/../a.mp4", f"{self.folder}/ops/x", f"{self.folder}/data/atelier.db",
                        "http://169.254.169.254/latest", "az://other/container/a.mp4"):
            body["parameters"]["input"] = outside
            self.assertEqual(self.ask("POST", "/v1/runs", body).status, 400, outside)
        elsewhere = self.make_token("bob", "reader", pipelines=["other"])
        self.assertEqual(self.ask("GET", "/v1/runs", token=elsewhere).json()["runs"], [])
        self.assertEqual(self.ask("GET", "/v1/pipelines/paint", token=elsewhere).status, 404)

    def test_who_has_scopes_makes_no_triggers_and_sees_none_of_others(self):
        self.configure(more=TRIGGER.format(media=self.media))
        self.assertTrue(self.start())
        narrow = self.make_token("otto", "operator", pipelines=["other"], prefixes=[str(self.media / "in")])
        text = (f'name = "mine"\nkind = "poll"\nlocation = "{self.media}/in"\npipeline = "other"\n[parameters]\n'
                f'input = "{{url}}"\n')
        self.assertEqual(self.ask("PUT", "/v1/triggers/mine", text, token=narrow).status, 403)
        self.assertEqual(self.ask("DELETE", "/v1/triggers/incoming", token=narrow).status, 403)
        self.assertEqual(self.ask("POST", "/v1/triggers/incoming/receipts/retry", token=narrow).status, 403)
        other = PIPELINE.replace('"paint"', '"other"')
        self.assertEqual(self.ask("PUT", "/v1/pipelines/other", other, token=narrow).status, 403)
        self.assertEqual(self.ask("GET", "/v1/triggers", token=narrow).json()["triggers"], [])
        self.assertEqual(self.ask("GET", "/v1/triggers/incoming/receipts", token=narrow).status, 404)
        self.assertEqual(self.ask("POST", "/v1/triggers/incoming/events", [], token=narrow).status, 404)
        # What is configured is not changed by anybody.
        self.assertEqual(self.ask("PUT", "/v1/triggers/incoming", text.replace("mine", "incoming")).status, 409)

    def test_a_revoked_token_hears_nothing_more(self):
        self.assertTrue(self.start())
        made = self.ask("POST", "/v1/tokens", {"name": "x", "role": "reader"}).json()
        host, port = self.events_address.split("//")[1].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=60) as stream:
            stream.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {made['token']}\r\n\r\n".encode())
            self.assertTrue(stream.recv(100).startswith(b"HTTP/1.1 200"))
            self.assertEqual(self.ask("DELETE", f"/v1/tokens/{made['id']}").status, 204)
            while stream.recv(65536):
                pass  # until the service ends it

    def test_a_name_that_pretends_to_be_a_line_is_not_believed(self):
        self.assertTrue(self.start())
        name = f"b\nRun: file:{self.folder}/ops/forged00aa\n.mp4"
        support.make_video(self.media / "plain.mp4", frames=5)
        (self.media / name).parent.mkdir(parents=True)  # it has slashes
        os.rename(self.media / "plain.mp4", self.media / name)
        body = {"pipeline": "paint", "parameters": {"input": "file://" + urllib.parse.quote(f"{self.media}/{name}"),
                                                    "output": f"{self.media}/out/a.mp4"}}
        reply = self.ask("POST", "/v1/runs", body)
        self.assertEqual(reply.status, 201, reply.body)
        run = self.wait_until_over(reply.json()["id"])
        self.assertNotIn("forged", json.dumps(run["runs"]))

    def test_a_run_is_cancelled_retried_and_repeated(self):
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=400, size="320x240")
        first = self.submit().json()["id"]
        self.wait_for(lambda: self.run_of(first)["runs"], "a run folder")
        self.assertEqual(self.ask("POST", f"/v1/runs/{first}/cancel").status, 200)
        self.assertEqual(self.wait_until_over(first)["state"], "cancelled")
        self.assertFalse((self.media / "out" / "a.mp4").exists())
        self.assertEqual(self.ask("POST", f"/v1/runs/{first}/retry").status, 200)
        self.assertEqual(self.wait_until_over(first)["state"], "finished")
        digest = support.sha256(self.media / "out" / "a.mp4")
        # The very same again, by another run.
        again = self.ask("POST", f"/v1/runs/{first}/rerun").json()["id"]
        run = self.wait_until_over(again)
        self.assertEqual((run["state"], run["rerun_of"]), ("finished", first))
        self.assertEqual(support.sha256(self.media / "out" / "a.mp4"), digest)
        # Not what it was: nothing is replaced, unless that is wanted.
        support.make_video(self.media / "a.mp4", frames=10, size="320x240")
        changed = self.wait_until_over(self.ask("POST", f"/v1/runs/{first}/rerun").json()["id"])
        self.assertEqual(changed["state"], "set_aside", changed)
        self.assertIn("cannot be repeated exactly", changed["reason"])
        self.assertEqual(support.sha256(self.media / "out" / "a.mp4"), digest)
        taken = self.ask("POST", f"/v1/runs/{first}/rerun?exact=false").json()["id"]
        self.assertEqual(self.wait_until_over(taken)["state"], "finished")
        self.assertEqual(support.frame_count(self.media / "out" / "a.mp4"), 10)
        self.assertEqual(self.ask("POST", f"/v1/runs/{first}/rerun?exact=perhaps").status, 400)
        for place in (f"input={self.media}/a.mp4", f"output={self.media}/out/a.mp4"):
            found = [one["id"] for one in self.ask("GET", f"/v1/runs?{place}").json()["runs"]]
            self.assertEqual(found, [taken, changed["id"], again, first])
        self.assertEqual(self.ask("GET", f"/v1/runs?input={self.media}/b.mp4").json()["runs"], [])
        # Without being asked to, nothing is replaced.
        third = self.wait_until_over(self.submit().json()["id"])
        self.assertEqual(third["state"], "failed")
        self.assertIn("exists", third["reason"])

    def test_a_service_that_is_killed_goes_on(self):
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=300, size="320x240")
        run = self.submit().json()["id"]
        self.wait_for(lambda: self.run_of(run)["runs"], "a run folder")
        self.stop(signal.SIGKILL)
        self.assertTrue(self.start())
        self.assertEqual(self.wait_until_over(run)["state"], "finished")
        self.assertEqual(support.frame_count(self.media / "out" / "a.mp4"), 300)

    def test_a_process_keeps_its_model_for_the_next_run(self):
        """Of the same owner; the bits are those of a fresh one."""
        self.configure(pools="""
[[pool]]
name = "local"
max = 1
workers = 1
min = 1
idle_timeout = "1s"
""")
        self.assertTrue(self.start())
        waiting = self.wait_for(self.processes, "the process that never goes")
        self.assertEqual(self.scorers(waiting), [])
        support.make_video(self.media / "a.mp4", frames=20)
        support.make_video(self.media / "b.mp4", frames=20, size="96x64")
        scorers = set()
        for number, name in enumerate(("a", "b", "a")):
            run = self.wait_until_over(self.submit(f"{name}.mp4", f"{number}.mp4").json()["id"])
            self.assertEqual(run["state"], "finished", run["reason"])
            self.assertEqual(self.processes(), waiting)
            scorers.update(self.scorers(waiting))
            self.assertEqual(len(scorers), 1)
        # Another owner's run gets a process that had no run before, and this one gives way.
        token = self.make_token("guest", "submitter")
        body = {"pipeline": "paint",
                "parameters": {"input": f"{self.media}/b.mp4", "output": f"{self.media}/out/4.mp4"}}
        guest = self.ask("POST", "/v1/runs", body, token=token).json()["id"]
        self.assertEqual(self.wait_until_over(guest)["state"], "finished")
        self.wait_for(lambda: waiting[0] not in self.processes(), "the end of the first owner's")
        # What idles for a second goes, but for the one.
        self.wait_for(lambda: len(self.processes()) == 1, "one process alone")
        for number, name in enumerate(("a", "b")):
            alone = self.folder / f"alone-{name}.mp4"
            # As the pipeline has it.
            done = support.run("run", "--runs", self.folder / "alone", "--model", "starry-night", "--precision", "f32",
                               "--crf", "20", "--", self.media / f"{name}.mp4", alone, env=self.environment())
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(support.sha256(self.media / "out" / f"{number}.mp4"), support.sha256(alone))

    def processes(self):
        """Those that the service has for runs."""
        return support.children_of(self.process.pid)

    def scorers(self, processes):
        return [scorer for process in processes for scorer in support.children_of(process)]

    def test_without_an_idle_timeout_nothing_stays(self):
        self.configure(pools='[[pool]]\nname = "local"\nidle_timeout = "0s"\n')
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=5)
        self.assertEqual(self.wait_until_over(self.submit().json()["id"])["state"], "finished")
        self.wait_for(lambda: not self.processes(), "the end of its process")

    def test_a_trigger_of_a_pipeline_that_is_not_there(self):
        self.assertTrue(self.start())
        text = (f'name = "mine"\nkind = "poll"\nlocation = "{self.media}/in"\npipeline = "nope"\n[parameters]\n'
                f'input = "{{url}}"\n')
        reply = self.ask("PUT", "/v1/triggers/mine", text)
        self.assertEqual(reply.status, 400)
        self.assertIn("'nope', which is not published", reply.json()["detail"])

    def test_a_request_with_a_key_starts_one_run(self):
        self.assertTrue(self.start())
        body = {"pipeline": "paint", "parameters": {"input": f"{self.media}/a.mp4", "output": f"{self.media}/out/a.mp4"}}
        first = self.ask("POST", "/v1/runs", body, headers={"Idempotency-Key": "k"})
        again = self.ask("POST", "/v1/runs", body, headers={"Idempotency-Key": "k"})
        self.assertEqual((first.status, again.status), (201, 200))
        self.assertEqual(first.json()["id"], again.json()["id"])
        body["parameters"]["crf"] = 30
        self.assertEqual(self.ask("POST", "/v1/runs", body, headers={"Idempotency-Key": "k"}).status, 409)

    def test_steps_follow_one_another(self):
        (self.folder / "paint.toml").write_text(PIPELINE.replace('[[steps]]\nkind = "finish"',
                                                                 '[[steps]]\nkind = "score"\nmodel = "starry-night"\n'
                                                                 'precision = "f32"\n[[steps]]\nkind = "finish"'))
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=10)
        run = self.wait_until_over(self.submit().json()["id"])
        self.assertEqual(run["state"], "finished", run["reason"])
        self.assertEqual(len(run["runs"]), 2)
        self.assertEqual(support.frame_count(self.media / "out" / "a.mp4"), 10)
        self.assertEqual(list((self.folder / "ops").glob("between*")), [])

    def test_what_is_wrong_is_told_in_a_sentence(self):
        self.assertTrue(self.start())
        for body, words in ((b"{", "JSON object"), (b"[]", "JSON object"), (b'{"pipeline":"nope"}', "no pipeline 'nope'"),
                            (b'{"pipeline":"paint"}', "input"), (b'{"pipeline":"paint","x":1}', "no 'x'"),
                            (b"\xff\xfe", "JSON object"), (b"[" * 100000, "JSON object")):
            reply = self.ask("POST", "/v1/runs", body, headers={"Content-Type": "application/json"})
            self.assertEqual(reply.status, 400, body[:40])
            self.assertEqual(reply.headers["Content-Type"], "application/problem+json")
            self.assertIn(words, reply.json()["detail"])
        self.assertEqual(self.ask("GET", "/v1/nothing").status, 404)
        self.assertEqual(self.ask("PATCH", "/v1/runs").status, 405)

    def test_bounds_of_an_owner(self):
        self.limits += "max_pixels = 100\n"
        self.configure()
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=5)
        run = self.wait_until_over(self.submit().json()["id"])
        self.assertEqual(run["state"], "set_aside")
        self.assertIn("--max-pixels", run["reason"])


class Client(ServiceCase):
    def test_the_commands(self):
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=10)
        done = self.client("submit", "paint", "-s", f"input={self.media}/a.mp4", "-s", f"output={self.media}/out/a.mp4",
                           "-s", "crf=30", "--label", "film=one", "--wait", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        run = json.loads(done.stdout)
        self.assertEqual((run["state"], run["parameters"]["crf"], run["labels"]), ("finished", 30, {"film": "one"}))
        self.assertIn(run["id"], self.client("list", "--label", "film=one").stdout)
        self.assertNotIn(run["id"], self.client("list", "--label", "film=two").stdout)
        listed = self.client("list", "--state", "finished")
        self.assertIn(run["id"], listed.stdout)
        shown = self.client("show", run["id"])
        self.assertIn("1 of 1 chunks done", shown.stdout)
        shown = self.client("show", f"{self.address}/v1/runs/{run['id']}", "--json")
        self.assertEqual(json.loads(shown.stdout)["state"], "finished")
        logs = self.client("logs", run["id"], "--follow")
        self.assertIn("Painted 10 frames", logs.stdout)
        self.assertNotIn("\n\n", logs.stdout)
        worker = self.ask("GET", f"/v1/runs/{run['id']}/chunks").json()["steps"][0]["workers"][0]["worker"]
        of_worker = self.client("logs", run["id"], "--worker", worker)
        self.assertNotIn("Painted 10 frames", of_worker.stdout)
        self.assertEqual(self.client("logs", run["id"], "--worker", worker, "--follow").stdout, of_worker.stdout)
        in_clear = support.run("list", env={**self.environment(), "ATELIER_SERVICE": "http://atelier.example.com",
                                            "ATELIER_TOKEN": self.token})
        self.assertEqual(in_clear.returncode, 2)
        self.assertIn("in clear", in_clear.stderr)
        past_it = support.run("list", env={**self.environment(), "ATELIER_SERVICE": self.address, "ATELIER_TOKEN": self.token,
                                           "http_proxy": "http://127.0.0.1:1", "no_proxy": ""})
        self.assertEqual(past_it.returncode, 0, past_it.stderr)
        again = self.client("rerun", run["id"], "--json")
        other = json.loads(again.stdout)["runs"][0]["id"]
        self.wait_until_over(other)
        page = json.loads(self.client("list", "--limit", "1", "--json").stdout)
        self.assertEqual([one["id"] for one in page["runs"]], [other])
        older = json.loads(self.client("list", "--before", str(page["next"]), "--json").stdout)["runs"]
        self.assertIn(run["id"], [one["id"] for one in older])
        self.assertNotIn(other, [one["id"] for one in older])
        self.assertIn(f"--before {page['next']}.", self.client("list", "--limit", "1").stdout)
        self.assertEqual(json.loads(self.client("list", "--until", "2020-01-01T00:00:00Z", "--json").stdout)["runs"], [])
        since = json.loads(self.client("list", "--since", older[0]["created_at"], "--json").stdout)["runs"]
        self.assertLessEqual({other, older[0]["id"]}, {one["id"] for one in since})
        refused = self.client("cancel", other)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("is over", refused.stderr)
        costs = json.loads(self.client("costs", "--json").stdout)["pools"][0]
        self.assertGreater(costs["as_configured"]["busy_seconds"], 0)
        # A start of an hour costs more than any gap between these runs: kept on is the cheapest.
        self.assertEqual(costs["as_configured"]["starting_seconds"], 3600)
        self.assertGreater(costs["cheapest"]["idle_timeout"], 0)
        # Each run's report has what it is to blame for: the first its node's start, both together all there is.
        shares = [self.ask("GET", f"/v1/runs/{one}/report").json()["pool"] for one in (run["id"], other)]
        self.assertEqual([share["starting_seconds"] for share in shares], [3600, 0])
        self.assertAlmostEqual(sum(share["busy_seconds"] for share in shares), costs["as_configured"]["busy_seconds"])
        self.assertTrue(all(share["busy_seconds"] > 0 and share["idle_seconds"] > 0 for share in shares))
        backup = pathlib.Path(self.client("backup").stdout.strip())
        self.assertTrue(backup.read_bytes().startswith(b"SQLite format 3"))
        self.assertEqual(backup.stat().st_mode & 0o077, 0)

    def test_tokens_are_made_listed_and_revoked(self):
        self.assertTrue(self.start())
        made = self.client("token", "create", "ann", "--role", "reader", "--json")
        token = json.loads(made.stdout)
        self.assertEqual(self.client("list", token=token["token"]).returncode, 0)
        self.assertNotIn(token["token"], self.client("token", "list").stdout)
        self.assertIn(token["id"], self.client("token", "list").stdout)
        self.assertEqual(self.client("token", "revoke", token["id"]).returncode, 0)
        refused = self.client("list", token=token["token"])
        self.assertEqual(refused.returncode, 2)
        self.assertIn("revoked", refused.stderr)
        for name in (self.folder / "data").rglob("*"):
            if name.is_file() and name.name != "admin.token":
                self.assertNotIn(token["token"].encode(), name.read_bytes(), name)

    def test_publishing_and_versions(self):
        self.assertTrue(self.start())
        text = PIPELINE.replace("default = 20", "default = 30")
        (self.folder / "next.toml").write_text(text)
        self.assertIn("version 2", self.client("publish", str(self.folder / "next.toml")).stdout)
        self.assertIn("version 2", self.client("publish", str(self.folder / "next.toml")).stdout)
        (self.folder / "bad.toml").write_text(text + "\nnonsense = 1\n")
        bad = self.client("publish", str(self.folder / "bad.toml"))
        self.assertEqual(bad.returncode, 2)
        self.assertIn("nonsense", bad.stderr)
        self.assertEqual(self.ask("GET", "/v1/pipelines/paint?version=1").json()["parameters"]["crf"]["default"], "20")

    def test_no_service_is_one_sentence(self):
        self.address = "http://127.0.0.1:1"
        self.token = "atl_x"
        done = self.client("list")
        self.assertEqual(done.returncode, 4)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)


class Starting(ServiceCase):
    def serve(self):
        return support.run("serve", "--config", str(self.folder / "atelier.toml"), env=self.environment())

    def test_bad_configurations_are_one_sentence(self):
        good = (self.folder / "atelier.toml").read_text()
        for text, words in ((good + "\nnonsense = 1\n", "nonsense"), ("listen = 1\n", "listen"), ("[[[", "line"),
                            (good.replace("127.0.0.1:0", "0.0.0.0:0", 1), "in clear"),
                            (good.replace(f"{self.folder}/ops", f"{self.media}/ops"), "media")):
            (self.folder / "atelier.toml").write_text(text)
            done = self.serve()
            self.assertEqual(done.returncode, 2, (text[:60], done.stderr))
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertIn(words, done.stderr)

    def test_one_service_has_a_folder(self):
        self.assertTrue(self.start())
        done = self.serve()
        self.assertEqual(done.returncode, 4)
        self.assertIn("Another service", done.stderr)

    def test_it_stops_when_asked(self):
        self.assertTrue(self.start())
        self.assertEqual(self.stop(), 0)


if __name__ == "__main__":
    support.main()
