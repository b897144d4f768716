// SPDX-License-Identifier: Apache-2.0

// Package monitor watches one model, or one decision, on production data.
//
// Predictions and outcomes go in as they come; reports come out as windows of event time
// close, and again as they mature:
//
//	M1  A window closes when the clock, the latest arrival so far, is Lateness past its end.
//	    Then its rows are compared with the reference: missing values, categories and ranges,
//	    drift of columns and of the score; and quality is estimated.
//	M2  A window matures LabelDelay after it closed. Only then metrics are realised: no row
//	    counts whose label may still come.
//	M3  What is reported depends on the events and their arrival, not on how they are handed
//	    over, nor on their order as long as none is handed over after its window closed, nor
//	    on restarts from a Snapshot in between.
//	M4  Memory is bounded: open windows are profiles (package profile), and of a prediction
//	    that waits for its label some hundred bytes are held, Config.WaitingBytesMax in all.
//	    Beyond that those are held whose id's hash is least, a random sample; windows that
//	    begin when there is room again hold more of theirs.
//	M5  A subject, such as the drift of a column in windows of a day, has one alarm at most.
//	    It is raised by a bad window, stays, and is cleared by Config.ClearAfter good ones.
//
// Labels are 0 and 1, or, of a Regression, amounts, whose errors are then what quality is; see
// package estimate.
//
// A window alarms by chance with a probability of Config.Level for each family of tests
// (data quality, drift, concept), whatever its size and however many columns there are: see
// package drift for the assumptions. What is sure but too small to matter does not alarm.
//
// Sources: those of packages drift, estimate, online and interval.
//
// Concurrency: a Monitor belongs to one goroutine.
package monitor

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/online"
	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
)

// Errors that callers branch on.
var (
	// ErrConfig means that a configuration or a reference is not sound.
	ErrConfig = errors.New("invalid monitor")
	// ErrEvent means that a prediction or an outcome is not sound. It was not counted.
	ErrEvent = errors.New("invalid event")
	// ErrSnapshot means that bytes are no snapshot of this monitor.
	ErrSnapshot = errors.New("invalid snapshot")
)

// IDBytesMax bounds ids.
const IDBytesMax = 1024

// Prediction is what a model said. Times are in microseconds since 1970.
type Prediction struct {
	ID string
	// Time is when it happened, Arrival when it was logged; 0 is Time.
	Time, Arrival int64
	Version, Arm  string
	// Entity is what it is about, such as a customer; empty if unknown.
	Entity string
	// Numbers and Texts are the values of the columns. NaN and the empty text are missing.
	Numbers []float64
	Texts   []string
	// Slices are the values of Config.Slices.
	Slices        []string
	Score         float64
	Decision      string
	LatencyMicros int64
}

// Outcome is what turned out to be true. A later one of the same prediction corrects it.
type Outcome struct {
	ID string
	// Label is 0 or 1, or of a regression any number.
	Label float64
	// Time is when it became true, Arrival when it was known; 0 is Time.
	Time, Arrival int64
}

// Counts are counts of events since the monitor began.
type Counts struct {
	Predictions, Outcomes int64
	// Duplicates were predictions whose id is held already, Late those whose window had
	// closed. Neither was counted in a window.
	Duplicates, Late int64
	// Corrections changed a label. Unmatched outcomes were of no prediction that is held:
	// unknown, later than LabelDelay, or left out of the sample.
	Corrections, Unmatched int64
}

// Monitor watches a model.
type Monitor struct {
	config    Config
	reference *reference
	state     state
	hash      [32]byte // of configuration and reference
	// recent is made of state.Recent, nil if it was not yet.
	recent estimator
	// rows finds the predictions that wait, by the hash of their ids.
	rows map[uint64]place
	// numbers are those of the prediction that is observed.
	numbers []float64
	// decisions are texts of decisions that are counted, at most 2*decisionsMax.
	decisions map[string]string
}

type place struct {
	window *window
	row    int
}

// state is all that changes, and what a snapshot keeps.
type state struct {
	Clock  int64
	Counts Counts
	Newest int64 // time of the newest prediction, 0 without any
	// Windows are those that are open or wait to mature, by duration and start.
	Windows [][]*window
	// Waiting counts the rows held, and Keep bounds their keys in windows to come: all of them
	// at first.
	Waiting int64
	Keep    uint64
	// Early are outcomes whose predictions did not come yet, at most earlyMax.
	Early  map[uint64]early
	Alarms []Alarm
	Adwin  online.Adwin
	// Checks are the last matured windows of each duration.
	Checks []checked
	// Trails are the profiles of the last Config.Trailing windows of each duration.
	Trails [][]*profile.Profile
	// Recent are the scores and labels of the last Config.RecalibrateRows rows that matured.
	Recent [][2]float64
	// Names are slices' values, by dimension.
	Names [][]string
}

// window is a window of one duration. The first duration's windows hold rows.
type window struct {
	Start     int64
	Closed    bool
	Matured   bool
	Count     int64            // rows, kept after closing
	Profile   *profile.Profile // until it closes
	Latency   latency
	Decisions map[string]int64
	Rows      []row
	Keep      uint64 // bounds the keys of Rows
}

// row is a prediction that waits for its label, or has it and waits for its window.
type row struct {
	Key     uint64
	Time    int64
	Score   float64
	Label   float64 // NaN if it is not known
	Arrival int64   // of the label
	Slices  []uint16
}

// early is an outcome that came before its prediction.
type early struct {
	Label   float64
	Arrival int64
}

const (
	// rowBytes is what a row takes, with its place in the map.
	rowBytes = 144
	// earlyMax bounds outcomes whose predictions did not come yet.
	earlyMax = 1 << 16
	// decisionsMax bounds the decisions that are counted one by one.
	decisionsMax = 64
	// namesMax bounds the values of a slice; others are put together.
	namesMax = 256
	// otherName is what values beyond decisionsMax and namesMax are put under.
	otherName = "(other)"
)

// New makes a monitor. The reference is shared from then on: nobody changes it. Monitors
// with the same reference are made one after the other. Errors wrap ErrConfig.
func New(c Config, r Reference) (*Monitor, error) {
	c.Columns = slices.Clone(c.Columns)
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	ref, err := newReference(&c, r)
	if err != nil {
		return nil, err
	}
	m := &Monitor{config: c, reference: ref, rows: map[uint64]place{}, decisions: map[string]string{}}
	adwin, err := online.NewAdwin(0)
	if err != nil {
		return nil, err
	}
	m.state = state{
		Clock: math.MinInt64, Keep: math.MaxUint64, Adwin: *adwin,
		Windows: make([][]*window, len(c.Windows)), Checks: make([]checked, len(c.Windows)), Names: make([][]string, len(c.Slices)), Early: map[uint64]early{},
		Trails: make([][]*profile.Profile, len(c.Windows)),
	}
	m.hash, err = m.setup()
	return m, err
}

// Config is the configuration with its defaults.
func (m *Monitor) Config() Config { return m.config }

// Counts are the counts so far.
func (m *Monitor) Counts() Counts { return m.state.Counts }

// Newest is when the newest prediction happened, in microseconds since 1970, 0 without any:
// a stream that ends closes no windows, so that its freshness is to be watched beside them.
func (m *Monitor) Newest() int64 { return m.state.Newest }

// WaitingRows is how many predictions are held for their labels, of about rowBytes each.
func (m *Monitor) WaitingRows() int64 { return m.state.Waiting }

// Observe takes a prediction. It returns the reports of windows that its arrival closed or
// matured, in their order. The prediction stays with the caller. Errors wrap ErrEvent.
func (m *Monitor) Observe(p *Prediction) ([]Report, error) {
	arrival := p.Arrival
	if arrival == 0 {
		arrival = p.Time
	}
	if err := m.checkPrediction(p, arrival); err != nil {
		return nil, err
	}
	reports, err := m.Advance(arrival)
	if err != nil {
		return reports, err
	}
	m.state.Counts.Predictions++
	m.state.Newest = max(m.state.Newest, p.Time)
	key := profile.Hash(p.ID)
	if _, ok := m.rows[key]; ok {
		m.state.Counts.Duplicates++
		return reports, nil
	}
	w := m.windowOf(0, p.Time)
	if w == nil {
		m.state.Counts.Late++
		return reports, nil
	}
	w.Count++
	w.Latency.add(p.LatencyMicros)
	w.decide(m.own(p.Decision))
	m.numbers = append(append(m.numbers[:0], p.Numbers...), p.Score)
	err = w.Profile.Add(&profile.Row{Key: key, Time: p.Time, Entity: entityOf(p.Entity), Numbers: m.numbers, Texts: p.Texts})
	if err != nil {
		return reports, fmt.Errorf("%w: prediction %q: %w", ErrEvent, p.ID, err)
	}
	m.wait(w, key, p)
	return reports, nil
}

func entityOf(entity string) uint64 {
	if entity == "" {
		return 0
	}
	return profile.Hash(entity) | 1 // 0 is none
}

func (m *Monitor) checkPrediction(p *Prediction, arrival int64) error {
	texts := len(m.reference.profile.Texts)
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: prediction %.64q: %s", ErrEvent, p.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case p.ID == "" || len(p.ID) > IDBytesMax:
		return fail("its id has %d bytes, there have to be 1 to %d", len(p.ID), IDBytesMax)
	case len(p.Numbers) != len(m.config.Columns)-texts || len(p.Texts) != texts:
		return fail("it has %d numbers and %d texts, columns are %d and %d", len(p.Numbers), len(p.Texts), len(m.config.Columns)-texts, texts)
	case len(p.Slices) != len(m.config.Slices):
		return fail("it has %d slices, there are %d", len(p.Slices), len(m.config.Slices))
	case p.Time <= 0 || arrival > timeMax:
		return fail("its time %d or arrival %d is not after 1970 and before 2262", p.Time, arrival)
	case p.Time > arrival+m.config.FutureMax.micros():
		return fail("it is of the future: its time %s is more than %s after it arrived", moment(p.Time), m.config.FutureMax)
	case math.IsInf(p.Score, 0):
		return fail("its score is infinite")
	case m.config.Kind == Regression && math.Abs(p.Score) > estimate.AmountMax:
		return fail("its score is %v, amounts are at most %v", p.Score, estimate.AmountMax)
	}
	return nil
}

// timeMax keeps sums of times and durations in range.
const timeMax = math.MaxInt64 / 1000

// windowOf finds or opens the window of a duration that a time is in; nil if it closed.
func (m *Monitor) windowOf(duration int, time int64) *window {
	length := m.config.Windows[duration].micros()
	start := time - time%length
	list := m.state.Windows[duration]
	i, ok := slices.BinarySearchFunc(list, start, func(w *window, start int64) int {
		switch {
		case w.Start < start:
			return -1
		case w.Start > start:
			return 1
		}
		return 0
	})
	if ok {
		if list[i].Closed {
			return nil
		}
		return list[i]
	}
	if duration == 0 && m.closesAt(0, start) <= m.state.Clock {
		return nil
	}
	p, err := profile.New(m.reference.profile.Schema, m.reference.profile.Options, m.reference.profile)
	if err != nil {
		panic("the reference's own schema does not suit: " + err.Error()) // newReference checked it
	}
	w := &window{Start: start, Profile: p, Decisions: map[string]int64{}, Keep: m.state.Keep}
	m.state.Windows[duration] = slices.Insert(list, i, w)
	return w
}

func (w *window) decide(decision string) {
	if _, known := w.Decisions[decision]; !known && len(w.Decisions) >= decisionsMax {
		decision = otherName
	}
	w.Decisions[decision]++
}

// own is a decision whose memory is the monitor's: that of the prediction is the caller's, and
// a map takes over the text that it is written with, also where it has the key already.
func (m *Monitor) own(decision string) string {
	if len(decision) > profile.TextBytesMax {
		decision = decision[:profile.TextBytesMax]
	}
	if own, known := m.decisions[decision]; known {
		return own
	}
	if len(m.decisions) >= 2*decisionsMax {
		clear(m.decisions)
	}
	own := strings.Clone(decision)
	m.decisions[own] = own
	return own
}

// wait holds a prediction until its windows matured.
func (m *Monitor) wait(w *window, key uint64, p *Prediction) {
	if key > w.Keep || math.IsNaN(p.Score) {
		return
	}
	r := row{Key: key, Time: p.Time, Score: p.Score, Label: math.NaN()}
	for i, name := range p.Slices {
		r.Slices = append(r.Slices, m.nameOf(i, name))
	}
	if e, ok := m.state.Early[key]; ok {
		r.Label, r.Arrival = e.Label, e.Arrival
		delete(m.state.Early, key)
	}
	w.Rows = append(w.Rows, r)
	m.rows[key] = place{w, len(w.Rows) - 1}
	m.state.Waiting++
	for m.state.Waiting*rowBytes > m.config.WaitingBytesMax {
		m.state.Keep /= 2
		m.thin()
	}
}

// thin lets rows go whose keys are beyond Keep.
func (m *Monitor) thin() {
	for _, w := range m.state.Windows[0] {
		w.Keep = min(w.Keep, m.state.Keep)
		w.Rows = slices.DeleteFunc(w.Rows, func(r row) bool { return r.Key > m.state.Keep })
	}
	m.index()
}

// widen lets windows to come hold more rows, after a time in which there were too many. Half
// of the room stays free, so that what comes does not thin them out at once.
func (m *Monitor) widen() {
	if m.state.Waiting*rowBytes < m.config.WaitingBytesMax/4 {
		m.state.Keep = m.state.Keep<<1 | 1
	}
}

// index makes the map of rows anew.
func (m *Monitor) index() {
	m.rows, m.state.Waiting = map[uint64]place{}, 0
	for _, w := range m.state.Windows[0] {
		for i, r := range w.Rows {
			m.rows[r.Key] = place{w, i}
		}
		m.state.Waiting += int64(len(w.Rows))
	}
}

func (m *Monitor) nameOf(slice int, name string) uint16 {
	names := m.state.Names[slice]
	i := slices.Index(names, name)
	if i < 0 && len(names) < namesMax {
		m.state.Names[slice] = append(names, string([]byte(name)))
		i = len(names)
	}
	if i < 0 {
		return namesMax
	}
	return uint16(i)
}

// ObserveOutcome takes an outcome, and returns reports as Observe does. Of several outcomes
// of a prediction the one that arrived last counts. Errors wrap ErrEvent.
func (m *Monitor) ObserveOutcome(o *Outcome) ([]Report, error) {
	arrival := o.Arrival
	if arrival == 0 {
		arrival = o.Time
	}
	switch {
	case o.ID == "" || len(o.ID) > IDBytesMax:
		return nil, fmt.Errorf("%w: outcome: its id has %d bytes, there have to be 1 to %d", ErrEvent, len(o.ID), IDBytesMax)
	case m.config.Kind == Binary && o.Label != 0 && o.Label != 1:
		return nil, fmt.Errorf("%w: outcome of %.64q: its label is %v, labels are 0 and 1", ErrEvent, o.ID, o.Label)
	case !(math.Abs(o.Label) <= estimate.AmountMax):
		return nil, fmt.Errorf("%w: outcome of %.64q: its label is %v, which is no number, or beyond %v", ErrEvent, o.ID, o.Label, estimate.AmountMax)
	case o.Time <= 0 || arrival > timeMax || o.Time > arrival+m.config.FutureMax.micros():
		return nil, fmt.Errorf("%w: outcome of %.64q: its time %s is not in 1970 to %s after it arrived", ErrEvent, o.ID, moment(o.Time), m.config.FutureMax)
	}
	reports, err := m.Advance(arrival)
	if err != nil {
		return reports, err
	}
	m.state.Counts.Outcomes++
	key := profile.Hash(o.ID)
	at, ok := m.rows[key]
	if !ok {
		m.early(key, early{o.Label, arrival})
		return reports, nil
	}
	r := &at.window.Rows[at.row]
	known := !math.IsNaN(r.Label)
	if known && r.Label != o.Label {
		m.state.Counts.Corrections++
	}
	if e := (early{o.Label, arrival}); !known || e.after(early{r.Label, r.Arrival}) {
		r.Label, r.Arrival = e.Label, e.Arrival
	}
	return reports, nil
}

// after says which of two outcomes counts: the later one, of the same moment the positive or
// larger.
func (e early) after(o early) bool {
	return e.Arrival > o.Arrival || e.Arrival == o.Arrival && e.Label > o.Label
}

// early keeps an outcome for a prediction that may come, as long as there is room.
func (m *Monitor) early(key uint64, e early) {
	old, ok := m.state.Early[key]
	switch {
	case ok && !e.after(old):
	case !ok && (len(m.state.Early) >= earlyMax || key > m.state.Keep):
		m.state.Counts.Unmatched++
	default:
		m.state.Early[key] = e
	}
}
