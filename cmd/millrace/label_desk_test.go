// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/labeling/quality"
	"github.com/millrace-ml/millrace/labeling/selection"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

const labelingText = `labeling:
  review:
    title: Orders to look at
    guide: Is it a fraud?
    lease: 5m
    labels: {kind: single, labels: [{name: fraud, title: Fraud, key: f}, {name: genuine, key: g}]}
    decision: order
    select: {strategy: margin, count: 6, random_share: 0.5, every: 1d, window: 1d}
    feedback: {name: is_fraud, source: reviewer, values: {fraud: true, genuine: false}}
    functions:
      - {name: large, when: amount > 500, label: fraud}
      - {name: small, when: amount < 100, label: genuine}
`

// labelWorld is a log with decisions of the project that init writes, on a clock of its own.
type labelWorld struct {
	t        *testing.T
	dir      string
	policies []*policy.Policy
	now      time.Time
	logDir   string
	log      *offline.Log
	desk     *labelDesk
	stream   *offline.Stream
}

func newLabelWorld(t *testing.T, text string) *labelWorld {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "orders")
	if status, out, stderr := runCommand(t, "", "init", dir); status != exitOK {
		t.Fatalf("init: %s%s", out, stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "labeling.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := loadProject(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &labelWorld{t: t, dir: dir, now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	if _, w.policies, err = p.catalog(); err != nil {
		t.Fatal(err)
	}
	w.open(filepath.Join(dir, "log"))
	return w
}

// open opens log and desk of a folder, as a start does.
func (w *labelWorld) open(dir string) {
	w.t.Helper()
	w.logDir = dir
	var err error
	if w.log, err = offline.Open(w.t.Context(), offline.Options{Dir: dir, Now: func() time.Time { return w.now }, CompactEvery: -1, SegmentBytes: 64 << 10}); err != nil {
		w.t.Fatal(err)
	}
	log := w.log
	w.t.Cleanup(func() { _ = log.Close() }) // a test that closed it has looked
	columns := []offline.Column{}
	for _, name := range decisionColumns {
		c := offline.Column{Name: name, Type: offline.TypeString}
		switch name {
		case "score":
			c.Type = offline.TypeFloat64
		case "model_version":
			c.Type = offline.TypeInt64
		}
		columns = append(columns, c)
	}
	if w.stream, err = w.log.Declare(offline.Schema{Stream: frontend.DecisionStream, Columns: append(columns, plan.VectorColumns()...)}); err != nil {
		w.t.Fatal(err)
	}
	projects, err := loadLabeling([]string{filepath.Join(w.dir, "labeling.yaml")}, []string{"order"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.desk = &labelDesk{log: w.log, projects: projects, policies: w.policies, now: func() time.Time { return w.now }}
	if err := openLabelDesk(w.t.Context(), w.desk); err != nil {
		w.t.Fatal(err)
	}
}

// restart opens a copy of the log as a killed process leaves it.
func (w *labelWorld) restart() {
	w.t.Helper()
	if err := w.log.Sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	to := w.t.TempDir()
	if err := os.CopyFS(to, os.DirFS(w.logDir)); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, "LOCK")); err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	if err := w.log.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open(to)
}

// decide logs a decision of a time with a score and an amount.
func (w *labelWorld) decide(id string, at time.Time, score, amount float64) {
	w.t.Helper()
	s := w.policies[0].Service
	var vector, status []byte
	for i := range s.Features {
		x := float64(i)
		if s.Features[i].Name == "amount" {
			x = amount
		}
		vector, status = binary.LittleEndian.AppendUint64(vector, math.Float64bits(x)), append(status, 0)
	}
	values := []offline.Value{offline.String("order"), offline.Float64(score), offline.String(fmt.Sprintf(`{"customer_id":7,"order_id":%q,"amount":%v}`, id+"<b>", amount)),
		offline.String("accept"), {}, {}, offline.String("risk"), offline.Int64(1), offline.String("LARGE"),
		offline.String(s.Name), offline.String(plan.ShortHash(s.Hash())), offline.Timestamp(at.UnixMicro()), offline.Bytes(nil), offline.Bytes(nil),
		offline.Bytes(vector), offline.Bytes(nil), offline.Bytes(status), offline.Bytes(nil)}
	if err := w.stream.Append(w.t.Context(), &offline.Record{ID: id, EventTime: at.UnixMicro(), ArrivalTime: at.UnixMicro(), Values: values}); err != nil {
		w.t.Fatal(err)
	}
}

// decideSome logs n decisions over the day before now, with all scores.
func (w *labelWorld) decideSome(n int) {
	for i := range n {
		w.decide(fmt.Sprintf("p%03d", i), w.now.Add(-24*time.Hour+time.Duration(i)*time.Minute), (float64(i)+0.5)/float64(n), float64(10*i))
	}
}

func (w *labelWorld) project() *labelingProject { return w.desk.projects[0] }

func (w *labelWorld) tasks() (ids []string) {
	w.t.Helper()
	if err := w.desk.store.Each("review", func(v *labeling.TaskView) error { ids = append(ids, v.Task.ID); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// TestSelectRounds: each round chooses once, whatever ends the process between its parts,
// with a random slice of the stated probability, and never what is a task already.
func TestSelectRounds(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decideSome(100)
	p := w.project()
	round, due := w.desk.due(p, w.now.Add(time.Hour))
	if !due || !round.to.Equal(w.now) || !round.from.Equal(w.now.Add(-24*time.Hour)) {
		t.Fatalf("due %v, %+v", due, round)
	}
	out, err := w.desk.selectTasks(t.Context(), p, p.Select, round)
	if err != nil || out.Added != 6 || out.Left.Eligible != 100 {
		t.Fatalf("%+v, %v", out, err)
	}
	random := 0
	for _, c := range out.Chosen {
		if c.Chosen.Strategy == "random" {
			random++
			if c.Chosen.Propensity != 0.03 {
				t.Errorf("propensity %v, want 3 of 100", c.Chosen.Propensity)
			}
		}
	}
	if random != 3 {
		t.Errorf("%d of the random slice, want half of 6", random)
	}
	if _, again := w.desk.due(p, w.now.Add(2*time.Hour)); again {
		t.Error("the round is due twice")
	}
	before := w.tasks()
	w.restart()
	if _, again := w.desk.due(w.project(), w.now.Add(2*time.Hour)); again || !slices.Equal(w.tasks(), before) {
		t.Errorf("after a restart: due %v, tasks %v, want %v", again, w.tasks(), before)
	}
	w.now = w.now.Add(24 * time.Hour)
	round, due = w.desk.due(w.project(), w.now)
	round.from = round.from.Add(-24 * time.Hour) // over the same decisions
	if out, err = w.desk.selectTasks(t.Context(), w.project(), w.project().Select, round); !due || err != nil || out.Added != 6 || out.Left.Tasks != 6 {
		t.Fatalf("the next round: %v, %+v, %v", due, out, err)
	}
	if all := w.tasks(); len(all) != 12 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 12 {
		t.Errorf("tasks %v", all)
	}
}

// TestSelectCutShort: what was written down as chosen becomes tasks at the next start.
func TestSelectCutShort(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decideSome(50)
	p := w.project()
	round, _ := w.desk.due(p, w.now)
	round.dry = true
	out, err := w.desk.selectTasks(t.Context(), p, p.Select, round)
	if err != nil || len(out.Chosen) != 6 || len(w.tasks()) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if err := w.desk.record(t.Context(), p, p.Select, round, out); err != nil {
		t.Fatal(err)
	}
	w.restart() // killed before any task was stored
	want := []string{}
	for _, c := range out.Chosen {
		want = append(want, c.ID)
	}
	if got := w.tasks(); !slices.Equal(got, want) {
		t.Errorf("tasks %v, chosen %v", got, want)
	}
	if _, again := w.desk.due(w.project(), w.now); again {
		t.Error("the round is due again")
	}
}

// TestTaskOfDecision: a task shows facts and features by name, and what the model says of it.
func TestTaskOfDecision(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decide("a", w.now.Add(-time.Hour), 0.9, 640)
	w.decide("b", w.now.Add(-time.Hour), 0.2, 20)
	round, _ := w.desk.due(w.project(), w.now)
	if _, err := w.desk.selectTasks(t.Context(), w.project(), w.project().Select, round); err != nil {
		t.Fatal(err)
	}
	v, err := w.desk.store.Task("review", "a")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"prediction_id":"a","decision_time":"2026-03-01T23:00:00Z","customer_id":7,"order_id":"a\u003cb\u003e","amount":640,"orders_hour":1,"orders_month":2,"mean_amount":3,"over_mean":4}`
	if string(v.Task.Data) != want {
		t.Errorf("data %s\nwant %s", v.Task.Data, want)
	}
	g := v.Task.Prediction
	if g == nil || g.Value.Key() != labeling.Choose("fraud").Key() || g.Score != 0.9 || g.Model != "risk" || g.Version != "1" || !slices.Equal(g.Reasons, []string{"LARGE: a large order"}) {
		t.Errorf("prediction %+v", g)
	}
	if v, err = w.desk.store.Task("review", "b"); err != nil || v.Task.Prediction.Value.Key() != labeling.Choose("genuine").Key() || v.Task.Prediction.Score != 0.8 {
		t.Errorf("%+v, %v", v.Task.Prediction, err)
	}
}

// TestStrategies: each strategy chooses what it stands for, of what a condition leaves.
func TestStrategies(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decideSome(60)
	shadows, err := w.log.Declare(offline.Schema{Stream: frontend.ShadowStream, Columns: []offline.Column{{Name: "decision", Type: offline.TypeString}, {Name: "model", Type: offline.TypeString},
		{Name: "model_version", Type: offline.TypeInt64}, {Name: "score", Type: offline.TypeFloat64}, {Name: "error", Type: offline.TypeString}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 { // the last 20 were not seen by the shadow; it differs at p010
		score := (float64(i) + 0.5) / 60
		if i == 10 {
			score = 0.99
		}
		at := w.now.Add(-24*time.Hour + time.Duration(i)*time.Minute).UnixMicro()
		if err := shadows.Append(t.Context(), &offline.Record{ID: fmt.Sprintf("p%03d", i), EventTime: at, ArrivalTime: at,
			Values: []offline.Value{offline.String("order"), offline.String("other"), offline.Int64(1), offline.Float64(score), {}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.log.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	round := selectRound{from: w.now.Add(-24 * time.Hour), to: w.now, dry: true}
	none := 0.0
	choose := func(in selectRequest) *selected {
		t.Helper()
		in.RandomShare = &none
		o, err := w.project().selectBy(&in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := w.desk.selectTasks(t.Context(), w.project(), o, round)
		if err != nil {
			t.Fatalf("%s: %v", in.Strategy, err)
		}
		return out
	}
	for strategy, want := range map[selection.Strategy]string{selection.Margin: "p029 p030", selection.Entropy: "p029 p030", selection.LeastConfidence: "p029 p030"} {
		out := choose(selectRequest{Strategy: string(strategy), Count: 2})
		got := []string{out.Chosen[0].ID, out.Chosen[1].ID}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("%s chose %v, want %s", strategy, got, want)
		}
	}
	for _, strategy := range []selection.Strategy{selection.VoteEntropy, selection.ConsensusKL} {
		if out := choose(selectRequest{Strategy: string(strategy), Count: 1}); out.Chosen[0].ID != "p010" || out.Left.Alone != 20 {
			t.Errorf("%s chose %+v of %+v", strategy, out.Chosen, out.Left)
		}
	}
	for _, strategy := range []selection.Strategy{selection.KCenter, selection.Gradient, selection.Badge, selection.Random} {
		if out := choose(selectRequest{Strategy: string(strategy), Count: 5}); len(out.Chosen) != 5 {
			t.Errorf("%s chose %+v", strategy, out.Chosen)
		}
	}
	where := `amount >= 500 and answer == "accept"`
	if out := choose(selectRequest{Strategy: "margin", Count: 1, Where: &where}); out.Chosen[0].ID != "p050" || out.Left.Filtered != 50 {
		t.Errorf("where: %+v", out)
	}
	faulty := `missing > 3`
	if out := choose(selectRequest{Count: 1, Where: &faulty}); len(out.Chosen) != 0 || out.Left.Faulty != 60 || out.Left.Fault == "" {
		t.Errorf("where that cannot be computed: %+v", out.Left)
	}
}

// collecting is a collector that can fail.
type collecting struct {
	*groundtruth.Collector
	fail error
}

func (c *collecting) Submit(ctx context.Context, items []groundtruth.Feedback) ([]groundtruth.Result, error) {
	if c.fail != nil {
		results := make([]groundtruth.Result, len(items))
		for i := range results {
			results[i] = groundtruth.Result{Err: c.fail, Retryable: true}
		}
		return results, nil
	}
	return c.Collector.Submit(ctx, items)
}

// outcomes are the versions of feedback in the log, in order: id, kind and value.
func (w *labelWorld) outcomes() (all []string) {
	w.t.Helper()
	scan, err := w.log.Scan(w.t.Context(), offline.Query{Stream: groundtruth.OutcomeStream, Versions: offline.AllVersions, Columns: []string{"feedback_id", "prediction_id", "kind", "value_type", "value_number", "source"}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer scan.Close()
	type line struct {
		seq  uint64
		text string
	}
	var lines []line
	for scan.Next() {
		r := scan.Record()
		value := r.Values[3].Text()
		if !r.Values[4].IsNull() {
			value = fmt.Sprint(r.Values[4].Float64() != 0)
		}
		lines = append(lines, line{r.Sequence, strings.Join([]string{r.Values[0].Text(), r.Values[1].Text(), r.Values[2].Text(), value, r.Values[5].Text()}, " ")})
	}
	slices.SortFunc(lines, func(a, b line) int { return int(a.seq) - int(b.seq) })
	for _, l := range lines {
		all = append(all, l.text)
	}
	return all
}

// TestTold: what is finished is told once, changed and taken back as corrections, whatever
// ends the process.
func TestTold(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decide("a", w.now.Add(-time.Hour), 0.6, 640)
	w.decide("b", w.now.Add(-time.Hour), 0.4, 20)
	round, _ := w.desk.due(w.project(), w.now)
	if _, err := w.desk.selectTasks(t.Context(), w.project(), w.project().Select, round); err != nil {
		t.Fatal(err)
	}
	var to *collecting
	var teller *labelTeller
	start := func() {
		t.Helper()
		c, err := groundtruth.OpenCollector(t.Context(), groundtruth.Options{Log: w.log, Now: func() time.Time { return w.now }})
		if err != nil {
			t.Fatal(err)
		}
		to = &collecting{Collector: c}
		if teller, err = newLabelTeller(t.Context(), w.desk, to, commandLogger(os.Stderr)); err != nil {
			t.Fatal(err)
		}
	}
	tell := func(want ...string) {
		t.Helper()
		for range 2 { // again changes nothing
			if err := teller.tell(t.Context()); err != nil && to.fail == nil {
				t.Fatal(err)
			}
		}
		if got := w.outcomes(); !slices.Equal(got, want) {
			t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	annotate := func(task, label string) {
		t.Helper()
		w.now = w.now.Add(time.Second)
		if _, err := w.desk.store.Submit(t.Context(), labeling.Submission{Project: "review", Task: task, Annotator: "anna", Value: labeling.Choose(label)}); err != nil {
			t.Fatal(err)
		}
	}
	start()
	if _, err := w.desk.store.Lease(t.Context(), "review", "anna", 2); err != nil {
		t.Fatal(err)
	}
	tell()
	annotate("a", "fraud")
	first := "task:review/a a label true reviewer"
	tell(first)

	annotate("a", "genuine")
	annotate("b", "fraud")
	to.fail = groundtruth.ErrUnavailable
	tell(first)
	w.restart() // killed before the collector took it
	start()
	changed, second := "task:review/a a correction false reviewer", "task:review/b b label true reviewer"
	tell(first, changed, second)
	w.restart()
	start()
	tell(first, changed, second)

	w.now = w.now.Add(time.Second)
	if _, err := w.desk.store.Undo(t.Context(), "review", "anna", ""); err != nil {
		t.Fatal(err)
	}
	w.restart() // killed before it was told
	start()
	back := "task:review/b b correction null reviewer"
	tell(first, changed, second, back)
	annotate("b", "fraud")
	all := []string{first, changed, second, back, "task:review/b b correction true reviewer"}
	tell(all...)

	// A reviewer who decides otherwise and thinks better of it, again and again: what the
	// annotator said counts each time, also when that was told in the same words before.
	for round := range 3 {
		w.now = w.now.Add(time.Second)
		if _, err := w.desk.store.Review(t.Context(), labeling.Submission{Project: "review", Task: "b", Annotator: "rex", Value: labeling.Choose("genuine")}); err != nil {
			t.Fatal(err)
		}
		all = append(all, "task:review/b b correction false reviewer")
		tell(all...)
		if round == 1 {
			w.restart()
			start()
		}
		if _, err := w.desk.store.Reopen(t.Context(), "review", "b", "rex"); err != nil {
			t.Fatal(err)
		}
		all = append(all, "task:review/b b correction true reviewer")
		tell(all...)
	}
}

// TestToldAsItIs: what could not be stored is not told over what the task says since.
func TestToldAsItIs(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decide("a", w.now.Add(-time.Hour), 0.6, 640)
	round, _ := w.desk.due(w.project(), w.now)
	if _, err := w.desk.selectTasks(t.Context(), w.project(), w.project().Select, round); err != nil {
		t.Fatal(err)
	}
	taker := &scripted{failing: 2}
	teller, err := newLabelTeller(t.Context(), w.desk, taker, commandLogger(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.desk.store.Lease(t.Context(), "review", "anna", 1); err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"fraud", "genuine"} {
		if _, err := w.desk.store.Submit(t.Context(), labeling.Submission{Project: "review", Task: "a", Annotator: "anna", Value: labeling.Choose(label)}); err != nil {
			t.Fatal(err)
		}
		if err := teller.tell(t.Context()); err == nil {
			t.Fatal("what the collector did not store is no error")
		}
	}
	if err := teller.tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []groundtruth.Value{groundtruth.Bool(true), groundtruth.Bool(false), groundtruth.Bool(false)}; !slices.Equal(taker.said, want) {
		t.Errorf("told %v, want %v", taker.said, want)
	}
}

// TestToldOnAnEarlierClock: a label that a crash kept from being told is told, also when the
// clock of a replay that had ended begins earlier at the next start.
func TestToldOnAnEarlierClock(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	w.decide("a", w.now.Add(-time.Hour), 0.6, 640)
	round, _ := w.desk.due(w.project(), w.now)
	if _, err := w.desk.selectTasks(t.Context(), w.project(), w.project().Select, round); err != nil {
		t.Fatal(err)
	}
	if _, err := w.desk.store.Lease(t.Context(), "review", "anna", 1); err != nil {
		t.Fatal(err)
	}
	begin := w.now
	w.now = begin.Add(2 * time.Hour)
	if _, err := w.desk.store.Submit(t.Context(), labeling.Submission{Project: "review", Task: "a", Annotator: "anna", Value: labeling.Choose("fraud")}); err != nil {
		t.Fatal(err)
	}
	if last, err := lastTime(t.Context(), w.log); err != nil || last.Before(w.now) {
		t.Errorf("without a server it is %v, %v; anna answered at %v", last, err, w.now)
	}
	w.restart()
	w.now = begin
	c, err := groundtruth.OpenCollector(t.Context(), groundtruth.Options{Log: w.log, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	teller, err := newLabelTeller(t.Context(), w.desk, c, commandLogger(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	if err := teller.tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.outcomes(); !slices.Equal(got, []string{"task:review/a a label true reviewer"}) {
		t.Errorf("told %v", got)
	}
}

// scripted stores nothing of the first so many pieces of feedback.
type scripted struct {
	failing int
	said    []groundtruth.Value
}

func (c *scripted) Submit(_ context.Context, items []groundtruth.Feedback) ([]groundtruth.Result, error) {
	results := make([]groundtruth.Result, len(items))
	for i := range items {
		c.said = append(c.said, items[i].Value)
		if results[i].Status = groundtruth.StatusAccepted; len(c.said) <= c.failing {
			results[i] = groundtruth.Result{Err: groundtruth.ErrUnavailable, Retryable: true}
		}
	}
	return results, nil
}

func TestLabelingMistakes(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"key", "guide:", "guid:", "labeling.yaml:4:5: labeling.review.guid: unknown key; did you mean guide?"},
		{"decision", "decision: order", "decision: ordre", `labeling.review.decision: there is no decision "ordre"; did you mean order?`},
		{"strategy", "strategy: margin", "strategy: best", `labeling.review.select.strategy: "best" is none of`},
		{"count", "count: 6", "count: 0", "labeling.review.select.count: needs a whole number from 1"},
		{"every", "every: 1d", "every: daily", "labeling.review.select.every: needs a duration"},
		{"value", "genuine: false}", "honest: false}", `labeling.review.feedback.values.honest: "honest" is no label`},
		{"share", "random_share: 0.5", "random_share: 2", "random_share: needs a number from 0 to 1"},
		{"where", "window: 1d", `window: 1d, where: "amount >"`, "labeling.review.select.where: unexpected token"},
		{"twice", "name: genuine, key: g", "name: fraud, key: g", `"fraud" is that of labels[0]`},
		{"positive", "fraud: true, ", "", "positive has to say which label"},
		{"slice", "strategy: margin", "strategy: impact", "strategy impact needs it"},
		{"function", "when: amount > 500", "when: amount >", "labeling.review.functions[0].when: needs a condition"},
		{"top", "labeling:\n", "labelling:\n", "labelling: unknown key; did you mean labeling?"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "labeling.yaml")
			if err := os.WriteFile(file, []byte(strings.Replace(labelingText, test.old, test.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := loadLabeling([]string{file}, []string{"order"})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "labeling.yaml:") {
				t.Errorf("%v, want %s", err, test.want)
			}
			if errs, ok := err.(definition.Errors); !ok || len(errs) == 0 {
				t.Errorf("%T", err)
			}
		})
	}
}

// TestLabelingSettles: feedback takes the kind of the label that it is for, and a value that
// would never count is a mistake.
func TestLabelingSettles(t *testing.T) {
	load := func(text string) *labelingProject {
		file := filepath.Join(t.TempDir(), "labeling.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		all, err := loadLabeling([]string{file}, []string{"order"})
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	outcome := []*groundtruth.Definition{{Name: "fraud", Decision: "order", Outcome: "is_fraud", Kind: groundtruth.KindOutcome, Type: groundtruth.TypeBool}}
	p := load(labelingText)
	if err := p.settle(outcome); err != nil || p.Feedback.Kind != groundtruth.KindOutcome || p.Positive != "fraud" {
		t.Errorf("%v, %+v", err, p.Feedback)
	}
	p = load(labelingText)
	if err := p.settle(nil); err != nil || p.Feedback.Kind != groundtruth.KindLabel {
		t.Errorf("%v, %+v", err, p.Feedback)
	}
	p = load(strings.Replace(labelingText, "genuine: false}", `genuine: "no"}`, 1))
	if err := p.settle(outcome); err == nil || !strings.Contains(err.Error(), "feedback.values.genuine: is a class, and label fraud takes a bool") {
		t.Errorf("%v", err)
	}
	p = load(strings.Replace(labelingText, "source: reviewer", "source: reviewer, kind: user", 1))
	if err := p.settle(outcome); err == nil || !strings.Contains(err.Error(), "feedback.kind: user counts for no label") {
		t.Errorf("%v", err)
	}
	outcome[0].Sources = []groundtruth.Source{{Name: "chargeback", Priority: 2}}
	p = load(labelingText)
	if err := p.settle(outcome); err == nil || !strings.Contains(err.Error(), `feedback.source: "reviewer" counts for no label`) {
		t.Errorf("%v", err)
	}
	outcome[0].Sources = append(outcome[0].Sources, groundtruth.Source{Name: groundtruth.AnySource})
	if err := p.settle(outcome); err != nil {
		t.Error(err)
	}
}

// TestDoubtsWithoutScores: what a prediction without a score says is no reason to doubt who
// agrees with it.
func TestDoubtsWithoutScores(t *testing.T) {
	w := newLabelWorld(t, labelingText)
	var tasks []labeling.Task
	for i := range 40 {
		task := labeling.Task{ID: fmt.Sprint(i), Data: []byte("{}")}
		task.Prediction = &labeling.Prediction{Model: "imported", Value: labeling.Choose("fraud")}
		if i >= 20 {
			task.Prediction.Score = 0.5 + float64(i)/100
		}
		tasks = append(tasks, task)
	}
	if _, err := w.desk.store.Add(t.Context(), "review", tasks); err != nil {
		t.Fatal(err)
	}
	var said []labeling.Imported
	for i := range tasks {
		label := "fraud"
		if i >= 30 && i%2 == 0 {
			label = "genuine"
		}
		said = append(said, labeling.Imported{Submission: labeling.Submission{Project: "review", Task: tasks[i].ID, Annotator: "anna", Value: labeling.Choose(label)}})
	}
	if _, err := w.desk.store.Import(t.Context(), said); err != nil {
		t.Fatal(err)
	}
	report, err := w.desk.doubts(w.project(), 100, true, quality.Options{})
	if err != nil || report.Unscored != 20 || report.Annotations != 20 {
		t.Fatalf("%+v, %v", report, err)
	}
}

// TestRawRows: what somebody said is a row, with data as it came.
func TestRawRows(t *testing.T) {
	rows := rowsOf("review", &labeling.TaskView{Status: labeling.StatusDone, Task: labeling.Task{ID: "a", Data: json.RawMessage(`{"prediction_id":"a","x":1.50}`)},
		Annotations: []labeling.Annotation{{Annotator: "anna", Kind: labeling.KindAnnotation, Value: labeling.Choose("fraud"), Comment: "<script>"}, {Annotator: "ben", Kind: labeling.KindPostpone}}})
	text, err := json.Marshal(rows)
	if err != nil || len(rows) != 1 || rows[0].PredictionID != "a" || !strings.Contains(string(text), `"data":{"prediction_id":"a","x":1.50}`) || strings.Contains(string(text), "<script>") {
		t.Errorf("%s, %v", text, err)
	}
}
