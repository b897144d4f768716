// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

const orderLabels = `labels:
  bad:
    decision: order
    name: is_fraud
    type: bool
    window: 1d
    silence: negative
    sources: [{name: chargeback, priority: 20}, {name: reviewer, priority: 10}, {name: "*", priority: 1}]
    match: {entity: [customer_id], within: 1h}
  liked: {decision: order, kind: user, name: thumb, type: bool, window: 1d}
`

// feedbackWorld is a served project with labels.
type feedbackWorld struct {
	t      *testing.T
	dir    string
	server *runningServer
	grpc   millracev1.FeedbackClient
}

func newFeedbackWorld(t *testing.T) *feedbackWorld {
	t.Helper()
	w := &feedbackWorld{t: t, dir: filepath.Join(t.TempDir(), "shop")}
	if err := writeProject(w.dir); err != nil {
		t.Fatal(err)
	}
	w.write("feedback.yaml", orderLabels)
	text, err := os.ReadFile(filepath.Join(w.dir, projectFile))
	if err != nil {
		t.Fatal(err)
	}
	w.write(projectFile, string(text)+"feedback: [feedback.yaml]\n")
	slowMachine(t, filepath.Join(w.dir, "decisions.yaml"))
	w.server = startProject(t, w.dir)
	conn, err := grpc.NewClient(w.server.addresses["grpc"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w.grpc = millracev1.NewFeedbackClient(conn)
	return w
}

func (w *feedbackWorld) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// decide asks for a decision and returns the prediction id.
func (w *feedbackWorld) decide(order, customer int) string {
	w.t.Helper()
	var answer struct {
		PredictionID string `json:"prediction_id"`
	}
	body := fetch(w.t, http.MethodPost, "http://"+w.server.addresses["http"]+"/v1/decisions/order",
		fmt.Sprintf(`{"facts": {"customer_id": %d, "order_id": "o-%d", "amount": 35}}`, customer, order))
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.PredictionID == "" {
		w.t.Fatalf("decision %s: %v", body, err)
	}
	return answer.PredictionID
}

// post sends JSON to /v1/feedback.
func (w *feedbackWorld) post(body string) (code int, answer string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+w.server.addresses["http"]+"/v1/feedback", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// stop stops the server.
func (w *feedbackWorld) stop() {
	w.t.Helper()
	w.server.stop()
	select {
	case status := <-w.server.status:
		if status != exitOK {
			w.t.Errorf("the server ended with status %d", status)
		}
	case <-time.After(2 * time.Minute):
		w.t.Fatal("the server did not stop")
	}
}

// command runs `millrace feedback` and wants a status.
func (w *feedbackWorld) command(want int, args ...string) string {
	w.t.Helper()
	args = append([]string{"feedback"}, args...)
	code, stdout, stderr := runCommand(w.t, "", args...)
	if code != want {
		w.t.Errorf("%s: status %d, want %d: %s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout + stderr
}

// joined is a row that a join wrote, as another program reads it.
type joinedRow struct {
	PredictionID string   `json:"prediction_id" parquet:"prediction_id,optional"`
	Status       string   `json:"label_status" parquet:"label_status,optional"`
	Number       *float64 `json:"label_number" parquet:"label_number,optional"`
	Source       string   `json:"label_source" parquet:"label_source,optional"`
	Contradicted bool     `json:"contradicted" parquet:"contradicted,optional"`
	Amount       *float64 `json:"amount" parquet:"amount,optional"`
}

func (w *feedbackWorld) joinLines(path string) map[string]joinedRow {
	w.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	rows := map[string]joinedRow{}
	for line := range strings.Lines(string(text)) {
		var r joinedRow
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		rows[r.PredictionID] = r
	}
	return rows
}

// TestFeedback sends feedback in every way to a server, good and bad, and joins it.
func TestFeedback(t *testing.T) {
	w := newFeedbackWorld(t)
	var ids []string
	for i := range 6 {
		ids = append(ids, w.decide(i, i))
	}
	w.checkLabels()
	w.checkGuide(ids[0])
	w.checkContradiction(ids[1])
	w.checkBadInput(ids[2])
	w.checkImport(ids)
	w.checkMetrics()
	out := filepath.Join(w.dir, "joined.jsonl")
	w.checkJoin(ids, out) // beside the server
	w.stop()
	w.checkJoin(ids, out)
	w.checkTask(ids)
	w.checkUnmatched()
}

// checkLabels prints the labels, and those of a project with mistakes.
func (w *feedbackWorld) checkLabels() {
	shown := w.command(exitOK, "labels", w.dir)
	for _, want := range []string{"bad    order     outcome  is_fraud  bool  1d      false", "chargeback 20, reviewer 10, * 1", "customer_id within 1h", "liked  order     user"} {
		if !strings.Contains(shown, want) {
			w.t.Errorf("labels lacks %q:\n%s", want, shown)
		}
	}
	second := w.write("more.yaml", "labels:\n  bad: {decision: order, name: n, window: 1d}\n  other: {decision: nope, name: n, window: 1d}\n  third: {decision: order, name: n, window: 1d, match: {entity: [terminal_id], within: 1h}}\n")
	p, err := loadProject(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Feedback = append(p.Feedback, second, second+".missing")
	_, policies, err := p.catalog()
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = p.labels(policies)
	for _, want := range []string{"more.yaml:2:3: labels.bad: ", "has a label of this name", `more.yaml:3:11: labels.other.decision: "nope" is not defined; there is order`, `more.yaml:4:57: labels.third.match.entity[0]: decision order has no fact "terminal_id"`, ".missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			w.t.Errorf("mistakes lack %q:\n%v", want, err)
		}
	}
}

// checkGuide runs the requests of docs/guides/feedback.md.
func (w *feedbackWorld) checkGuide(id string) {
	guide, err := os.ReadFile(moduleRoot + "/docs/guides/feedback.md")
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.NewReplacer("PREDICTION", id, "EVENT_TIME", time.Now().UTC().Format(time.RFC3339)).Replace(string(guide))
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`(?s)(grpcurl|curl)[^'\n]* -d '(.*?)'`).FindAllStringSubmatch(text, -1) {
		counts[m[1]]++
		if m[1] == "curl" {
			if code, answer := w.post(m[2]); code != http.StatusOK || !strings.Contains(answer, `"accepted"`) {
				w.t.Errorf("%s: %d %s", m[2], code, answer)
			}
			continue
		}
		var q millracev1.SubmitFeedbackRequest
		if err := protojson.Unmarshal([]byte(m[2]), &q); err != nil {
			w.t.Errorf("%s: %v", m[2], err)
			continue
		}
		answer, err := w.grpc.SubmitFeedback(w.t.Context(), &q)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range answer.Results {
			if r.Status != millracev1.FeedbackStatus_FEEDBACK_STATUS_ACCEPTED {
				w.t.Errorf("%s: %v", m[2], r)
			}
		}
	}
	if counts["curl"] != 5 || counts["grpcurl"] != 2 {
		w.t.Errorf("the guide has %v", counts)
	}
	shown := w.command(exitOK, "get", "--server", w.server.addresses["grpc"], "--prediction-id", id)
	for _, want := range []string{"withdrawn", "won the dispute", "should_be", "accept", "<b>too small</b>", "I bought this myself", "correction"} {
		if !strings.Contains(shown, want) {
			w.t.Errorf("get lacks %q:\n%s", want, shown)
		}
	}
	body := fetch(w.t, http.MethodGet, "http://"+w.server.addresses["http"]+"/v1/feedback?feedback_id=chargeback-77", "")
	if strings.Count(body, `"sequence"`) != 2 {
		w.t.Errorf("the versions of a correction: %s", body)
	}
}

// checkContradiction: two sources disagree; both are kept.
func (w *feedbackWorld) checkContradiction(id string) {
	for _, one := range []string{`"value": true, "source": "chargeback"`, `"value": false, "source": "reviewer"`} {
		if code, answer := w.post(`{"prediction_id": "` + id + `", "name": "is_fraud", ` + one + `}`); code != http.StatusOK {
			w.t.Errorf("%d %s", code, answer)
		}
	}
	var found feedbackFound
	if err := json.Unmarshal([]byte(w.command(exitOK, "get", "--server", w.server.addresses["grpc"], "--prediction-id", id, "--json")), &found); err != nil {
		w.t.Fatal(err)
	}
	if len(found.Versions) != 2 || found.Versions[0].Value != true || found.Versions[1].Value != false {
		w.t.Errorf("of two sources there is %+v", found)
	}
}

// checkBadInput sends what cannot be taken, and what is taken though it looks wrong.
func (w *feedbackWorld) checkBadInput(id string) {
	future := time.Now().Add(time.Hour)
	item := func(more string) string { return `{"name": "is_fraud", "value": true, ` + more + `}` }
	for _, test := range []struct {
		what, body string
		code       int
		want       string
	}{
		{"unknown prediction", item(`"prediction_id": "nobody-knows-it"`), http.StatusOK, `"accepted"`},
		{"future", item(`"prediction_id": "` + id + `", "event_time": "` + future.UTC().Format(time.RFC3339) + `"`), http.StatusBadRequest, "in the future"},
		{"wrong type", `{"prediction_id": "` + id + `", "name": "is_fraud", "value": "yes"}`, http.StatusBadRequest, "label bad takes a bool"},
		{"id used", item(`"feedback_id": "chargeback-77", "prediction_id": "` + id + `"`), http.StatusConflict, "was used for another prediction"},
		{"unknown field", item(`"predictionid": "x"`), http.StatusBadRequest, "unknown field"},
		{"no target", item(`"source": "x"`), http.StatusBadRequest, "prediction_id: is required"},
		{"no JSON", `{"name"`, http.StatusBadRequest, "body"},
		{"too large", `{"items": ["` + strings.Repeat("x", 8<<20) + `"]}`, http.StatusRequestEntityTooLarge, "send several batches"},
		{"too many", `[` + strings.Repeat(`{},`, groundtruth.ItemsMax) + `{}]`, http.StatusBadRequest, "at most 10000"},
	} {
		if code, answer := w.post(test.body); code != test.code || !strings.Contains(answer, test.want) {
			w.t.Errorf("%s: %d %.200s, want %d %s", test.what, code, answer, test.code, test.want)
		}
	}
	answer, err := w.grpc.SubmitFeedback(w.t.Context(), &millracev1.SubmitFeedbackRequest{Items: []*millracev1.FeedbackItem{
		{PredictionId: id, Name: "is_fraud", Value: &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: true}}, EventTime: future.UnixMicro()},
		{PredictionId: id, Name: "is_fraud"},
		{PredictionId: "nobody-knows-it", Name: "is_fraud", Value: &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: false}}, FeedbackId: "g-1"},
		{PredictionId: id, Name: "is_fraud", Value: &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: false}}, FeedbackId: "g-1"},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, want := range []string{"in the future", "value: is required", "", "was used for another prediction"} {
		if r := answer.Results[i]; !strings.Contains(r.Error, want) || (r.Error == "") != (want == "") || r.Retryable {
			w.t.Errorf("item %d: %v, want %q", i, r, want)
		}
	}
	many := &millracev1.SubmitFeedbackRequest{Items: make([]*millracev1.FeedbackItem, groundtruth.ItemsMax+1)}
	for i := range many.Items {
		many.Items[i] = &millracev1.FeedbackItem{}
	}
	if _, err := w.grpc.SubmitFeedback(w.t.Context(), many); status.Code(err) != codes.InvalidArgument {
		w.t.Errorf("too many items: %v", err)
	}
}

// checkImport imports files of all formats, with lines that are wrong.
func (w *feedbackWorld) checkImport(ids []string) {
	server := w.server.addresses["grpc"]
	lines := w.write("outcomes.jsonl", strings.Join([]string{
		`{"prediction_id": "` + ids[3] + `", "value": true}`, `{"prediction_id": "` + ids[4] + `", "value": 7`, ``,
		`{"prediction_id": "` + ids[4] + `", "value": "a\u001b[31m"}`, `{"prediction_id": "` + ids[4] + `", "value": false}`, `{"value": true}`,
	}, "\n"))
	shown := w.command(exitFailure, "import", lines, "--name", "is_fraud", "--source", "chargeback", "--server", server, "--batch", "1")
	for _, want := range []string{"3 pieces of feedback sent: 2 accepted, 0 known already, 1 refused; 2 bad lines", lines + ":2", lines + ":4", "label bad takes a bool", lines + ":6", "prediction_id: is required", "3 of 5 lines were not taken"} {
		if !strings.Contains(shown, want) {
			w.t.Errorf("import lacks %q:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "\x1b") {
		w.t.Errorf("import prints control characters: %q", shown)
	}
	var again imported
	table := w.write("outcomes.csv", "prediction_id,name,value,source,reason\n"+ids[3]+",is_fraud,true,chargeback,\n"+ids[5]+",is_fraud,true,reviewer,\"saw\nit\"\n")
	out, _, _ := strings.Cut(w.command(exitOK, "import", table, "--server", server, "--json"), "\nmillrace:")
	if err := json.Unmarshal([]byte(out), &again); err != nil || again.Accepted != 1 || again.Duplicates != 1 {
		w.t.Errorf("a file with a repeat: %v %s", err, out)
	}
	truth := w.write("truth.jsonl", `{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "`+ids[5]+`"}, "eventVersion": "0"}`)
	if shown := w.command(exitUsage, "import", truth, "--format", "sagemaker", "--server", server); !strings.Contains(shown, "--name is missing") {
		w.t.Error(shown)
	}
	if shown := w.command(exitOK, "import", truth, "--format", "sagemaker", "--name", "truth", "--server", server); !strings.Contains(shown, "1 accepted") {
		w.t.Error(shown)
	}
	if shown := w.command(exitFailure, "import", lines, "--name", "x", "--dry-run"); !strings.Contains(shown, "3 pieces of feedback can be sent, 2 lines are bad") {
		w.t.Error(shown)
	}
	if shown := w.command(exitFailure, "import", lines, "--server", "127.0.0.1:1", "--name", "x", "--batch", "10"); !strings.Contains(shown, "unavailable") || !strings.Contains(shown, lines+":1") {
		w.t.Error(shown)
	}
	w.command(exitUsage, "import", lines+".txt", "--server", server)
	w.command(exitUsage, "get", "--server", server)
}

// checkMetrics waits until the counts show what was sent.
func (w *feedbackWorld) checkMetrics() {
	wanted := []string{
		`millrace_feedback_total{outcome="accepted"} 16`, `millrace_feedback_total{outcome="duplicate"} 1`, `millrace_feedback_total{outcome="conflict"} 2`,
		`millrace_feedback_joined_total{label="bad",outcome="joined"} `, `millrace_feedback_waiting{label="bad"} 2`, `millrace_label_predictions{label="liked"} 6`, "millrace_feedback_ids ",
	}
	deadline := time.Now().Add(time.Minute)
	for {
		metrics, missing := fetch(w.t, http.MethodGet, "http://"+w.server.addresses["metrics"]+"/metrics", ""), ""
		for _, want := range wanted {
			if !strings.Contains(metrics, want) {
				missing = want
			}
		}
		if missing == "" {
			checkDashboardMetrics(w.t, metrics)
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("the metrics lack %s:\n%s", missing, grepLines(metrics, "millrace_feedback|millrace_label"))
			return
		}
		if waitFor(w.t.Context(), 50*time.Millisecond) != nil {
			return
		}
	}
}

func grepLines(text, pattern string) string {
	return strings.Join(regexp.MustCompile(`(?m)^.*(?:`+pattern+`).*$`).FindAllString(text, -1), "\n")
}

// checkTask has a pipeline write the joined table, which says the same.
func (w *feedbackWorld) checkTask(ids []string) {
	text, err := os.ReadFile(filepath.Join(w.dir, projectFile))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(projectFile, string(text)+"pipelines: [pipeline.yaml]\n")
	w.write("pipeline.yaml", "pipelines:\n  truth:\n    tasks:\n      truth: {uses: outcomes, with: {label: bad, early: true, unlabelled: true}}\n      mature: {uses: outcomes, with: {label: bad}}\n"+
		"      nobody: {uses: outcomes, with: {label: nope}}\n")
	w.t.Chdir(w.dir)
	wants(w.t, saying(w.t, exitOK, "pipeline", "run", "--run", "truth", "--only", "truth", "--only", "mature"), "rows=6")
	wants(w.t, saying(w.t, exitFailure, "pipeline", "run", "--run", "none", "--only", "nobody"), `--label "nope": the project has bad, liked`)
	var found []joinedRow
	files, err := filepath.Glob(filepath.Join(".millrace", "state", "pipelines", "*", "*", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(data, []byte("PAR1")) {
			continue
		}
		rows, err := parquet.Read[joinedRow](bytes.NewReader(data), int64(len(data)))
		if err != nil {
			w.t.Fatal(err)
		}
		found = append(found, rows...)
	}
	if len(found) != len(ids) || !slices.ContainsFunc(found, func(r joinedRow) bool {
		return r.PredictionID == ids[1] && *r.Number == 1 && r.Source == "chargeback" && *r.Amount == 35
	}) {
		w.t.Errorf("the task wrote %+v", found)
	}
}

// checkJoin writes the joined table in every format.
func (w *feedbackWorld) checkJoin(ids []string, out string) {
	shown := w.command(exitOK, "join", w.dir, "--label", "bad", "--output", out, "--vectors")
	if !strings.Contains(shown, "6 decisions with label bad") || !strings.Contains(shown, "1 were contradicted") {
		w.t.Error(shown)
	}
	rows := w.joinLines(out)
	for i, want := range []struct {
		status, source string
		value          float64
	}{
		{"observed", "reviewer", 0}, {"observed", "chargeback", 1}, {"pending", "", -1},
		{"observed", "chargeback", 1}, {"observed", "chargeback", 0}, {"observed", "reviewer", 1},
	} {
		r := rows[ids[i]]
		if r.Status != want.status || r.Source != want.source || (r.Number == nil) != (want.value < 0) || (r.Number != nil && *r.Number != want.value) || r.Contradicted != (i == 1) {
			w.t.Errorf("decision %d: %+v, want %+v", i, r, want)
		}
		if r.Amount == nil || *r.Amount != 35 {
			w.t.Errorf("decision %d: the vector has amount %v", i, r.Amount)
		}
	}
	w.command(exitOK, "join", w.dir, "--label", "bad", "--output", out, "--mature-only")
	if rows := w.joinLines(out); len(rows) != 0 {
		w.t.Errorf("no window is over, and there are %d rows", len(rows))
	}
	w.command(exitOK, "join", w.dir, "--label", "liked", "--output", out, "--as-of", "2000-01-01")
	if rows := w.joinLines(out); len(rows) != 0 {
		w.t.Errorf("long ago nothing was known, and there are %d rows", len(rows))
	}
	file := filepath.Join(w.dir, "joined.parquet")
	w.command(exitOK, "join", w.dir, "--label", "liked", "--labelled-only", "--output", file, "--vectors")
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	found, err := parquet.Read[joinedRow](bytes.NewReader(data), int64(len(data)))
	if err != nil || len(found) != 1 || found[0].PredictionID != ids[0] || *found[0].Number != 1 || *found[0].Amount != 35 {
		w.t.Errorf("%v: %+v", err, found)
	}
	sheet := filepath.Join(w.dir, "joined.csv")
	w.command(exitOK, "join", w.dir, "--label", "bad", "--output", sheet, "--vectors")
	if text, err := os.ReadFile(sheet); err != nil || strings.Count(string(text), "\n") != 7 || !strings.Contains(string(text), ",over_mean\n") {
		w.t.Errorf("%v: %s", err, text)
	}
	for _, wrong := range [][]string{
		{"join", w.dir, "--label", "bad"}, {"join", w.dir, "--label", "nope", "--output", out}, {"join", w.dir, "--output", out},
		{"join", w.dir, "--label", "bad", "--output", "x.xls"}, {"join", w.dir, "--label", "bad", "--output", out, "--from", "2026-01-02", "--to", "2026-01-01"},
	} {
		w.command(exitUsage, wrong...)
	}
}

// checkUnmatched: feedback for a prediction that never came is counted once it had time to.
func (w *feedbackWorld) checkUnmatched() {
	p, err := loadProject(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	_, policies, err := p.catalog()
	if err != nil {
		w.t.Fatal(err)
	}
	labels, err := p.labels(policies)
	if err != nil {
		w.t.Fatal(err)
	}
	log, err := openLog(w.t.Context(), p.State, p)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	now := time.Now()
	live, err := groundtruth.OpenLive(w.t.Context(), groundtruth.LiveOptions{Log: log, Label: labels[0], Dir: w.t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		w.t.Fatal(err)
	}
	defer live.Close()
	for range 2 {
		if err := live.Poll(w.t.Context(), func(*groundtruth.Row) error { return nil }); err != nil {
			w.t.Fatal(err)
		}
		now = now.Add(2 * time.Hour)
	}
	if s := live.Stats(); s.Unmatched != 2 || s.Orphans != 0 || s.Joined == 0 {
		w.t.Errorf("%+v", s)
	}
}
