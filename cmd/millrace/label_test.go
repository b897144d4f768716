// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// labelProject writes the project of init with a labelling file, whose selections are by
// hand, on a loopback address.
func labelProject(t *testing.T, more string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "orders")
	if status, out, stderr := runCommand(t, "", "init", dir); status != exitOK {
		t.Fatalf("init: %s%s", out, stderr)
	}
	file := filepath.Join(dir, projectFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	labels := "labels:\n  fraud: {decision: order, kind: label, name: is_fraud, type: bool, window: 7d}\n"
	for name, content := range map[string]string{
		projectFile:     string(text) + "\nfeedback: [feedback.yaml]\nlabeling: [labeling.yaml]\n" + more,
		"feedback.yaml": labels, "labeling.yaml": strings.Replace(labelingText, "every: 1d, ", "", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	slowMachine(t, filepath.Join(dir, "decisions.yaml"))
	return dir
}

// labelCaller calls the interface of a server.
type labelCaller struct {
	t     *testing.T
	base  string
	token string
}

// call answers the status and the answer.
func (c *labelCaller) call(method, path, body string, into any) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			c.t.Fatalf("%s %s: %s: %v", method, path, text, err)
		}
	}
	return resp.StatusCode
}

type labelReply struct {
	Tasks  []wireTask
	Status string
	Error  string
	ID     string
}

const reviewPath = labelPath + "/review"

// decideOrders asks for decisions, one of them with markup in a fact.
func decideOrders(t *testing.T, address string, n int) {
	t.Helper()
	for i := range n {
		fetch(t, http.MethodPost, "http://"+address+"/v1/decisions/order",
			fmt.Sprintf(`{"facts": {"customer_id": %d, "order_id": "<img src=x onerror=alert(1)>%d", "amount": %d}}`, i%3, i, 30+60*i))
	}
}

// TestLabelLoop runs a project: decisions become tasks, people label them over the
// interface, what they say reaches the collector, and a restart doubles nothing.
func TestLabelLoop(t *testing.T) {
	dir := labelProject(t, "")
	server := startProject(t, dir)
	address := server.addresses["http"]
	decideOrders(t, address, 20)
	c := &labelCaller{t: t, base: "http://" + address}
	out := saying(t, exitOK, "label", "select", "--server", address, "--count", "8", "--dry-run")
	wants(t, out, "would choose 8 of 20 decisions", "0 are tasks")
	wants(t, saying(t, exitOK, "label", "select", "--server", address, "--count", "8"), "chose 8 of 20 decisions")
	wants(t, saying(t, exitOK, "label", "status", "--server", address), "review   8")
	twoLabellers(t, c)
	studioAsks(t, c)

	if text := fetch(t, "GET", "http://"+server.addresses["metrics"]+"/metrics", ""); !strings.Contains(text, `millrace_labeling_tasks{project="review",status="done"} 3`) {
		t.Errorf("not three tasks are done in %s", text)
	}
	// What two people said reaches the collector, as the label of each prediction. It is told
	// at the next poll: a server that ends before leaves it to the next one.
	until(t, func() bool {
		return strings.Contains(saying(t, exitOK, "label", "select", "--server", address, "--count", "100", "--dry-run"), "3 have an outcome, 5 are tasks")
	})
	end(t, server)
	server = startProject(t, dir)
	c.base = "http://" + server.addresses["http"]
	var one projectStatus
	if status := c.call("GET", reviewPath, "", &one); status != 200 || one.Done != 3 || one.Open != 5 || len(one.People) != 3 {
		t.Errorf("after a restart: %d, %+v", status, one)
	}
	end(t, server)
	alone(t, dir)
}

// until waits for a condition.
func until(t *testing.T, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}

// twoLabellers label at once: nobody gets the other's task, what does not fit is refused with
// a word why, and markup comes back as it was given.
func twoLabellers(t *testing.T, c *labelCaller) {
	t.Helper()
	var anna, ben labelReply
	c.call("POST", reviewPath+"/lease", `{"annotator": "anna", "count": 2}`, &anna)
	c.call("POST", reviewPath+"/lease", `{"annotator": "ben", "count": 2}`, &ben)
	if len(anna.Tasks) != 2 || len(ben.Tasks) != 2 {
		t.Fatalf("leases %+v and %+v", anna, ben)
	}
	for _, a := range anna.Tasks {
		for _, b := range ben.Tasks {
			if a.ID == b.ID {
				t.Errorf("both have %s", a.ID)
			}
		}
		if !bytes.Contains(a.Data, []byte(`\u003cimg src=x`)) || a.Prediction != nil {
			t.Errorf("task %s, prediction %+v, which is not to be shown", a.Data, a.Prediction)
		}
	}
	say := func(path, person, task, value string) (int, labelReply) {
		var reply labelReply
		return c.call("POST", reviewPath+path, fmt.Sprintf(`{"annotator": %q, "task": %q, "value": %s, "lead_ms": 1500, "comment": "<b>sure</b>"}`, person, task, value), &reply), reply
	}
	if status, reply := say("/annotations", "anna", ben.Tasks[0].ID, `{"choices": ["fraud"]}`); status != 409 || !strings.Contains(reply.Error, "not handed out") {
		t.Errorf("the other's task: %d %s", status, reply.Error)
	}
	if status, reply := say("/annotations", "anna", anna.Tasks[0].ID, `{"choices": ["<script>"]}`); status != 400 || !strings.Contains(reply.Error, `label "<script>" is not in the set`) {
		t.Errorf("a label outside the set: %d %s", status, reply.Error)
	}
	if status, reply := say("/annotations", "anna", "nobody", `{"choices": ["fraud"]}`); status != 404 {
		t.Errorf("no such task: %d %s", status, reply.Error)
	}
	for range 2 { // again changes nothing
		if status, reply := say("/annotations", "anna", anna.Tasks[0].ID, `{"choices": ["fraud"]}`); status != 200 || reply.Status != "done" {
			t.Errorf("%d %+v", status, reply)
		}
	}
	if status, _ := say("/annotations", "ben", ben.Tasks[0].ID, `{"choices": ["genuine"]}`); status != 200 {
		t.Errorf("status %d", status)
	}
	if status, _ := say("/skip", "ben", ben.Tasks[1].ID, `{}`); status != 200 {
		t.Errorf("skip: %d", status)
	}
	var back labelReply
	if status := c.call("POST", reviewPath+"/undo", `{"annotator": "ben"}`, &back); status != 200 || back.ID != ben.Tasks[1].ID {
		t.Errorf("undo: %d %+v", status, back)
	}
	if status := c.call("POST", reviewPath+"/lease", `{"annotators": "ben"}`, &back); status != 400 || !strings.Contains(back.Error, "annotators") {
		t.Errorf("an unknown field: %d %s", status, back.Error)
	}
	if status := c.call("GET", labelPath+"/other", "", &back); status != 404 || !strings.Contains(back.Error, "the project's files have review") {
		t.Errorf("no such project: %d %s", status, back.Error)
	}
}

// studioAsks acts as Label Studio does: it sets the backend up, asks for predictions, and
// tells of annotations.
func studioAsks(t *testing.T, c *labelCaller) {
	t.Helper()
	config := fetch(t, "GET", c.base+reviewPath+"/labelstudio.xml?field=amount", "")
	if !strings.Contains(config, `<Choice value="fraud" hotkey="f"/>`) || !strings.Contains(config, `value="$amount"`) {
		t.Errorf("configuration %s", config)
	}
	quoted, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if text := fetch(t, "GET", c.base+"/labelstudio/review/health", ""); !strings.Contains(text, `"UP"`) {
		t.Errorf("health %s", text)
	}
	var setup struct {
		Version string `json:"model_version"`
	}
	if status := c.call("POST", "/labelstudio/setup", fmt.Sprintf(`{"project": "1.1700000000", "schema": %s, "hostname": "http://localhost:8080", "access_token": "x"}`, quoted), &setup); status != 200 || setup.Version != "risk-1" {
		t.Errorf("setup: %d %+v", status, setup)
	}
	var open labelReply
	c.call("GET", reviewPath+"/tasks?status=open&limit=1", "", &open)
	task := open.Tasks[0]
	var answer struct {
		Results []struct {
			Version string   `json:"model_version"`
			Score   *float64 `json:"score"`
			Result  []struct {
				FromName string `json:"from_name"`
				ToName   string `json:"to_name"`
				Type     string
				Value    struct{ Choices []string }
			}
		}
	}
	body := fmt.Sprintf(`{"tasks": [{"id": 1, "data": %s}, {"id": 2, "data": {"customer_id": 1, "order_id": "x", "amount": 2000}}, {"id": 3, "data": {"note": "<b>"}}], "label_config": %s, "project": "1.1700000000", "params": {"context": null}}`, task.Data, quoted)
	if status := c.call("POST", "/labelstudio/review/predict", body, &answer); status != 200 || len(answer.Results) != 3 {
		t.Fatalf("predict: %d %+v", status, answer)
	}
	logged := task.Prediction
	if r := answer.Results[0]; len(r.Result) != 1 || r.Result[0].Value.Choices[0] != logged.Value.Choices[0] || r.Version != "risk-1" || r.Result[0].FromName != "label" || r.Result[0].Type != "choices" ||
		r.Score == nil || *r.Score-logged.Score > 1e-6 || logged.Score-*r.Score > 1e-6 {
		t.Errorf("prediction %+v, and the decision had %+v", r, logged)
	}
	if r := answer.Results[1]; len(r.Result) != 1 || r.Result[0].Value.Choices[0] != "fraud" {
		t.Errorf("prediction by facts %+v", r)
	}
	if r := answer.Results[2]; len(r.Result) != 0 {
		t.Errorf("prediction of what is not known: %+v", r)
	}
	event := func(action, choice string) string {
		return fmt.Sprintf(`{"action": %q, "project": {"id": 1}, "task": {"id": 77, "data": %s, "meta": {}}, "annotation": {"id": 13, "completed_by": 5,
			"result": [{"id": "x", "from_name": "label", "to_name": "item", "type": "choices", "value": {"choices": [%q]}}], "was_cancelled": false, "ground_truth": false, "lead_time": 4.2, "created_at": "2099-01-01T00:00:00Z"}}`, action, task.Data, choice)
	}
	status := func() string {
		var v labelReply
		c.call("GET", reviewPath+"/task?id="+task.ID, "", &v)
		return v.Status
	}
	for _, step := range []struct{ body, want string }{
		{event("ANNOTATION_CREATED", "genuine"), "done"}, {event("ANNOTATION_UPDATED", "fraud"), "done"},
		{`{"action": "ANNOTATIONS_DELETED", "project": {"id": 1}, "annotations": [{"id": 13}]}`, "open"},
		{event("ANNOTATION_CREATED", "fraud"), "done"}, {`{"action": "START_TRAINING"}`, "done"},
	} {
		var reply labelReply
		if code := c.call("POST", "/labelstudio/review/webhook", step.body, &reply); code != 200 || status() != step.want {
			t.Errorf("%.60s: %d %s, the task is %s, want %s", step.body, code, reply.Error, status(), step.want)
		}
	}
	var reply labelReply
	if code := c.call("POST", "/labelstudio/review/webhook", event("ANNOTATION_CREATED", "other"), &reply); code != 400 || !strings.Contains(reply.Error, "not in the set") {
		t.Errorf("a label outside the set: %d %s", code, reply.Error)
	}
}

// alone runs the commands where no server has the log.
func alone(t *testing.T, dir string) {
	t.Helper()
	label := func(args ...string) string {
		t.Helper()
		return saying(t, exitOK, append([]string{"label", "--folder", dir}, args...)...)
	}
	wants(t, label("status"), "review   5", "anna", "ls-5")
	lines := label("export", "--format", "jsonl")
	if n := strings.Count(lines, "\n"); n != 3 || !strings.Contains(lines, `"label":"fraud"`) || !strings.Contains(lines, `"comment":"\u003cb\u003esure`) {
		t.Errorf("%d lines\n%s", n, lines)
	}
	parquetFile, tasks := filepath.Join(dir, "labels.parquet"), filepath.Join(dir, "tasks.json")
	label("export", "--format", "parquet", "--output", parquetFile)
	if text, err := os.ReadFile(parquetFile); err != nil || !bytes.HasPrefix(text, []byte("PAR1")) {
		t.Errorf("parquet: %.20q, %v", text, err)
	}
	label("export", "--output", tasks)
	wants(t, label("import", tasks), "8 tasks: 0 new, 8 there already; 3 annotations")
	other := filepath.Join(dir, "other.jsonl")
	text := `{"data": {"text": "one"}, "annotations": [{"completed_by": 1, "result": [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["fraud"]}}]}]}` + "\n" +
		`{"data": {"text": "two"}, "annotations": [{"completed_by": 1, "result": [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["both"]}}]}]}` + "\n"
	if err := os.WriteFile(other, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	wants(t, saying(t, exitFailure, "label", "--folder", dir, "import", other), "1 task: 1 new", "task 1, byte", `label "both" is not in the set`)
	wants(t, label("agreement"), "anna")
	wants(t, label("errors", "--all"), "3 annotations compared, 1 without a prediction")
	wants(t, label("aggregate", "--method", "majority"), "4 tasks by majority")
	wants(t, label("aggregate", "--functions"), "large", "small")
	wants(t, label("select", "--count", "100"), "3 have an outcome, 5 are tasks")
	wants(t, saying(t, exitUsage, "label", "--folder", dir, "select", "--from", "soon"), "--from")
	wants(t, saying(t, exitFailure, "label", "--folder", dir, "select", "--strategy", "best"), `"best" is none of`)
	wants(t, saying(t, exitFailure, "label", "--folder", dir, "export", "--format", "xml"), "is none of labelstudio, jsonl, parquet")
}

// TestLabelServerElsewhere: where a server has the log and is not at the port that the
// project says, the command says so.
func TestLabelServerElsewhere(t *testing.T) {
	dir := labelProject(t, "")
	log, err := offline.Open(t.Context(), offline.Options{Dir: filepath.Join(dir, defaultState, "log"), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	go func() { // ends with the listener
		for c, err := stranger.Accept(); err == nil; c, err = stranger.Accept() {
			c.Close()
		}
	}()
	file := filepath.Join(dir, projectFile)
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("http: 8000"), fmt.Appendf(nil, "http: %d", stranger.Addr().(*net.TCPAddr).Port), 1), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	wants(t, saying(t, exitFailure, "label", "--folder", dir, "status"), "a server has the log", "give --server HOST:PORT")
}

// TestLabelAccess: with tokens roles count and nobody labels in another's name; without,
// only this machine is answered, and no page of another site.
func TestLabelAccess(t *testing.T) {
	t.Setenv("LABEL_ANNA", "anna-0123456789ab")
	dir := labelProject(t, "console:\n  tokens:\n    anna: {role: labeller, token: \"${LABEL_ANNA}\"}\n    wall: {role: viewer, token: wall-0123456789ab}\n")
	server := startProject(t, dir)
	c := &labelCaller{t: t, base: "http://" + server.addresses["http"]}
	var reply labelReply
	if status := c.call("GET", labelPath, "", &reply); status != 401 || !strings.Contains(reply.Error, "console.tokens") {
		t.Errorf("nobody: %d %s", status, reply.Error)
	}
	c.token = "wall-0123456789ab"
	if status := c.call("GET", labelPath, "", nil); status != 200 {
		t.Errorf("a viewer looks: %d", status)
	}
	if status := c.call("POST", reviewPath+"/lease", "{}", &reply); status != 403 || !strings.Contains(reply.Error, "wall is a viewer") {
		t.Errorf("a viewer labels: %d %s", status, reply.Error)
	}
	c.token = "anna-0123456789ab"
	if status := c.call("POST", reviewPath+"/lease", "{}", nil); status != 200 {
		t.Errorf("a labeller labels: %d", status)
	}
	if status := c.call("POST", reviewPath+"/lease", `{"annotator": "ben"}`, &reply); status != 403 || !strings.Contains(reply.Error, "cannot label as") {
		t.Errorf("as somebody else: %d %s", status, reply.Error)
	}
	for _, path := range []string{"/tasks", "/task?id=x", "/errors", "/aggregate", "/export"} { // these tell gold, and what others said
		if status := c.call("GET", reviewPath+path, "", nil); status != 403 {
			t.Errorf("a labeller reads %s: %d", path, status)
		}
	}
	if status := c.call("GET", reviewPath, "", nil); status != 200 {
		t.Errorf("a labeller reads how far it is: %d", status)
	}
	if status := c.call("POST", reviewPath+"/select", "{}", nil); status != 403 {
		t.Errorf("a labeller selects: %d", status)
	}
	for _, path := range []string{"/labelstudio/webhook", "/labelstudio/review/webhook"} { // it would say who said it
		if status := c.call("POST", path, `{"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 1}]}`, nil); status != 403 {
			t.Errorf("a labeller speaks for others by %s: %d", path, status)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/labelstudio/review/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("label-studio", "anna-0123456789ab")
	if resp, err := http.DefaultClient.Do(r); err != nil || resp.StatusCode != 200 {
		t.Errorf("basic authentication: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	wants(t, saying(t, exitFailure, "label", "status", "--server", server.addresses["http"]), tokenVariable)
	t.Setenv(tokenVariable, "wall-0123456789ab")
	wants(t, saying(t, exitOK, "label", "status", "--server", server.addresses["http"]), "review")
	end(t, server)

	guard := &labelGuard{local: true, origin: http.NewCrossOriginProtection()}
	for name, change := range map[string]func(*http.Request){
		"another site":       func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another origin":     func(r *http.Request) { r.Header.Set("Origin", "http://example.com") },
		"another name":       func(r *http.Request) { r.Host = "rebound.example.com" },
		"another machine":    func(r *http.Request) { r.RemoteAddr = "10.1.2.3:555" },
		"nothing is strange": func(*http.Request) {},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost:8000"+labelPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = "127.0.0.1:555"
		change(r)
		if _, err := guard.who(r, 1); (err == nil) != (name == "nothing is strange") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
