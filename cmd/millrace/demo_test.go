// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/training"
)

func TestDemoFlags(t *testing.T) {
	for text, want := range map[string]float64{"1d/2s": 43200, "12h/1s": 43200, "3600x": 3600, "max": 0, "1d/0s": -1, "x/2s": -1, "9999d/1ns": -1, "fast": -1} {
		if got, err := parseDemoSpeed(text); want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("speed %q is %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]demoEnd{"": {}, "promoted": {promoted: true}, "30 days": {days: 30}, "1 day": {days: 1}, "7d": {days: 7}} {
		if got, err := parseDemoEnd(text); err != nil || got != want {
			t.Errorf("end %q is %v, %v", text, got, err)
		}
	}
	if _, err := parseDemoEnd("soon"); err == nil {
		t.Error("an end that is none is taken")
	}
	wants(t, saying(t, exitUsage, "demo", "--customers", "3", "--speed", "fast", "--until", "soon", "--dir", t.TempDir()), "--speed", "--until", "--customers")
}

// TestDemoFolder: nothing of others is written over, and a folder stays the world it is.
func TestDemoFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	wants(t, saying(t, exitFailure, "demo", "--dir", dir), "not empty")
	dir = t.TempDir() // of which a crash kept the first file from its name
	writeText(t, filepath.Join(dir, demoFile+".new"), "{")
	d := &demo{options: &demoOptions{dir: dir, seed: 7}}
	if err := d.claim(); err != nil || !d.fresh || d.world.Seed != 7 {
		t.Errorf("%+v, %v", d.world, err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, demoFile), []byte(`{"seed": 1, "customers": 1000, "start": "2026-01-05T00:00:00Z", "history_days": 50}`), 0o644); err != nil {
		t.Fatal(err)
	}
	wants(t, saying(t, exitUsage, "demo", "--dir", dir, "--seed", "2"), "--seed", "goes on with 1")
}

// TestDemoWorld: a reader that begins later yields the same payments, and people know the
// truth of those that were played.
func TestDemoWorld(t *testing.T) {
	text, err := demoFiles.ReadFile("demoproject/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := definition.Parse("features.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Source("payments")
	d := &demo{world: demoWorld{Seed: 3, Customers: 300, Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), History: 5}}
	read := func(from time.Time, days int) (ids []int64, frauds map[int64]bool) {
		r, err := d.openWorld(s, from.UnixMicro(), &d.truth)
		if err != nil {
			t.Fatal(err)
		}
		frauds = map[int64]bool{}
		var b column.Batch
		for range days {
			if more, err := r.Next(&b); err != nil || !more {
				t.Fatal(more, err)
			}
			id, fraud := b.Column("transaction_id"), b.Column("is_fraud")
			for i := range b.Rows {
				ids = append(ids, id.Ints[i])
				frauds[id.Ints[i]] = fraud.Number(i) != 0
			}
		}
		return ids, frauds
	}
	all, frauds := read(d.world.Start, 12)
	late, _ := read(d.world.Start.AddDate(0, 0, 7).Add(6*time.Hour), 5)
	if len(late) == 0 || len(late) >= len(all) || late[len(late)-1] != all[len(all)-1] || late[0] != all[len(all)-len(late)] {
		t.Errorf("%d payments from day 8 on, of %d", len(late), len(all))
	}
	n := 0
	for id, fraud := range frauds {
		if d.truth.fraud(id) != fraud {
			t.Errorf("payment %d: a fraud is %v", id, fraud)
		}
		if fraud {
			n++
		}
	}
	if n < 5 {
		t.Errorf("%d frauds among %d payments", n, len(all))
	}
}

func TestDemoTruthIsBounded(t *testing.T) {
	var truth demoTruth
	for i := range int64(3 * truthMax) {
		truth.addFraud(i, i)
	}
	if n := len(truth.mu.frauds); n > truthMax || !truth.fraud(3*truthMax-1) || truth.fraud(0) {
		t.Errorf("%d are known; the last one %v, the first %v", n, truth.fraud(3*truthMax-1), truth.fraud(0))
	}
}

// TestDemoStory: what was told is told once, also after a crash in the middle of a line.
func TestDemoStory(t *testing.T) {
	path := filepath.Join(t.TempDir(), demoStoryFile)
	var s demoStory
	tell := func(key string) bool {
		t.Helper()
		fresh, err := s.add(storyEvent{Key: key, Kind: storyAlarm, Time: time.Unix(1, 0).UTC()})
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	if err := s.open(path); err != nil {
		t.Fatal(err)
	}
	if !tell("a") || !tell("b") || tell("a") {
		t.Error("told twice, or not at all")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-4], 0o644); err != nil {
		t.Fatal(err)
	}
	s = demoStory{}
	if err := s.open(path); err != nil {
		t.Fatal(err)
	}
	if tell("a") || !tell("b") || len(s.all()) != 2 {
		t.Errorf("after a crash: %+v", s.all())
	}
	for i := range 3 * storyEventsMax {
		tell(strconv.Itoa(i))
	}
	if n := len(s.all()); n > 2*storyEventsMax || n != len(s.mu.known) {
		t.Errorf("%d events and %d keys are held", n, len(s.mu.known))
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// demoSummary is the line at the end.
var demoSummary = regexp.MustCompile(`^demo: (\d+) days, .* alarm (-?\d+) days after the change; AUC ([0-9.]+) before, ([0-9.]+) at the change, ([0-9.]+) after; version (\d+) promoted`)

// TestDemoHeadless runs the whole loop, kills it twice at some moment, and starts it again:
// quality falls when the world changes, an alarm follows, a challenger is promoted, and
// quality is back.
func TestDemoHeadless(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole loop takes half a minute")
	}
	dir := filepath.Join(t.TempDir(), "loop")
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("moments of kill -9 are drawn with seed %d", seed)
	h := &headlessDemo{t: t, dir: dir}
	t.Cleanup(h.tellOnFailure)
	for i := range 2 {
		h.start(time.Duration(500+random.IntN(5000))*time.Millisecond, fmt.Sprintf("start %d", i+1))
	}
	if err := h.start(0, "last start"); err != nil {
		t.Fatalf("the demo: %v", err)
	}
	m := demoSummary.FindStringSubmatch(h.out.String())
	if m == nil {
		t.Fatalf("the summary is %q", h.out.String())
	}
	number := func(i int) float64 {
		v, err := strconv.ParseFloat(m[i], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if before, at, after := number(3), number(4), number(5); before < at+0.05 || after < at+0.1 {
		t.Errorf("AUC is %v before the change, %v at it and %v after the promotion", before, at, after)
	}
	if days := number(2); days < 1 || days > 40 {
		t.Errorf("the alarm is %v days after the change", days)
	}
	h.checkRecords(int64(number(6)))
	t.Run("in a browser", func(t *testing.T) { h.followInBrowser(t, m[6]) })
}

type headlessDemo struct {
	t    *testing.T
	dir  string
	out  bytes.Buffer
	errs bytes.Buffer
}

// start runs the demo, and kills it after a while unless that is 0.
func (h *headlessDemo) start(kill time.Duration, what string) error {
	h.t.Helper()
	program, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	ctx := context.Background()
	if kill > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, kill) // which kills it, as kill -9 does
		defer cancel()
	}
	h.out.Reset()
	began := time.Now()
	cmd := exec.CommandContext(ctx, program, "demo", "--headless", "--until", "promoted", "--dir", h.dir, "--customers", "500", "--timeout", "5m")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stdout, cmd.Stderr = &h.out, &h.errs
	err = cmd.Run()
	h.t.Logf("%s: %v after %v; %s", what, err, time.Since(began).Round(time.Millisecond), strings.TrimSpace(h.out.String()))
	return err
}

// checkRecords holds what is on record to what was said: each alarm is raised once, and the
// version was promoted for a run that an alarm started.
func (h *headlessDemo) checkRecords(version int64) {
	h.t.Helper()
	state := filepath.Join(h.dir, "state")
	alarms, err := readAlarms(state)
	if err != nil {
		h.t.Fatal(err)
	}
	raised := map[string]int{}
	for _, a := range alarms {
		if a.Change == string(monitor.Raised) {
			raised[a.ID]++
		}
	}
	if len(raised) == 0 {
		h.t.Error("no alarm is on record")
	}
	for id, n := range raised {
		if n > 1 {
			h.t.Errorf("alarm %s was raised %d times", id, n)
		}
	}
	all, err := readPromotions(state)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range all {
		if p.Version == version && p.Decision == decisionPromoted {
			if !strings.Contains(p.Run, demoRetrain) || p.By != "alarm" || raised[p.Alarm] == 0 {
				h.t.Errorf("version %d was promoted by run %s, by %s %s", version, p.Run, p.By, p.Alarm)
			}
			h.checkLearned(p.Run)
			h.checkTrail(&p)
			return
		}
	}
	h.t.Errorf("version %d is not among the promotions: %+v", version, all)
}

// learnedRow is what a row of a challenger's training set says of its label.
type learnedRow struct {
	Source string  `parquet:"label_source,optional"`
	Status string  `parquet:"label_status,optional"`
	Mature bool    `parquet:"mature,optional"`
	Part   string  `parquet:"part,optional"`
	Number float64 `parquet:"label_number,optional"`
	Fraud  bool    `parquet:"is_fraud,optional"`
}

// checkLearned reads what the challenger learned from: labels that people gave are in it, what
// has no outcome yet is not taken for genuine, and what judges is mature.
func (h *headlessDemo) checkLearned(run string) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "state", "pipelines")
	status, err := orchestrator.NewView(dir).Status(run)
	if err != nil {
		h.t.Fatal(err)
	}
	objects, err := artifact.Open(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	task := status.Task("outcomes")
	rows, err := parquet.ReadFile[learnedRow](filepath.Join(objects.Path(task.Outputs["dataset"].Digest), training.DataFile))
	if err != nil {
		h.t.Fatal(err)
	}
	people, early, past := int64(0), int64(0), int64(0)
	for i := range rows {
		r := &rows[i]
		if r.Fraud != (r.Number == 1) || r.Status != "observed" && r.Status != "silent" || !r.Mature && r.Status != "observed" || !r.Mature && r.Part == training.PartTest {
			h.t.Fatalf("row %d: %+v", i, r)
		}
		if r.Source == "reviewer" && r.Part != partNone {
			people++
		}
		if !r.Mature && r.Part != partNone {
			early++
		}
		if r.Source == historySource && r.Part == training.PartTrain {
			past++
		}
	}
	h.t.Logf("it learned from %d rows: %d labels of people, %d of them early", len(rows), people, early)
	if past == 0 || task.Values[fromPrefix+historySource] != past {
		h.t.Errorf("%d rows of history; the task says %v", past, task.Values)
	}
	if people == 0 || task.Values[demoReviewed] != people || task.Values["early"] != early {
		h.t.Errorf("%d labels of people, %d early ones; the task says %v", people, early, task.Values)
	}
}

// checkTrail: in the trail the promotion is behind the alarm that led to it.
func (h *headlessDemo) checkTrail(p *promotion) {
	h.t.Helper()
	all, err := (&auditTrail{state: filepath.Join(h.dir, "state")}).Entries(auditAll)
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Reverse(all)
	at := func(link string) int {
		return slices.IndexFunc(all, func(e console.Entry) bool { return e.Link == link })
	}
	alarm := at("/console/monitors/" + demoMonitor + "/alarms?id=" + url.QueryEscape(p.Alarm))
	if promoted := at("/console/audit/promotions/" + p.Run); alarm < 0 || promoted < alarm {
		h.t.Errorf("entry %d of the trail is the alarm, %d the promotion", alarm, promoted)
	}
}

// auditAll is more entries than a test has.
const auditAll = 100_000

// tellOnFailure logs what helps to find out why.
func (h *headlessDemo) tellOnFailure() {
	if !h.t.Failed() {
		return
	}
	h.t.Logf("standard error:\n%s", h.errs.String())
	for _, name := range []string{"demo.log", "state/alarms.jsonl", "state/promotions.jsonl", "state/story.jsonl"} {
		text, err := os.ReadFile(filepath.Join(h.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		h.t.Logf("%s (%v):\n%s", name, err, text[max(0, len(text)-8000):])
	}
}

// TestDemoTidy: the newest versions and lines are kept.
func TestDemoTidy(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1", "2", "30", "31", "notes"} {
		if err := os.MkdirAll(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeVersions(dir, 30); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 3 {
		t.Errorf("left are %v, %v", left, err)
	}
	path := filepath.Join(dir, "lines")
	text, err := newestLines(path, []byte("1\n2\n3\n4\n5\n6\n7\n"), 4)
	if err != nil || string(text) != "1\n2\n3\n4\n5\n6\n7\n" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err = newestLines(path, []byte("1\n2\n3\n4\n5\n6\n7\n"), 2); err != nil || string(text) != "6\n7\n" {
		t.Errorf("%q, %v", text, err)
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != "6\n7\n" {
		t.Errorf("the file has %q, %v", kept, err)
	}
}

// TestDemoHeadline holds what is said to what happened: an alarm that cleared by itself is
// not out, and a change that the model copes with is no loss of quality.
func TestDemoHeadline(t *testing.T) {
	began := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	d := &demo{world: demoWorld{Start: began}}
	if err := d.story.open(filepath.Join(t.TempDir(), demoStoryFile)); err != nil {
		t.Fatal(err)
	}
	defer d.story.close()
	for _, step := range []struct {
		day   int
		event storyEvent
		want  string
	}{
		{1, storyEvent{}, "all is well"},
		{15, storyEvent{Key: "pattern 1", Kind: storyPattern}, "outcomes will show it"},
		{24, storyEvent{Key: "alarm a", Kind: storyAlarm, Critical: true, Alarm: "a"}, "the alarm is out"},
		{25, storyEvent{Key: "alarm b", Kind: storyAlarm, Alarm: "b"}, "the alarm is out"},
		{26, storyEvent{Key: "cleared a", Kind: storyCleared}, "quality is back"},
		{27, storyEvent{Key: "alarm c", Kind: storyAlarm, Critical: true, Alarm: "c"}, "the alarm is out"},
		{30, storyEvent{Key: "promoted 2", Kind: storyPromotion}, "a better model is in service"},
		{31, storyEvent{Key: "cleared c", Kind: storyCleared}, "a better model is in service"},
		{40, storyEvent{Key: "recovery 2", Kind: storyRecovery}, "recovered"},
		{57, storyEvent{Key: "pattern 2", Kind: storyPattern}, "outcomes will show it"},
		{71, storyEvent{}, "outcomes will show it"},
		{72, storyEvent{}, "seen such frauds before"},
	} {
		now := began.AddDate(0, 0, step.day)
		if step.event.Time = now; step.event.Key != "" {
			if _, err := d.story.add(step.event); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.headline(now); !strings.Contains(got, step.want) {
			t.Errorf("day %d: %q does not say %q", step.day, got, step.want)
		}
	}
}

// TestDemoChapter: a promotion shortly before the world changes again is judged by the days
// between, if they are enough, and the story goes on with the next change then.
func TestDemoChapter(t *testing.T) {
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for _, promoted := range []int{20, 38, 39} {
		d := &demo{world: demoWorld{Start: start}}
		d.story.mu.known, d.story.mu.days = map[string]bool{}, map[int]storyDay{}
		tell := func(day int, kind string) {
			d.story.rememberLocked(storyEvent{Key: fmt.Sprint(kind, day), Time: start.AddDate(0, 0, day-1), Kind: kind, Critical: true})
		}
		tell(14, storyPattern)
		tell(16, storyAlarm)
		tell(promoted, storyPromotion)
		tell(42, storyPattern)
		tell(50, storyAlarm)
		for day := range 60 {
			d.story.day(day, 0, 0.9, 0.9)
		}
		c, ok := d.chapter()
		if enough := 42-promoted-1 >= demoRecoveryDays; !ok || (d.dayOf(c.change.Time) == 14) != enough || (c.promotion.Key != "") != enough {
			t.Errorf("promoted on day %d: the chapter is %+v", promoted, c)
			continue
		} else if !enough {
			continue
		}
		if _, _, _, known := c.quality(d); known != 42-promoted-1 {
			t.Errorf("promoted on day %d: %d days show it", promoted, known)
		}
		tell(51, storyRecovery)
		if c, ok := d.improved(); !ok || d.dayOf(c.change.Time) != 14 || c.recovery.Key == "" {
			t.Errorf("promoted on day %d: what improved is %+v", promoted, c)
		}
		if c, _ = d.chapter(); d.dayOf(c.change.Time) != 42 || c.alarm.Key == "" || c.recovery.Key != "" {
			t.Errorf("promoted on day %d: then the chapter is %+v", promoted, c)
		}
	}
}
