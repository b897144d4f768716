// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/selection"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// selectionStream has a record for each selection, written before its tasks: what a crash
// keeps from becoming tasks does so at the next start.
const selectionStream = "labeling_selections"

// Columns of selectionStream.
const (
	selProject = iota
	selPlanned
	selFrom
	selTo
	selStrategy
	selBy
	selEligible
	selPool
	selChosen
)

func selectionSchema() offline.Schema {
	return offline.Schema{Stream: selectionStream, Columns: []offline.Column{
		selProject: {Name: "project", Type: offline.TypeString}, selPlanned: {Name: "planned", Type: offline.TypeBool},
		selFrom: {Name: "from", Type: offline.TypeTimestamp}, selTo: {Name: "to", Type: offline.TypeTimestamp},
		selStrategy: {Name: "strategy", Type: offline.TypeString}, selBy: {Name: "by", Type: offline.TypeString},
		selEligible: {Name: "eligible", Type: offline.TypeInt64}, selPool: {Name: "pool", Type: offline.TypeInt64},
		selChosen: {Name: "chosen", Type: offline.TypeString},
	}}
}

// chosenTask is a decision that was chosen.
type chosenTask struct {
	ID     string          `json:"id"`
	Chosen labeling.Chosen `json:"chosen"`
	// Priority has the most wanted first.
	Priority float64 `json:"priority"`
}

// selectRound is one selection: of the decisions from From to To.
type selectRound struct {
	from, to time.Time
	planned  bool // by the plan, and not by hand
	by       string
	dry      bool // only say what would be chosen
}

// selected is what a selection did.
type selected struct {
	Project  string       `json:"project"`
	Strategy string       `json:"strategy"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Chosen   []chosenTask `json:"chosen"`
	Added    int          `json:"added"`
	Left     leftOut      `json:"left_out"`
	// Note says why nothing was chosen.
	Note string `json:"note,omitempty"`
}

// selectTasks chooses decisions and makes them tasks.
func (d *labelDesk) selectTasks(ctx context.Context, p *labelingProject, o *labelingSelect, round selectRound) (*selected, error) {
	d.selecting.Lock()
	defer d.selecting.Unlock()
	out := &selected{Project: p.Name, Strategy: string(o.Strategy), From: round.from, To: round.to, Chosen: []chosenTask{}}
	counts, err := d.store.Counts(p.Name)
	if err != nil {
		return nil, err
	}
	count := min(o.Count, o.OpenMax-counts.Open)
	if count < 1 {
		out.Note = fmt.Sprintf("%d tasks are open, and open_max is %d", counts.Open, o.OpenMax)
		return out, nil
	}
	from, to := round.from.UnixMicro(), round.to.UnixMicro()
	seed := lotOf(o.Seed, p.Name+"@"+strconv.FormatInt(to, 10))
	pool, err := d.drawPool(ctx, p, o, seed, from, to)
	if err != nil {
		return nil, err
	}
	if err := d.choose(ctx, p, o, pool, count, seed, round, out); err != nil {
		return nil, err
	}
	out.Left = pool.left
	if round.dry || len(out.Chosen) == 0 {
		return out, nil
	}
	if err := d.record(ctx, p, o, round, out); err != nil {
		return nil, err
	}
	items := map[string]*decided{}
	for _, x := range pool.items {
		items[x.id] = x
	}
	out.Added, err = d.addTasks(ctx, p, out.Chosen, items)
	return out, err
}

// choose fills in what is chosen of a pool.
func (d *labelDesk) choose(ctx context.Context, p *labelingProject, o *labelingSelect, pool *labelPool, count int, seed uint64, round selectRound, out *selected) error {
	in := selection.Pool{}
	if o.Strategy == selection.VoteEntropy || o.Strategy == selection.ConsensusKL {
		if err := d.committee(ctx, p, pool, round, &in); err != nil {
			return err
		}
	}
	if in.Size = len(pool.items); in.Size == 0 {
		out.Note = "there is nothing to choose from"
		return nil
	}
	if needsScores(o.Strategy) {
		for _, x := range pool.items {
			in.Probabilities = append(in.Probabilities, []float64{1 - x.score, x.score})
		}
	}
	if o.Strategy == selection.KCenter || o.Strategy == selection.Gradient || o.Strategy == selection.Badge || o.Diverse > 0 {
		in.Embeddings, in.Dim = standardised(pool.items, d.policy(p.Decision).Service)
		if in.Dim == 0 {
			return fmt.Errorf("strategy %s needs vectors, and the decisions have none of the service as it is defined", o.Strategy)
		}
	}
	if o.Strategy == selection.Impact {
		for _, x := range pool.items {
			in.Slices = append(in.Slices, x.slice)
		}
		var err error
		if in.Weights, err = d.sliceWeights(o); err != nil {
			return err
		}
	}
	share := o.RandomShare
	if share == 0 {
		share = -1 // selection takes 0 for its default
	}
	choices, err := selection.Select(&in, selection.Options{Strategy: o.Strategy, Count: count, RandomShare: share, Diverse: o.Diverse, Seed: seed})
	if err != nil {
		return err
	}
	// The pool itself was drawn at random of what is eligible.
	drawn := float64(pool.left.Pool) / float64(max(1, pool.left.Eligible))
	for rank, c := range choices {
		x := pool.items[c.Item]
		out.Chosen = append(out.Chosen, chosenTask{ID: x.id, Priority: 1 - float64(rank)/float64(len(choices)),
			Chosen: labeling.Chosen{Strategy: string(c.Strategy), Score: c.Score, Propensity: c.Propensity * drawn, Why: c.Why, Slice: x.slice}})
	}
	return nil
}

// sliceWeights are those of the file, over them those of the monitor.
func (d *labelDesk) sliceWeights(o *labelingSelect) (map[string]float64, error) {
	weights := map[string]float64{}
	for name, w := range o.Weights {
		weights[name] = w
	}
	if o.Monitor == "" || d.weights == nil {
		return weights, nil
	}
	measured, err := d.weights(o.Monitor)
	if err != nil {
		return nil, fmt.Errorf("monitor %s: %w", o.Monitor, err)
	}
	for name, w := range measured {
		weights[name] = w
	}
	return weights, nil
}

// standardised are the numbers of vectors, each column with mean 0 and deviation 1, what is
// missing at the mean; dim is 0 if there are none.
func standardised(items []*decided, s *definition.Service) (out []float32, dim int) {
	var columns []int
	for i := range s.Features {
		if s.Features[i].Type != column.String {
			columns = append(columns, i)
		}
	}
	if len(columns) == 0 || !slices.ContainsFunc(items, func(x *decided) bool { return x.numbers != nil }) {
		return nil, 0
	}
	out = make([]float32, len(items)*len(columns))
	for k, c := range columns {
		n, mean, squares := 0.0, 0.0, 0.0
		each := func(visit func(i int, v float64)) {
			for i, x := range items {
				if x.numbers != nil && !math.IsNaN(x.numbers[c]) && !math.IsInf(x.numbers[c], 0) {
					visit(i, x.numbers[c])
				}
			}
		}
		each(func(_ int, v float64) { n++; delta := v - mean; mean += delta / n; squares += delta * (v - mean) })
		if squares == 0 {
			continue
		}
		deviation := math.Sqrt(squares / n)
		each(func(i int, v float64) { out[i*len(columns)+k] = float32((v - mean) / deviation) })
	}
	return out, len(columns)
}

// committee takes the scores of shadow models beside that of the model which answered, and
// leaves out what some of them did not see.
func (d *labelDesk) committee(ctx context.Context, p *labelingProject, pool *labelPool, round selectRound, in *selection.Pool) (err error) {
	if streamColumns(d.log, frontend.ShadowStream) == nil {
		return errors.New("no shadow model has run: name some in the decision's policy, or take another strategy")
	}
	scan, err := d.log.Scan(ctx, offline.Query{Stream: frontend.ShadowStream, Columns: []string{"decision", "model", "score"},
		From: max(0, round.from.UnixMicro()), To: round.to.UnixMicro(), Versions: offline.AllVersions})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	scores := map[string]map[string]float64{}
	for _, x := range pool.items {
		scores[x.id] = map[string]float64{}
	}
	models := map[string]bool{}
	for scan.Next() {
		r := scan.Record()
		of := scores[r.ID]
		if of == nil || r.Values[0].Text() != p.Decision || r.Values[2].IsNull() {
			continue
		}
		if s := r.Values[2].Float64(); s >= 0 && s <= 1 {
			name := strings.Clone(r.Values[1].Text())
			of[name], models[name] = s, true
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	pool.items = slices.DeleteFunc(pool.items, func(x *decided) bool {
		missing := len(models) == 0 || len(scores[x.id]) < len(models)
		if missing {
			pool.left.Alone++
		}
		return missing
	})
	members := []string{""}
	for name := range models {
		members = append(members, name)
	}
	slices.Sort(members)
	for _, name := range members {
		var rows [][]float64
		for _, x := range pool.items {
			s := x.score
			if name != "" {
				s = scores[x.id][name]
			}
			rows = append(rows, []float64{1 - s, s})
		}
		in.Committee = append(in.Committee, rows)
	}
	return nil
}

// record writes down what was chosen.
func (d *labelDesk) record(ctx context.Context, p *labelingProject, o *labelingSelect, round selectRound, out *selected) error {
	chosen, err := json.Marshal(out.Chosen)
	if err != nil {
		return err
	}
	id := p.Name + "@" + round.to.UTC().Format(time.RFC3339Nano)
	if !round.planned {
		id = p.Name + "!" + d.now().UTC().Format(time.RFC3339Nano)
	}
	return d.selections.AppendSync(ctx, &offline.Record{ID: id, EventTime: d.now().UnixMicro(), Values: []offline.Value{
		selProject: offline.String(p.Name), selPlanned: offline.Bool(round.planned),
		selFrom: offline.Timestamp(round.from.UnixMicro()), selTo: offline.Timestamp(round.to.UnixMicro()),
		selStrategy: offline.String(string(o.Strategy)), selBy: offline.String(round.by),
		selEligible: offline.Int64(int64(out.Left.Eligible)), selPool: offline.Int64(int64(out.Left.Pool)),
		selChosen: offline.String(string(chosen)),
	}})
}

// addTasks makes tasks of decisions; those that are tasks already are passed over.
func (d *labelDesk) addTasks(ctx context.Context, p *labelingProject, chosen []chosenTask, items map[string]*decided) (added int, err error) {
	var tasks []labeling.Task
	for _, c := range chosen {
		x := items[c.ID]
		if x == nil || d.isTask(p.Name, c.ID) {
			continue
		}
		t, err := d.task(p, x, c)
		if err != nil {
			return 0, err
		}
		tasks = append(tasks, t)
	}
	sum, err := d.store.Add(ctx, p.Name, tasks)
	return sum.New, err
}

// task is a decision as a task.
func (d *labelDesk) task(p *labelingProject, x *decided, c chosenTask) (labeling.Task, error) {
	policy := d.policy(p.Decision)
	data, err := x.data(policy.Service)
	t := labeling.Task{ID: x.id, Data: data, At: time.UnixMicro(x.at).UTC()}
	t.Priority, t.Chosen = c.Priority, &c.Chosen
	if guess, confidence, ok := p.guess(x.score); ok {
		t.Prediction = &labeling.Prediction{Model: x.model, Version: strconv.FormatInt(x.version, 10), Value: guess, Score: confidence}
		texts := map[string]string{}
		for _, r := range policy.Reasons() {
			texts[r.Code] = r.Text
		}
		for code := range strings.SplitSeq(x.reasons, ",") {
			if code != "" && len(t.Prediction.Reasons) < labeling.ReasonsMax {
				reason := code
				if texts[code] != "" {
					reason = code + ": " + texts[code]
				}
				t.Prediction.Reasons = append(t.Prediction.Reasons, reason)
			}
		}
	}
	return t, err
}

// guess is the label that a score stands for, and how sure that is.
func (p *labelingProject) guess(score float64) (labeling.Value, float64, bool) {
	if p.Labels.Kind != labeling.Single || p.Positive == "" || !(score >= 0 && score <= 1) {
		return labeling.Value{}, 0, false
	}
	if score >= 0.5 {
		return labeling.Choose(p.Positive), score, true
	}
	if len(p.Labels.Labels) != 2 {
		return labeling.Value{}, 0, false // which of the others it is, a score does not say
	}
	other := p.Labels.Labels[1-p.label(p.Positive)].Name
	return labeling.Choose(other), 1 - score, true
}

// resume finds the last selections by plan, and makes tasks of what a crash kept from it.
func (d *labelDesk) resume(ctx context.Context) (err error) {
	type cut struct {
		to     time.Time
		from   int64
		chosen string
	}
	last := map[string]time.Time{}
	newest := map[string]cut{} // of each project, by plan or by hand: later ones begin when this one is whole
	scan, err := d.log.Scan(ctx, offline.Query{Stream: selectionStream, Versions: offline.AllVersions,
		Columns: []string{"project", "planned", "from", "to", "chosen"}})
	if err != nil {
		return err
	}
	for scan.Next() { // by event time, which is when it was chosen
		v := scan.Record().Values
		name := strings.Clone(v[0].Text())
		to := time.UnixMicro(v[3].Int64()).UTC()
		newest[name] = cut{to, v[2].Int64(), strings.Clone(v[4].Text())}
		if v[1].Bool() && to.After(last[name]) {
			last[name] = to
		}
	}
	if err := errors.Join(scan.Err(), scan.Close()); err != nil {
		return err
	}
	d.mu.Lock()
	d.mu.last = last
	d.mu.Unlock()
	for name, c := range newest {
		p, err := d.project(name)
		if err != nil || p.Decision == "" {
			continue // a project that the files do not have any more
		}
		var chosen []chosenTask
		if err := json.Unmarshal([]byte(c.chosen), &chosen); err != nil {
			return fmt.Errorf("stream %s, project %s: %w", selectionStream, name, err)
		}
		if err := d.complete(ctx, p, chosen, c.from, c.to.UnixMicro()); err != nil {
			return fmt.Errorf("project %s: the selection up to %s: %w", name, c.to.Format(time.RFC3339), err)
		}
	}
	return nil
}

// complete makes tasks of the chosen that are none yet.
func (d *labelDesk) complete(ctx context.Context, p *labelingProject, chosen []chosenTask, from, to int64) error {
	missing := map[string]bool{}
	for _, c := range chosen {
		if !d.isTask(p.Name, c.ID) {
			missing[c.ID] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	items := map[string]*decided{}
	err := d.eachDecision(ctx, p.Decision, from, to, func(x *decided) error {
		if missing[x.id] {
			items[strings.Clone(x.id)] = x.keep()
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = d.addTasks(ctx, p, chosen, items)
	return err
}

// due is the round that a project's plan asks for now, if there is one. Rounds end at
// multiples of Every since 1970; of several that were missed, the newest is made up for.
func (d *labelDesk) due(p *labelingProject, now time.Time) (selectRound, bool) {
	s := p.Select
	if s == nil || s.Every == 0 {
		return selectRound{}, false
	}
	to := time.UnixMicro(now.UnixMicro() / s.Every.Microseconds() * s.Every.Microseconds()).UTC()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !to.After(d.mu.last[p.Name]) {
		return selectRound{}, false
	}
	d.mu.last[p.Name] = to
	return selectRound{from: to.Add(-s.Window), to: to, planned: true, by: "schedule"}, true
}
