// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

// amountConfig is of a model that predicts a price.
func amountConfig() Config {
	return Config{
		Name: "price", Kind: Regression, Windows: []Duration{Duration(time.Hour), Duration(4 * time.Hour)}, LabelDelay: Duration(2 * time.Hour),
		Columns: []Column{{Name: "size"}}, Slices: []string{"town"}, SampleRows: 500,
	}
}

// amounts is a stream of predictions of a price; its fields say what changes.
type amounts struct {
	r     *rand.Rand
	count int
	// noise is how large errors are, 1 at first; inflation is by how much truth rises, and
	// bend by how much more where scores are high; larger is by how much sizes shift.
	noise, inflation, bend, larger float64
	names                          string
}

func newAmounts(seed uint64, names string) *amounts {
	return &amounts{r: rand.New(rand.NewPCG(seed, 3)), noise: 1, names: names}
}

func (w *amounts) next(at int64) (Prediction, float64) {
	w.count++
	size := 100 + 20*w.r.NormFloat64() + w.larger
	score := 3 * size
	label := score + w.inflation + w.bend*(size-100) + w.noise*0.1*size*w.r.NormFloat64() // larger errors of larger ones
	return Prediction{ID: fmt.Sprint(w.names, w.count), Time: at, Numbers: []float64{size}, Slices: []string{[]string{"a", "b"}[w.count%2]}, Score: score}, label
}

func amountReference(t *testing.T, c Config, rows int) Reference {
	t.Helper()
	w := newAmounts(1, "r")
	var predictions []Prediction
	var labels []float64
	for range rows {
		p, l := w.next(day0 - hour)
		predictions, labels = append(predictions, p), append(labels, l)
	}
	r, err := ReferenceOf(c, predictions, labels)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAmounts: nothing is wrong for eight hours, then one thing is. Alarms are of it, and none
// of quality before it.
func TestAmounts(t *testing.T) {
	const changes = 8
	for _, c := range []struct {
		name   string
		change func(w *amounts)
		want   []string // raised
		not    []string // never
	}{
		{"nothing", func(*amounts) {}, nil, []string{"concept", "estimated", "drift", "score", "online"}},
		{"noise", func(w *amounts) { w.noise = 1.8 }, []string{"concept:1h:mae", "concept:4h:mae", "online:1h:errors"}, []string{"drift", "score", "concept:4h:bias_by", "estimated"}},
		{"inflation", func(w *amounts) { w.inflation = 8 }, []string{"concept:4h:bias"}, []string{"drift", "score"}},
		{"bend", func(w *amounts) { w.bend = 0.5 }, []string{"concept:4h:bias_by_score"}, []string{"drift", "concept:4h:bias "}},
		{"larger", func(w *amounts) { w.larger = 15 }, []string{"drift:1h:size", "score:1h", "estimated:4h:mae"}, []string{"concept:4h:bias "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := amountConfig()
			w := newAmounts(13, "p")
			reports, tested := replay(t, config, amountReference(t, config, 2000), stream(w, 24, func(hour int) {
				if hour == changes {
					c.change(w)
				}
			}))
			raised := map[string]int64{}
			for _, f := range tested.Fired {
				raised[f.Subject+" "] = f.First
				if f.First < day0+changes*hour && !strings.HasPrefix(f.Subject, "missing") {
					t.Errorf("%s was raised before anything happened: %s", f.Subject, f.Reason)
				}
			}
			for _, subject := range c.want {
				if raised[subject+" "] == 0 {
					t.Errorf("%s was not raised, %v were", subject, raised)
				}
			}
			for subject := range raised {
				if i := slices.IndexFunc(c.not, func(not string) bool { return strings.HasPrefix(subject, not) }); i >= 0 {
					t.Errorf("%s was raised", subject)
				}
			}
			checkAmounts(t, reports)
		})
	}
}

// checkAmounts looks at what reports have, and reads them back from JSON.
func checkAmounts(t *testing.T, reports []Report) {
	t.Helper()
	matured := 0
	for i := range reports {
		r := &reports[i]
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var read Report
		if err := json.Unmarshal(data, &read); err != nil || read.Kind != Regression {
			t.Fatalf("%v: %s", err, data)
		}
		if again, err := json.Marshal(read); err != nil || string(again) != string(data) {
			t.Fatalf("%v: read back as\n%s\nof\n%s", err, again, data)
		}
		q := r.Quality
		if q == nil {
			continue
		}
		matured++
		if q.Labelled != q.Rows || q.Coverage != 1 || q.Positives != 0 || len(q.Tests) != 3 || len(q.Bins) != 10 || len(r.Slices) != 2 || len(read.Quality.Bins) != 10 || strings.Contains(string(data), "roc_auc") {
			t.Fatalf("%+v of %s", q, data)
		}
		for _, m := range estimate.AmountMetrics {
			if v, low, high := q.Values.Of(m), q.Low.Of(m), q.High.Of(m); !(low <= v && v <= high) {
				t.Errorf("%s is %v in %v to %v", m, v, low, high)
			}
		}
	}
	if matured == 0 {
		t.Error("no window matured")
	}
}

// TestAmountsEstimated: the estimate before labels meets what is realised where inputs shift,
// and is doubtful where scores leave the reference.
func TestAmountsEstimated(t *testing.T) {
	config := amountConfig()
	w := newAmounts(9, "p")
	reports, _ := replay(t, config, amountReference(t, config, 2000), stream(w, 24, func(hour int) {
		w.larger = 10 * float64(hour/12)
		if hour >= 16 {
			w.larger = 120
		}
	}))
	estimated := map[int64]*estimate.Estimate{}
	met, doubtful := 0, 0
	for i := range reports {
		r := &reports[i]
		switch {
		case r.Window != config.Windows[1]:
		case !r.Matured:
			estimated[r.Start] = r.Estimated
		case r.Start < day0+16*hour:
			e, v := estimated[r.Start], r.Quality.Values.Of(estimate.MAE)
			if met++; e.Unreliable || math.Abs(e.Values.Of(estimate.MAE)/v-1) > 0.12 || !(e.Low.Of(estimate.MAE) < e.High.Of(estimate.MAE)) {
				t.Errorf("%+v, and %v is realised", e, v)
			}
		default:
			if e := estimated[r.Start]; !e.Unreliable || !strings.Contains(strings.Join(e.Reasons, " "), "beyond the reference's") {
				t.Errorf("scores are far out, and %+v", e)
			}
			doubtful++
		}
	}
	if met < 3 || doubtful < 1 {
		t.Errorf("%d windows were compared, %d out of range", met, doubtful)
	}
}

// TestAmountsFalseAlarms counts windows in which a test of quality is sure by chance, whatever
// its effect. MILLRACE_SIMULATION=1 asks for more of it.
func TestAmountsFalseAlarms(t *testing.T) {
	sizes, draws := [][2]int{{60, 600}}, 800
	if os.Getenv("MILLRACE_SIMULATION") != "" {
		sizes, draws = [][2]int{{50, 500}, {50, 5000}, {200, 2000}, {1000, 20000}, {5000, 5000}}, 10000
	}
	for _, size := range sizes {
		draws := min(draws, max(500, 20_000_000/size[1]))
		r := newAmounts(uint64(size[0]), "")
		rows := func(n int) (scores, labels []float64) {
			for range n {
				p, l := r.next(1)
				scores, labels = append(scores, p.Score), append(labels, l)
			}
			return scores, labels
		}
		alarms := 0
		var of *estimate.Errors
		for i := range draws {
			if i%max(1, draws/500) == 0 { // a reference for a few windows
				var err error
				if of, err = estimate.NewErrors(rows(size[1])); err != nil {
					t.Fatal(err)
				}
			}
			shifts, _, err := of.Shifts(rows(size[0]))
			if err != nil {
				t.Fatal(err)
			}
			m := &Monitor{config: amountConfig()}
			m.config.EnsureDefaults()
			q := &Quality{}
			for _, s := range shifts {
				q.Tests = append(q.Tests, ConceptTest{Name: s.Name, Before: s.Before, Now: s.Now, P: s.P})
			}
			found := m.conceptFindings(due{}, q, "%.4g", func(*ConceptTest) bool { return true })
			if slices.ContainsFunc(found, func(f finding) bool { return f.bad }) {
				alarms++
			}
		}
		share, slack := float64(alarms)/float64(draws), 3.5*math.Sqrt(0.01/float64(draws))
		t.Logf("%v rows: %.2f %% of %d windows", size, 100*share, draws)
		if share > 0.015+slack || share < 0.005-slack {
			t.Errorf("%v rows: %.2f %% of windows alarm, want 0.5 to 1.5 %%", size, 100*share)
		}
	}
}

// TestAmountsRestart: a snapshot in the middle changes nothing, one of before there were
// amounts is refused, and so is what is no amount.
func TestAmountsRestart(t *testing.T) {
	c := amountConfig()
	c.RecalibrateRows = 400
	reference := amountReference(t, c, 1000)
	run := func(restart bool) string {
		m, err := New(c, reference)
		if err != nil {
			t.Fatal(err)
		}
		var all []Report
		w := newAmounts(5, "p")
		for i, e := range stream(w, 14, func(hour int) { w.noise = 1 + float64(hour)/5 }) {
			if restart && i%700 == 699 {
				data, err := m.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				if m, err = Restore(c, reference, data); err != nil {
					t.Fatal(err)
				}
			}
			reports, err := m.take(e)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, reports...)
		}
		return strings.Join(encoded(t, all), "\n")
	}
	if a, b := run(false), run(true); a != b || len(a) < 10_000 {
		t.Errorf("a restart changes what is found: %d and %d bytes", len(a), len(b))
	}
	m, err := New(c, reference)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	copy(data, "MRMON002")
	if _, err := Restore(c, reference, data); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), "another version") {
		t.Errorf("an old snapshot: %v", err)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), -1e300} {
		if _, err := m.ObserveOutcome(&Outcome{ID: "a", Label: bad, Time: day0}); !errors.Is(err, ErrEvent) {
			t.Errorf("label %v: %v", bad, err)
		}
	}
	if _, err := m.Observe(&Prediction{ID: "a", Time: day0, Numbers: []float64{1}, Slices: []string{"a"}, Score: 1e300}); !errors.Is(err, ErrEvent) {
		t.Errorf("a score of 1e300: %v", err)
	}
}

// TestAmountsConfig: what is of classes does not go with amounts.
func TestAmountsConfig(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"threshold: it is of labels":           func(c *Config) { c.Threshold = 0.5 },
		"positives_min: it is of labels":       func(c *Config) { c.PositivesMin = 10 },
		"cost_false_positive: it is of labels": func(c *Config) { c.CostFalsePositive = 1 },
		"cost_false_negative: it is of labels": func(c *Config) { c.CostFalseNegative = 1 },
		`kind: "ranking" is neither`:           func(c *Config) { c.Kind = "ranking" },
	} {
		c := amountConfig()
		change(&c)
		if _, err := New(c, Reference{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	c := amountConfig()
	r := amountReference(t, c, 100)
	r.Labels[3] = math.Inf(1)
	if _, err := New(c, r); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "the label of row 3 is +Inf") {
		t.Errorf("an infinite label: %v", err)
	}
	r = amountReference(t, c, 100)
	c.Kind = Binary
	if _, err := New(c, r); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "labels are 0 and 1") {
		t.Errorf("amounts as classes: %v", err)
	}
}
