// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// told is an accepted piece of feedback of a random history.
type told struct {
	Feedback
	event, arrival int64
	order          int
}

// history is a random one, with all it takes to join it slowly.
type history struct {
	*world
	r           *rand.Rand
	label       *Definition
	predictions []prediction
	told        []told
	sent        []Feedback
}

// slow joins as of an instant in the obvious way: for each prediction it looks at every
// version of every piece of feedback.
func (h *history) slow(asOf int64) map[string]Label {
	labels := map[string]Label{}
	for _, p := range h.predictions {
		if p.arrival > asOf || p.decision != h.label.Decision {
			continue
		}
		var about []told
		for i, v := range h.told {
			if v.arrival <= asOf && !h.replaced(i, asOf) && v.Name == h.label.Outcome && h.isAbout(&v, &p, asOf) {
				about = append(about, v)
			}
		}
		labels[p.id] = h.slowLabel(&p, about, asOf)
	}
	return labels
}

// replaced tells whether there is a later version.
func (h *history) replaced(i int, asOf int64) bool {
	for _, later := range h.told[i+1:] {
		if later.ID == h.told[i].ID && later.arrival <= asOf {
			return true
		}
	}
	return false
}

func (h *history) isAbout(v *told, p *prediction, asOf int64) bool {
	window := h.label.Window.Microseconds()
	if v.PredictionID != "" {
		return v.PredictionID == p.id && v.event >= p.time-24*3600*second && v.event <= p.time+window
	}
	if p.customer == "" || v.Entity["customer_id"] != p.customer || v.event < p.time || v.event > p.time+h.label.Within.Microseconds() {
		return false
	}
	for _, other := range h.predictions {
		nearer := other.time > p.time || (other.time == p.time && other.id > p.id)
		if other.decision == p.decision && other.customer == p.customer && other.arrival <= asOf && nearer && other.time <= v.event {
			return false
		}
	}
	return true
}

func (h *history) slowLabel(p *prediction, about []told, asOf int64) Label {
	priority := map[string]int{"chargeback": 10, "analyst": 5, "customer": 5, "stranger": 1, "": 1}
	var kept []told
	values := map[string]bool{}
	for _, v := range about {
		if v.Value.Type == TypeBool && (v.Kind == KindOutcome || v.Kind == KindCorrection) {
			kept = append(kept, v)
			values[v.Value.String()] = true
		}
	}
	sort.SliceStable(kept, func(i, j int) bool {
		a, b := kept[i], kept[j]
		if priority[a.Source] != priority[b.Source] {
			return priority[a.Source] > priority[b.Source]
		}
		if a.event != b.event {
			return a.event > b.event
		}
		return a.order > b.order
	})
	end := p.time + h.label.Window.Microseconds()
	l := Label{Mature: asOf > end, Candidates: len(kept), Contradicted: len(values) > 1}
	switch {
	case len(kept) > 0:
		b := kept[0]
		l.Status, l.Value, l.Time, l.Known, l.Source, l.FeedbackID, l.Weight = Observed, b.Value, b.event, b.arrival, b.Source, b.ID, b.Weight
	case asOf > end && h.label.Silence == SilenceNegative:
		l.Status, l.Value, l.Time, l.Known, l.Weight = Silent, Bool(false), end, end, 1
	case asOf > end:
		l.Status = Unknown
	}
	return l
}

// step does something at random.
func (h *history) step() {
	r := h.r
	h.clock.at += int64(r.IntN(4)) * second / 2
	if r.IntN(3) == 0 {
		n := len(h.predictions)
		p := prediction{id: fmt.Sprintf("p%d", (n*7919)%10007), decision: pick(r, "payment", "payment", "payment", "login"), model: pick(r, "m1", "m2"),
			customer: pick(r, "", "ann", "bob", "cy"), time: h.clock.at - pick(r, 0, 0, 0, second, 40*second), arrival: h.clock.at}
		h.predictions = append(h.predictions, p)
		h.predict(p)
		return
	}
	var items []Feedback
	for range 1 + r.IntN(3) {
		items = append(items, h.feedback())
	}
	for i, result := range h.submit(items...) {
		if result.Status != StatusAccepted {
			continue
		}
		f := items[i]
		if err := f.check(); err != nil {
			h.t.Fatal(err)
		}
		f.ID = result.FeedbackID
		v := told{Feedback: f, event: f.EventTime, arrival: h.clock.at, order: len(h.told)}
		if v.event == 0 {
			v.event = h.clock.at
		}
		h.told = append(h.told, v)
		h.sent = append(h.sent, items[i])
		h.sent[len(h.sent)-1].ID = result.FeedbackID
	}
}

// feedback is of every kind: about predictions there are and there will be, late, early,
// repeated, corrected, withdrawn, of the wrong name or type.
func (h *history) feedback() Feedback {
	r := h.r
	if len(h.sent) > 0 && r.IntN(4) == 0 {
		f := h.sent[r.IntN(len(h.sent))]
		if r.IntN(4) > 0 {
			f.Kind, f.Value = KindCorrection, pick(r, Bool(true), Bool(false), Value{})
			f.Reason = fmt.Sprint(r.IntN(1000))
		}
		return f
	}
	f := Feedback{Name: pick(r, "is_fraud", "is_fraud", "is_fraud", "other"), Kind: pick(r, 0, KindOutcome, KindOutcome, KindLabel, KindCorrection),
		Value: pick(r, Bool(true), Bool(false)), Source: pick(r, "chargeback", "analyst", "customer", "stranger", ""), Weight: 2, Weighted: r.IntN(2) == 0}
	if f.Name == "other" {
		f.Value = pick(r, Bool(true), Number(3), Text("x"))
	}
	if r.IntN(2) == 0 {
		f.ID = fmt.Sprintf("f%d", r.IntN(2000))
	}
	if r.IntN(3) > 0 {
		f.EventTime = h.clock.at - int64(r.IntN(250))*second/2
		if r.IntN(5) == 0 {
			f.EventTime = h.clock.at - 24*3600*second + int64(r.IntN(20))*second // about a day early
		}
	}
	if r.IntN(3) == 0 {
		f.EventTime = h.clock.at - int64(r.IntN(60))*second/2
		f.Entity = map[string]string{"customer_id": pick(r, "ann", "bob", "cy"), "more": "x"}
		return f
	}
	f.PredictionID = fmt.Sprintf("p%d", (r.IntN(len(h.predictions)+5)*7919)%10007)
	if r.IntN(20) == 0 {
		f.PredictionID = "nobody"
	}
	return f
}

// agree compares labels of a join with the slow ones.
func (h *history) agree(what string, got map[string]Row, want map[string]Label, pendingToo bool) {
	h.t.Helper()
	for id, w := range want {
		g, ok := got[id]
		if !ok && !pendingToo && w.Status == Pending {
			continue
		}
		if !ok || g.Label != w {
			h.t.Fatalf("%s, prediction %s:\n got %+v (%t)\nwant %+v", what, id, g.Label, ok, w)
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			h.t.Fatalf("%s: prediction %s should not be there", what, id)
		}
	}
}

// TestRandomHistories: the join as of any instant, and the live join after any poll,
// restart and compaction, are what the slow join says.
func TestRandomHistories(t *testing.T) {
	seeds := 5
	if testing.Short() {
		seeds = 2
	}
	if more, err := strconv.Atoi(os.Getenv("MILLRACE_GROUNDTRUTH_SEEDS")); err == nil {
		seeds = more
	}
	var met [5]atomic.Int64
	t.Run("seed", func(t *testing.T) {
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel() // they wait for the disk
				for i, n := range randomHistory(t, seed, 200) {
					met[i].Add(n)
				}
			})
		}
	})
	for i, what := range []string{"joined", "moved", "out of the window", "contradicted", "matured"} {
		if met[i].Load() == 0 {
			t.Errorf("nothing was ever %s: the histories do not prove much", what)
		}
	}
}

// randomHistory returns what live joins have met, as follower has it.
func randomHistory(t *testing.T, seed uint64, steps int) (met [5]int64) {
	r := rand.New(rand.NewPCG(seed, 6))
	label := fraud()
	label.Silence = pick(r, SilenceNegative, SilenceUnknown)
	if label.Silence == SilenceUnknown {
		label.Negative = Value{}
	}
	h := &history{world: newWorld(t, label), r: r, label: label}
	options := LiveOptions{Label: label, Late: 1000 * time.Second, OrphanAge: time.Hour, Columns: []string{"features_vector", "embedding"}}
	often, seldom := h.follow(options), h.follow(options)
	fed := h.follow(LiveOptions{Label: label, Late: 1000 * time.Second, OrphanAge: time.Hour, LabelsOnly: true})
	for range steps {
		h.step()
		switch r.IntN(20) {
		case 0, 1, 2, 3:
			often.poll()
			h.agree("live", often.rows, h.slow(h.clock.at), false)
			fed.feed()
			h.agreeObserved(fed.rows, h.slow(h.clock.at))
		case 4:
			often.reopen()
		case 5:
			seldom.poll()
		case 6:
			h.check(h.log.Compact(t.Context()))
		case 7:
			h.reopenLog(often, seldom, fed)
		case 8:
			asOf := h.clock.at
			h.agree("join", h.join(JoinOptions{Label: label, AsOf: asOf}), h.slow(asOf), true)
		}
	}
	h.clock.at += 90 * second
	for _, f := range []*follower{often, seldom} {
		f.poll()
		h.agree("live at the end", f.rows, h.slow(h.clock.at), false)
	}
	fed.feed()
	h.agreeObserved(fed.rows, h.slow(h.clock.at))
	for range 8 {
		asOf := begin + r.Int64N(h.clock.at-begin+second)
		h.agree("join as of earlier", h.join(JoinOptions{Label: label, AsOf: asOf}), h.slow(asOf), true)
	}
	h.partOfTable()
	for _, f := range []*follower{often, seldom} {
		f.count()
		for i, n := range f.met {
			met[i] += n
		}
	}
	return met
}

// agreeObserved wants the labels that feedback gives, and no others.
func (h *history) agreeObserved(got map[string]Row, want map[string]Label) {
	h.t.Helper()
	for id, l := range want {
		if r := got[id]; (l.Status == Observed || r.Label.Status == Observed) && (r.PredictionID != id || r.Label.Status != l.Status || r.Label.Value != l.Value || r.Label.Known != l.Known) {
			h.t.Fatalf("fed: prediction %s is %+v, not %+v", id, r, l)
		}
	}
}

// reopenLog closes the log and opens it again.
func (h *history) reopenLog(all ...*follower) {
	h.close()
	h.open()
	for _, f := range all {
		f.reopen()
	}
}

// partOfTable: a range of times, and options that leave rows out, change no label.
func (h *history) partOfTable() {
	from := begin + h.r.Int64N(h.clock.at-begin)
	to := from + h.r.Int64N(h.clock.at-from+1)
	if from == to {
		to++
	}
	want := h.slow(h.clock.at)
	for _, p := range h.predictions {
		if l := want[p.id]; p.time < from || p.time >= to || p.model != "m1" || !l.Mature || (l.Status != Observed && l.Status != Silent) {
			delete(want, p.id)
		}
	}
	got := h.join(JoinOptions{Label: h.label, From: from, To: to, Model: "m1", MatureOnly: true, LabelledOnly: true})
	h.agree("part of the table", got, want, true)
}
