// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

const (
	hour   = int64(time.Hour / time.Microsecond)
	minute = int64(time.Minute / time.Microsecond)
)

// day0 is when simulated streams begin, a whole number of weeks after 1970.
const day0 = 2500 * 7 * 24 * hour

func testConfig() Config {
	return Config{
		Name: "fraud", Windows: []Duration{Duration(time.Hour), Duration(4 * time.Hour)}, LabelDelay: Duration(2 * time.Hour),
		Columns: []Column{{Name: "amount", Importance: 1}, {Name: "country", Text: true}, {Name: "age", Importance: 0.1}},
		Slices:  []string{"channel"}, Draws: 20, LatencyP99Max: Duration(2 * time.Millisecond), SampleRows: 500, CostFalsePositive: 1, CostFalseNegative: 10,
	}
}

// world is a stream of predictions; its fields say what changes.
type world struct {
	r           *rand.Rand
	amountShift float64
	country     string
	slow        int64
	flip        float64 // the share of labels that say the contrary
	missing     float64
	count       int
}

func (w *world) next(at int64) (Prediction, float64) {
	w.count++
	x := w.r.NormFloat64() + w.amountShift
	chance := 1 / (1 + math.Exp(-(2*x - 1)))
	label := 0.0
	if w.r.Float64() < chance {
		label = 1
	}
	if w.r.Float64() < w.flip {
		label = 1 - label
	}
	p := Prediction{
		ID: fmt.Sprintf("%s%d", w.country, w.count), Time: at, Numbers: []float64{x, 40 + 10*w.r.NormFloat64()}, Texts: []string{"NL"},
		Slices: []string{[]string{"web", "shop"}[w.r.IntN(2)]}, Score: chance, Decision: "pass", LatencyMicros: w.slow + 100 + w.r.Int64N(900),
	}
	if w.r.IntN(3) == 0 {
		p.Texts[0] = "BE"
	}
	if w.country != "" && w.r.IntN(4) == 0 {
		p.Texts[0] = w.country
	}
	if w.r.Float64() < w.missing {
		p.Numbers[1] = math.NaN()
	}
	return p, label
}

func testReference(t *testing.T, c Config) Reference {
	t.Helper()
	w := world{r: rand.New(rand.NewPCG(1, 1))}
	var predictions []Prediction
	var labels []float64
	for i := range 2000 {
		p, l := w.next(day0 - hour)
		p.ID = fmt.Sprint("reference", i)
		predictions, labels = append(predictions, p), append(labels, l)
	}
	r, err := ReferenceOf(c, predictions, labels)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stream is a log of some hours, with 120 predictions an hour and an outcome of each an hour
// later, by arrival.
func stream(w interface {
	next(at int64) (Prediction, float64)
}, hours int, change func(hour int)) []Logged {
	type timed struct {
		at int64
		e  Logged
	}
	var all []timed
	for i := range hours * 120 {
		if i%120 == 0 && change != nil {
			change(i / 120)
		}
		at := day0 + int64(i)*minute/2
		p, l := w.next(at)
		all = append(all, timed{at, Logged{Prediction: &p}},
			timed{at + hour, Logged{Outcome: &Outcome{ID: p.ID, Label: l, Time: at + hour}}})
	}
	slices.SortStableFunc(all, func(a, b timed) int { return int(a.at - b.at) })
	var events []Logged
	for _, e := range all {
		events = append(events, e.e)
	}
	return events
}

func replay(t *testing.T, c Config, r Reference, events []Logged) ([]Report, *Tested) {
	t.Helper()
	var reports []Report
	i := 0
	tested, err := Backtest(t.Context(), c, r, func() (Logged, bool, error) {
		if i == len(events) {
			return Logged{}, false, nil
		}
		i++
		return events[i-1], true, nil
	}, func(r *Report) { reports = append(reports, *r) })
	if err != nil {
		t.Fatal(err)
	}
	if tested.Rejected > 0 {
		t.Fatal(tested.FirstRejected)
	}
	return reports, tested
}

// TestChanges changes one thing after the other and looks at which alarms are raised.
func TestChanges(t *testing.T) {
	c := testConfig()
	r := testReference(t, c)
	for name, test := range map[string]struct {
		change func(w *world)
		want   []string
	}{
		"nothing":  {func(w *world) {}, nil},
		"amount":   {func(w *world) { w.amountShift = 0.7 }, []string{"drift:1h:amount", "score:1h", "drift:4h:amount", "score:4h"}},
		"category": {func(w *world) { w.country = "FR" }, []string{"unseen:1h:country", "drift:1h:country"}},
		"missing":  {func(w *world) { w.missing = 0.3 }, []string{"missing:1h:age"}},
		"latency":  {func(w *world) { w.slow = 5000 }, []string{"latency:1h:p99"}},
		"labels":   {func(w *world) { w.flip = 0.4 }, []string{"concept:1h:roc_auc", "concept:1h:accuracy", "online:1h:errors"}},
	} {
		w := &world{r: rand.New(rand.NewPCG(2, 2))}
		reports, tested := replay(t, c, r, stream(w, 16, func(h int) {
			if h == 6 {
				test.change(w)
			}
			if h == 11 {
				*w = world{r: w.r, count: w.count}
			}
		}))
		for _, want := range test.want {
			if !slices.ContainsFunc(tested.Fired, func(f Fired) bool { return f.Subject == want && f.First >= day0+6*hour }) {
				t.Errorf("%s: %s did not fire", name, want)
			}
		}
		cleared := 0
		for _, e := range tested.Timeline {
			if e.At < day0+7*hour || len(test.want) == 0 {
				t.Errorf("%s: %s %s at %s: %s", name, e.Change, e.Alarm.Subject, moment(e.At), e.Alarm.Reason)
			}
			if e.Change == Cleared {
				cleared++
			}
		}
		if len(test.want) > 0 && cleared == 0 {
			t.Errorf("%s: no alarm was cleared", name)
		}
		if name == "amount" {
			last := reports[slices.IndexFunc(reports, func(r Report) bool { return r.Start == day0+8*hour && !r.Matured })]
			if last.Columns[0].Name != "amount" || last.Columns[0].ScoreShift < 0.05 {
				t.Errorf("amount is not ranked first: %+v", last.Columns)
			}
		}
	}
}

// TestQuality compares a matured window with its labels, and holds that it is not reported
// before all of them could have come.
func TestQuality(t *testing.T) {
	c := testConfig()
	w := &world{r: rand.New(rand.NewPCG(3, 3))}
	events := stream(w, 9, nil)
	reports, _ := replay(t, c, testReference(t, c), events)
	matured := 0
	for _, r := range reports {
		if r.At != r.End+10*minute+map[bool]int64{true: 2 * hour}[r.Matured] {
			t.Errorf("window of %s at %s was reported at %s", r.Window, moment(r.Start), moment(r.At))
		}
		if !r.Matured {
			if r.Quality != nil || r.Estimated == nil || r.Latency.P50Micros < 400 || r.Latency.P99Micros > 1060 || r.Decisions["pass"] != r.Rows {
				t.Errorf("window of %s that closed: %+v", r.Window, r)
			}
			continue
		}
		matured++
		var scores, labels []float64
		known := map[string]float64{}
		for _, e := range events {
			if e.Outcome != nil {
				known[e.Outcome.ID] = e.Outcome.Label
			}
		}
		for _, e := range events {
			if p := e.Prediction; p != nil && p.Time >= r.Start && p.Time < r.End {
				scores, labels = append(scores, p.Score), append(labels, known[p.ID])
			}
		}
		want, err := estimate.Realised(scores, labels, 0.5)
		if err != nil {
			t.Fatal(err)
		}
		q := r.Quality
		if math.Abs(q.Values[0]-want[0]) > 1e-12 || q.Labelled != len(labels) || q.Coverage != 1 || q.Sampled != 1 || !(q.Low[0] < want[0] && q.High[0] > want[0]) {
			t.Errorf("quality %+v, want %v of %d", q, want, len(labels))
		}
		if len(r.Slices) != 2 || r.Slices[0].Value != "shop" || r.Slices[0].Quality.Labelled+r.Slices[1].Quality.Labelled != len(labels) {
			t.Errorf("slices %+v", r.Slices)
		}
	}
	if matured != 8 { // seven of an hour, and one of four
		t.Errorf("%d windows matured", matured)
	}
}

func encoded(t *testing.T, reports []Report) []string {
	t.Helper()
	var list []string
	for _, r := range reports {
		decisions := fmt.Sprint(r.Decisions)
		r.Decisions = nil
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(r); err != nil {
			t.Fatal(err)
		}
		list = append(list, decisions+b.String())
	}
	return list
}

// TestSameInAnyWay is M3: events in another order within the lateness, twice, and with
// restarts in between, give the same reports.
func TestSameInAnyWay(t *testing.T) {
	c := testConfig()
	c.LabelDelay, c.Draws = Duration(hour*1000+30*minute*1000), 5
	c.SilenceIsNegative = true
	ref := testReference(t, c)
	for seed := range uint64(4) {
		if c.Trailing, c.RecalibrateRows = 0, 0; seed%2 == 1 {
			c.Trailing, c.RecalibrateRows = 2, 600
		}
		r := rand.New(rand.NewPCG(4, seed))
		w := &world{r: r}
		events := stream(w, 12, func(h int) { w.amountShift = float64(h/3) * 0.4 })
		events = slices.DeleteFunc(events, func(e Logged) bool { return e.Outcome != nil && r.IntN(5) == 0 })
		reports, _ := replay(t, c, ref, events)
		want := encoded(t, reports)
		for from := 0; from < len(events); from += 10 { // up to 6 minutes, of 10 that are allowed
			part := events[from:min(from+10, len(events))]
			r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		m, err := New(c, ref)
		if err != nil {
			t.Fatal(err)
		}
		var got []Report
		for _, e := range events {
			if r.IntN(300) == 0 {
				data, err := m.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				if m, err = Restore(c, ref, data); err != nil {
					t.Fatal(err)
				}
			}
			for range 1 + r.IntN(2) { // some are handed over twice
				more, err := m.take(e)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, more...)
			}
		}
		for i, g := range encoded(t, got) {
			if i >= len(want) || g != want[i] {
				t.Fatalf("seed %d: report %d of window %s at %s differs", seed, i, got[i].Window, moment(got[i].Start))
			}
		}
		if len(got) < len(want)-2 { // the last event in order may not be the last handed over
			t.Errorf("seed %d: %d reports, want %d", seed, len(got), len(want))
		}
	}
}

// TestBounded has more predictions than are held: a sample is, and estimates what all are.
func TestBounded(t *testing.T) {
	c := testConfig()
	c.Windows, c.WaitingBytesMax = []Duration{Duration(time.Hour)}, 1<<20
	c.RowsMin = 50
	m, err := New(c, testReference(t, c))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{r: rand.New(rand.NewPCG(5, 5))}
	for i := range 20_000 {
		p, l := w.next(day0 + int64(i)*hour/20_000)
		if _, err := m.Observe(&p); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ObserveOutcome(&Outcome{ID: p.ID, Label: l, Time: p.Time}); err != nil {
			t.Fatal(err)
		}
		if m.WaitingRows()*rowBytes > c.WaitingBytesMax {
			t.Fatalf("%d predictions are held", m.WaitingRows())
		}
	}
	reports, err := m.Advance(day0 + 4*hour)
	if err != nil {
		t.Fatal(err)
	}
	q := reports[1].Quality
	if q.Sampled > 0.5 || q.Sampled < 0.1 || q.Coverage != 1 || math.Abs(float64(q.Labelled)-q.Sampled*20_000) > 1 || q.Low[0] > 0.88 || q.High[0] < 0.86 {
		t.Errorf("quality of a sample: %+v", q)
	}
	if m.WaitingRows() != 0 || len(m.rows) != 0 || len(m.state.Windows[0]) != 0 {
		t.Errorf("%d predictions are held of windows that matured", m.WaitingRows())
	}
}

// TestRoomAgain has an hour of many predictions: windows after it hold all of theirs again, by
// and by, over a restart too, and none is a mixture of two samples.
func TestRoomAgain(t *testing.T) {
	c := testConfig()
	c.Windows, c.WaitingBytesMax, c.LabelDelay = []Duration{Duration(time.Hour)}, 1<<20, 0
	ref := testReference(t, c)
	m, err := New(c, ref)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{r: rand.New(rand.NewPCG(5, 6))}
	var sampled []float64
	for h := range int64(12) {
		count := int64(300)
		if h == 0 {
			count = 30_000
		}
		for i := range count {
			p, l := w.next(day0 + h*hour + i*hour/count)
			reports, err := m.Observe(&p)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range reports {
				if r.Matured {
					sampled = append(sampled, r.Quality.Sampled)
				}
			}
			if _, err := m.ObserveOutcome(&Outcome{ID: p.ID, Label: l, Time: p.Time}); err != nil {
				t.Fatal(err)
			}
		}
		data, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if m, err = Restore(c, ref, data); err != nil {
			t.Fatal(err)
		}
	}
	if len(sampled) != 11 || sampled[0] > 0.3 || sampled[1] > 0.5 || sampled[10] != 1 {
		t.Errorf("held are %v", sampled)
	}
}

// TestLabels holds what counts as a label: corrections, late ones, those that come first.
func TestLabels(t *testing.T) {
	c := testConfig()
	c.Windows = []Duration{Duration(time.Hour)}
	m, err := New(c, testReference(t, c))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{r: rand.New(rand.NewPCG(6, 6))}
	send := func(id string, label float64, at int64) {
		if _, err := m.ObserveOutcome(&Outcome{ID: id, Label: label, Time: at}); err != nil {
			t.Fatal(err)
		}
	}
	send("early", 1, day0+1)
	for _, id := range []string{"early", "corrected", "silent", "late", "early"} {
		p, _ := w.next(day0 + minute)
		p.ID = id
		if _, err := m.Observe(&p); err != nil {
			t.Fatal(err)
		}
	}
	send("corrected", 1, day0+3*minute)
	send("corrected", 0, day0+5*minute)
	send("corrected", 1, day0+2*minute) // handed over late, it is older
	send("nobody", 1, day0+5*minute)
	reports, err := m.Advance(day0 + 5*hour)
	if err != nil {
		t.Fatal(err)
	}
	send("late", 1, day0+5*hour)
	q := reports[1].Quality
	if q.Labelled != 2 || q.Positives != 1 || q.Coverage != 0.5 || q.Rows != 4 || reports[1].Judged {
		t.Errorf("quality %+v", q)
	}
	if m.Newest() != day0+minute {
		t.Errorf("the newest prediction is of %s", moment(m.Newest()))
	}
	if n := m.Counts(); n.Duplicates != 1 || n.Corrections < 1 || n.Unmatched != 1 {
		t.Errorf("counts %+v", n)
	}
	p, _ := w.next(day0 + minute)
	if _, err := m.Observe(&p); err != nil || m.Counts().Late != 1 {
		t.Errorf("a prediction of a window that matured: %v, %+v", err, m.Counts())
	}
}

func TestBad(t *testing.T) {
	c := testConfig()
	ref := testReference(t, c)
	m, err := New(c, ref)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := (&world{r: rand.New(rand.NewPCG(7, 7))}).next(day0)
	for name, change := range map[string]func(p *Prediction){
		"id":     func(p *Prediction) { p.ID = "" },
		"long":   func(p *Prediction) { p.ID = strings.Repeat("x", IDBytesMax+1) },
		"values": func(p *Prediction) { p.Numbers = nil },
		"slices": func(p *Prediction) { p.Slices = nil },
		"future": func(p *Prediction) { p.Arrival = p.Time - hour },
		"time":   func(p *Prediction) { p.Time = -5 },
		"huge":   func(p *Prediction) { p.Time = math.MaxInt64 },
		"score":  func(p *Prediction) { p.Score = math.Inf(1) },
	} {
		p := good
		change(&p)
		if _, err := m.Observe(&p); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: error %v, want ErrEvent", name, err)
		}
	}
	for _, o := range []Outcome{{ID: "", Label: 1, Time: day0}, {ID: "a", Label: 0.5, Time: day0}, {ID: "a", Label: math.NaN(), Time: day0}, {ID: "a", Time: day0, Arrival: day0 - hour}} {
		if _, err := m.ObserveOutcome(&o); !errors.Is(err, ErrEvent) {
			t.Errorf("%+v: error %v, want ErrEvent", o, err)
		}
	}
	if n := m.Counts(); n != (Counts{}) {
		t.Errorf("bad events were counted: %+v", n)
	}
	if _, err := New(c, Reference{}); !errors.Is(err, ErrConfig) {
		t.Errorf("no reference: %v", err)
	}
	other := testConfig()
	other.Columns = other.Columns[:1]
	if _, err := New(other, ref); !errors.Is(err, ErrConfig) {
		t.Errorf("a reference of other columns: %v", err)
	}
	data, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other = c
	other.Level = 0.02
	if _, err := Restore(other, ref, data); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a snapshot of another configuration: %v", err)
	}
	for _, i := range []int{0, 9, 20, len(data) - 1} {
		broken := bytes.Clone(data)
		broken[i] ^= 4
		if _, err := Restore(c, ref, broken); !errors.Is(err, ErrSnapshot) {
			t.Errorf("byte %d of a snapshot was changed: %v", i, err)
		}
	}
	if _, err := Restore(c, ref, data[:30]); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a part of a snapshot: %v", err)
	}
}

func TestConfig(t *testing.T) {
	var c Config
	err := yaml.UnmarshalWithOptions([]byte(`
name: fraud
windows: [30m, 1d, 7d]
label_delay: 7d
silence_is_negative: true
columns:
  - {name: amount, importance: 0.4}
  - {name: country, text: true, test: psi}
slices: [country]
level: 0.02
`), &c, yaml.Strict())
	if err != nil {
		t.Fatal(err)
	}
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Windows[0].String() != "30m" || c.LabelDelay.String() != "7d" || c.Columns[0].Test != "cvm" || c.Columns[1].Test != "psi" || Duration(90*time.Minute).String() != "1h30m" {
		t.Errorf("configuration %+v", c)
	}
	bad := Config{Windows: []Duration{Duration(time.Hour), Duration(90 * time.Minute)}, Columns: []Column{{Name: "a", Test: "ks", Text: true}, {Name: "a"}}, Level: 3, ClearAfter: -1}
	bad.EnsureDefaults()
	err = bad.Validate()
	for _, part := range []string{"name:", "windows[1]", "columns[0].test", "columns[1].name", "level:", "clear_after:"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in the error:\n%v", part, err)
		}
	}
	if err := yaml.Unmarshal([]byte("windows: [soon]"), &c); err == nil {
		t.Error("a duration of soon was read")
	}
}

// TestQuiet watches columns that do not change: windows alarm no more often than the levels
// of the families of tests (drift, score, data quality, concept) add up to, with three
// standard errors for chance.
func TestQuiet(t *testing.T) {
	c := testConfig()
	c.Windows, c.Draws = []Duration{Duration(time.Hour)}, 2
	c.EffectMin, c.DropMin = 1e-9, 1e-9 // all that is sure counts
	const hours = 100
	w := &world{r: rand.New(rand.NewPCG(8, 8))}
	_, tested := replay(t, c, testReference(t, c), stream(w, hours, nil))
	raised := 0
	for _, e := range tested.Timeline {
		if e.Change == Raised {
			raised++
		}
	}
	if most := 4*0.01*hours + 3*math.Sqrt(4*0.01*hours); tested.Closed < hours-1 || float64(raised) > most {
		t.Errorf("%d alarms in %d windows, want at most %.0f: %+v", raised, tested.Closed, most, tested.Fired)
	}
}

// TestTrailing has inputs that moved and stay there, and labels whose chance fell by half:
// with a trailing reference drift is cleared, and with recalibration estimates come near what
// is realised again.
func TestTrailing(t *testing.T) {
	c := testConfig()
	ref := testReference(t, c)
	c.Trailing, c.RecalibrateRows, c.PositivesMin = 3, 3000, 3
	w := &world{r: rand.New(rand.NewPCG(10, 10))}
	reports, tested := replay(t, c, ref, stream(w, 40, func(h int) {
		if h == 6 {
			w.amountShift, w.flip = 0.8, 0.25
		}
	}))
	if !slices.ContainsFunc(tested.Timeline, func(e Event) bool {
		return e.Alarm.Subject == "drift:1h:amount" && e.Change == Cleared && e.At < day0+14*hour
	}) {
		t.Errorf("drift was not cleared: %+v", tested.Timeline)
	}
	estimated, errors := map[int64]float64{}, []float64(nil)
	for _, r := range reports {
		if r.Window != c.Windows[1] {
			continue
		}
		if !r.Matured {
			estimated[r.Start] = r.Estimated.Values.Of(estimate.AUC)
		} else {
			errors = append(errors, math.Abs(estimated[r.Start]-r.Quality.Values.Of(estimate.AUC)))
		}
	}
	first, last := errors[2], errors[len(errors)-1]
	if first < 0.08 || last > 0.06 {
		t.Errorf("estimates are off by %v", errors)
	}
}

// TestMemoryOfPredictions hands over predictions that all lie in the same memory: a report has
// the decisions as they were.
func TestMemoryOfPredictions(t *testing.T) {
	w := window{Decisions: map[string]int64{}}
	m := Monitor{decisions: map[string]string{}}
	memory := []byte("??????")
	for i := range 3 * 200 {
		copy(memory, fmt.Sprintf("d%05d", i%3))
		w.decide(m.own(unsafe.String(&memory[0], len(memory))))
	}
	copy(memory, "??????")
	if want := map[string]int64{"d00000": 200, "d00001": 200, "d00002": 200}; !maps.Equal(w.Decisions, want) {
		t.Errorf("decisions %v", w.Decisions)
	}
	for i := range 1000 {
		w.decide(m.own(strconv.Itoa(i)))
	}
	if len(m.decisions) > 2*decisionsMax || len(w.Decisions) != decisionsMax+1 || w.Decisions[otherName] != 1003-decisionsMax {
		t.Errorf("%d texts, decisions %v", len(m.decisions), w.Decisions)
	}
}

// BenchmarkObserve takes predictions with 50 columns and their outcomes.
//
//	go test ./evaluation/monitor -run '^$' -bench Observe -benchtime 100000x
func BenchmarkObserve(b *testing.B) {
	c := Config{Name: "bench", Windows: []Duration{Duration(time.Hour), Duration(24 * time.Hour)}, LabelDelay: Duration(time.Hour)}
	for i := range 50 {
		c.Columns = append(c.Columns, Column{Name: fmt.Sprint("column", i)})
	}
	r := rand.New(rand.NewPCG(9, 9))
	values := make([]float64, 50*1024)
	for i := range values {
		values[i] = r.NormFloat64()
	}
	prediction := func(i int) Prediction {
		at := i * 50 % len(values)
		return Prediction{ID: fmt.Sprint(i), Time: day0 + int64(i)*1000, Numbers: values[at : at+50], Score: 0.5 + values[at]/20}
	}
	var reference []Prediction
	for i := range 2000 {
		reference = append(reference, prediction(i))
	}
	ref, err := ReferenceOf(c, reference, nil)
	if err != nil {
		b.Fatal(err)
	}
	m, err := New(c, ref)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := prediction(i)
		if _, err := m.Observe(&p); err != nil {
			b.Fatal(err)
		}
		if _, err := m.ObserveOutcome(&Outcome{ID: p.ID, Label: float64(i % 2), Time: p.Time + 500}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
