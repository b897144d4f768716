// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// Columns of the stream of decisions that tasks are made of, before those of vectors.
const (
	fromDecision = iota
	fromScore
	fromFacts
	fromAnswer
	fromSegment
	fromArm
	fromModel
	fromVersion
	fromReasons
	fromVector
)

var decisionColumns = []string{"decision", "score", "facts", "answer", "segment", "arm", "model", "model_version", "reasons"}

// decided is a decision of the log, as a task needs it.
type decided struct {
	id    string
	at    int64 // microseconds
	score float64
	facts string
	// numbers and texts are the vector, nil where it is not there or of other definitions.
	numbers                              []float64
	texts                                []string
	answer, segment, arm, model, reasons string
	version                              int64
	slice                                string
	lot                                  uint64 // its place in the drawing
}

// labelPool is what a selection chooses from.
type labelPool struct {
	items []*decided
	left  leftOut
}

// leftOut counts the decisions of a window.
type leftOut struct {
	// Decisions of the window; Labelled have an outcome, Tasks are tasks already, Filtered
	// are those for which where is not true, Faulty those for which it cannot be computed,
	// Unscored have no probability, Alone lack the scores of a committee. Eligible is the
	// rest, of which Pool was drawn.
	Decisions int `json:"decisions"`
	Labelled  int `json:"labelled"`
	Tasks     int `json:"tasks"`
	Filtered  int `json:"filtered"`
	Faulty    int `json:"faulty"`
	Unscored  int `json:"unscored"`
	Alone     int `json:"alone"`
	Eligible  int `json:"eligible"`
	Pool      int `json:"pool"`
	// Fault is the first error of where.
	Fault string `json:"fault,omitempty"`
}

// eachDecision visits the decisions of a name in a range of time; what it is given is good
// until it returns.
func (d *labelDesk) eachDecision(ctx context.Context, decision string, from, to int64, visit func(*decided) error) (err error) {
	have := streamColumns(d.log, frontend.DecisionStream)
	wanted := slices.Clone(decisionColumns)
	for _, c := range plan.VectorColumns() {
		wanted = append(wanted, c.Name)
	}
	for _, name := range wanted {
		if !slices.Contains(have, name) {
			return nil // nothing was decided yet
		}
	}
	if err := d.log.Sync(ctx); err != nil {
		return err
	}
	scan, err := d.log.Scan(ctx, offline.Query{Stream: frontend.DecisionStream, Columns: wanted, From: max(0, from), To: to, Versions: offline.LatestPerEvent})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	policy := d.policy(decision)
	var vector plan.LoggedVector
	var one decided
	for scan.Next() {
		r := scan.Record()
		if r.Values[fromDecision].Text() != decision {
			continue
		}
		one.read(r)
		if policy != nil {
			one.readVector(r, policy.Service, &vector)
		}
		if err := visit(&one); err != nil {
			return err
		}
	}
	return scan.Err()
}

func (x *decided) read(r *offline.Record) {
	v := r.Values
	*x = decided{id: r.ID, at: r.EventTime, score: math.NaN(), facts: v[fromFacts].Text(), answer: v[fromAnswer].Text(), segment: v[fromSegment].Text(),
		arm: v[fromArm].Text(), model: v[fromModel].Text(), reasons: v[fromReasons].Text()}
	if !v[fromScore].IsNull() {
		x.score = v[fromScore].Float64()
	}
	if !v[fromVersion].IsNull() {
		x.version = v[fromVersion].Int64()
	}
}

// readVector takes the vector if it was made by the service as it is defined now: of
// another definition the names are not known.
func (x *decided) readVector(r *offline.Record, s *definition.Service, into *plan.LoggedVector) {
	v := r.Values[fromVector:]
	if v[1].IsNull() || v[1].Text() != plan.ShortHash(s.Hash()) || plan.DecodeVector(v, into) != nil || len(into.Numbers) != len(s.Features) {
		return
	}
	x.numbers, x.texts = into.Numbers, into.Texts
}

// keep makes a decision the caller's.
func (x *decided) keep() *decided {
	y := *x
	for _, text := range []*string{&y.id, &y.facts, &y.answer, &y.segment, &y.arm, &y.model, &y.reasons} {
		*text = strings.Clone(*text)
	}
	y.numbers, y.texts = slices.Clone(x.numbers), slices.Clone(x.texts)
	return &y
}

// fields are what expressions name: facts, features, and what was answered.
func (x *decided) fields(s *definition.Service) map[string]any {
	fields := map[string]any{}
	for name, value := range x.features(s) {
		fields[name] = value
	}
	// What are no facts stays out: the front-end wrote them as an object.
	_ = json.Unmarshal([]byte(x.facts), &fields)
	if !math.IsNaN(x.score) {
		fields["score"] = x.score
	}
	fields["answer"], fields["segment"], fields["arm"], fields["model"] = x.answer, x.segment, x.arm, x.model
	fields["model_version"], fields["prediction_id"], fields["reasons"] = x.version, x.id, strings.Split(x.reasons, ",")
	return fields
}

// features are the values of the vector by name; nulls are not there.
func (x *decided) features(s *definition.Service) map[string]any {
	out := map[string]any{}
	text := 0
	for i := range x.numbers {
		f := &s.Features[i]
		v := x.numbers[i]
		switch {
		case f.Type == column.String:
			if text < len(x.texts) {
				out[f.Name] = x.texts[text]
			}
			text++
		case math.IsNaN(v) || math.IsInf(v, 0):
		case f.Type == column.Bool:
			out[f.Name] = v != 0
		case (f.Type == column.Int64 || f.Type == column.Timestamp) && math.Abs(v) < 1<<53:
			out[f.Name] = int64(v)
		default:
			out[f.Name] = v
		}
	}
	return out
}

// data is what people see of a decision: its id and time, the facts as they were given, and
// the features in the order of the service. What the system answered is not in it, lest it
// draws people towards it.
func (x *decided) data(s *definition.Service) (json.RawMessage, error) {
	var facts map[string]json.RawMessage
	if x.facts != "" {
		if err := json.Unmarshal([]byte(x.facts), &facts); err != nil {
			return nil, fmt.Errorf("decision %q: facts: %w", x.id, err)
		}
	}
	b := []byte("{")
	seen := map[string]bool{}
	add := func(name string, value any) error {
		if seen[name] {
			return nil
		}
		seen[name] = true
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("decision %q: %s: %w", x.id, name, err)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		key, err := json.Marshal(name)
		b = append(append(append(b, key...), ':'), text...)
		return err
	}
	errs := []error{add("prediction_id", x.id), add("decision_time", time.UnixMicro(x.at).UTC().Format(time.RFC3339Nano))}
	for _, name := range keysInOrder(x.facts) {
		errs = append(errs, add(name, facts[name]))
	}
	features := x.features(s)
	for i := range s.Features {
		if v, ok := features[s.Features[i].Name]; ok {
			errs = append(errs, add(s.Features[i].Name, v))
		}
	}
	return append(b, '}'), errors.Join(errs...)
}

// keysInOrder are the keys of a JSON object as they are written.
func keysInOrder(object string) (keys []string) {
	d := json.NewDecoder(strings.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return keys
		}
		keys = append(keys, name)
	}
	return keys
}

// lots is a heap of decisions, the one of the highest lot first.
type lots []*decided

// Len, Less, Swap, Push and Pop are for container/heap.
func (l lots) Len() int           { return len(l) }
func (l lots) Less(i, j int) bool { return l[i].lot > l[j].lot }
func (l lots) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *lots) Push(x any)        { *l = append(*l, x.(*decided)) }
func (l *lots) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// idSeed makes hashes of ids for a set in memory.
var idSeed = maphash.MakeSeed()

// drawPool reads what there is to choose from: of more than o.Pool decisions as many are drawn at
// random, the same ones for the same seed.
func (d *labelDesk) drawPool(ctx context.Context, p *labelingProject, o *labelingSelect, seed uint64, from, to int64) (*labelPool, error) {
	labelled, err := d.labelled(ctx, p.Decision, from, to)
	if err != nil {
		return nil, err
	}
	pool := &labelPool{}
	var drawn lots
	policy := d.policy(p.Decision)
	err = d.eachDecision(ctx, p.Decision, from, to, func(x *decided) error {
		pool.left.Decisions++
		if _, known := labelled[maphash.String(idSeed, x.id)]; known {
			pool.left.Labelled++
			return nil
		}
		if len(x.id) > labeling.TaskIDBytesMax || d.isTask(p.Name, x.id) {
			pool.left.Tasks++
			return nil
		}
		if needsScores(o.Strategy) && !(x.score >= 0 && x.score <= 1) {
			pool.left.Unscored++
			return nil
		}
		if !pool.passes(x, o, policy.Service) {
			return nil
		}
		pool.left.Eligible++
		x.lot = lotOf(seed, x.id)
		if len(drawn) < o.Pool {
			heap.Push(&drawn, x.keep())
		} else if x.lot < drawn[0].lot {
			drawn[0] = x.keep()
			heap.Fix(&drawn, 0)
		}
		return nil
	})
	slices.SortFunc(drawn, func(a, b *decided) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id)) })
	pool.items, pool.left.Pool = drawn, len(drawn)
	return pool, err
}

// passes applies the expressions of a selection.
func (pool *labelPool) passes(x *decided, o *labelingSelect, s *definition.Service) bool {
	if o.where == nil && o.slice == nil {
		return true
	}
	fields := x.fields(s)
	fault := func(err error) bool {
		if pool.left.Faulty++; pool.left.Fault == "" {
			pool.left.Fault = fmt.Sprintf("decision %s: %v", x.id, err)
		}
		return false
	}
	if o.where != nil {
		keep, err := expr.Run(o.where, fields)
		if err != nil {
			return fault(err)
		}
		if keep != true {
			pool.left.Filtered++
			return false
		}
	}
	if o.slice != nil {
		slice, err := expr.Run(o.slice, fields)
		if err != nil {
			return fault(err)
		}
		x.slice = fmt.Sprint(slice)
	}
	return true
}

// lotOf draws the lot of an id (FNV-1a and the end of MurmurHash3).
func lotOf(seed uint64, id string) uint64 {
	h := seed ^ 14695981039346656037
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// labelled are hashes of the predictions that have an outcome already.
func (d *labelDesk) labelled(ctx context.Context, decision string, from, to int64) (map[uint64]struct{}, error) {
	known := map[uint64]struct{}{}
	if streamColumns(d.log, groundtruth.OutcomeStream) == nil || streamColumns(d.log, groundtruth.PredictionStream) == nil {
		return known, nil
	}
	for _, label := range d.labels {
		if label.Decision != decision {
			continue
		}
		rows, err := groundtruth.Join(ctx, groundtruth.JoinOptions{Log: d.log, Label: label, From: max(0, from), To: to, LabelledOnly: true, Now: d.now})
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			if row := rows.Row(); row.Label.Status == groundtruth.Observed {
				known[maphash.String(idSeed, row.PredictionID)] = struct{}{}
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return known, nil
}
