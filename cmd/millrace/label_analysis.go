// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/agreement"
	"github.com/millrace-ml/millrace/labeling/quality"
)

// Bounds of what is computed for one request.
const (
	agreementDraws    = 1000
	agreementWork     = 20_000_000 // draws times items
	agreementPairsMax = 30
	analysedMax       = 1_000_000 // annotations
)

// labelEstimate is a coefficient with its interval; null is one that is not defined.
type labelEstimate struct {
	Value *float64 `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
	Items int      `json:"items"`
	// Between are the two annotators of a Cohen's kappa.
	Between []string `json:"between,omitempty"`
}

func estimated(e agreement.Estimate) labelEstimate {
	return labelEstimate{Value: finite(e.Value), Low: finite(e.Low), High: finite(e.High), Items: e.Items}
}

func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// agreementReport says how far annotators agree.
type agreementReport struct {
	Project     string           `json:"project"`
	Annotations int              `json:"annotations"`
	Cohen       []labelEstimate  `json:"cohen"`
	Fleiss      *labelEstimate   `json:"fleiss,omitempty"`
	Alpha       *labelEstimate   `json:"alpha,omitempty"`
	People      []agreementAbout `json:"people"`
}

// agreementAbout is how one annotator works.
type agreementAbout struct {
	Name     string   `json:"name"`
	Answers  int      `json:"answers"`
	LeadMS   int64    `json:"lead_ms"`
	Others   *float64 `json:"agrees_with_others"`
	Pairs    int      `json:"pairs"`
	Gold     *float64 `json:"gold_right"`
	GoldLow  *float64 `json:"gold_low"`
	GoldHigh *float64 `json:"gold_high"`
	GoldSeen int      `json:"gold_seen"`
}

// opinions are the annotations of a project, by task and annotator.
type opinions struct {
	answers []agreement.Answer
	values  []labeling.Value
	// byTask has places in answers, tasks in order.
	tasks  []string
	byTask map[string][]int
	views  map[string]*labeling.TaskView
}

var errTooMany = &refusal{http.StatusRequestEntityTooLarge, "the project has too many annotations to be analysed at once; export them"}

// opinionsOf reads the annotations; keep says of which tasks the views are wanted too.
func (d *labelDesk) opinionsOf(project string, keep func(*labeling.TaskView) bool) (*opinions, error) {
	o := &opinions{byTask: map[string][]int{}, views: map[string]*labeling.TaskView{}}
	err := d.store.Each(project, func(v *labeling.TaskView) error {
		for _, a := range v.Annotations {
			if a.Kind != labeling.KindAnnotation {
				continue
			}
			if len(o.answers) == analysedMax {
				return errTooMany
			}
			if o.byTask[v.Task.ID] == nil {
				o.tasks = append(o.tasks, v.Task.ID)
			}
			o.byTask[v.Task.ID] = append(o.byTask[v.Task.ID], len(o.answers))
			one := agreement.Answer{Item: v.Task.ID, Annotator: a.Annotator, Value: a.Value.Key(), Lead: a.Lead}
			if v.Task.Gold != nil {
				one.Gold = v.Task.Gold.Key()
			}
			o.answers, o.values = append(o.answers, one), append(o.values, a.Value)
		}
		if keep != nil && keep(v) {
			view := *v
			o.views[v.Task.ID] = &view
		}
		return nil
	})
	return o, err
}

// annotators are their names, in order.
func (o *opinions) annotators() []string {
	seen := map[string]bool{}
	var names []string
	for _, a := range o.answers {
		if !seen[a.Annotator] {
			seen[a.Annotator] = true
			names = append(names, a.Annotator)
		}
	}
	slices.Sort(names)
	return names
}

// codes number the different values.
func (o *opinions) codes() (codes []int, count int) {
	numbers := map[string]int{}
	for _, a := range o.answers {
		if _, ok := numbers[a.Value]; !ok {
			numbers[a.Value] = len(numbers)
		}
		codes = append(codes, numbers[a.Value])
	}
	return codes, len(numbers)
}

// agreementOf computes all coefficients that the annotations allow.
func (d *labelDesk) agreementOf(p *labelingProject) (*agreementReport, error) {
	o, err := d.opinionsOf(p.Name, nil)
	if err != nil {
		return nil, err
	}
	report := &agreementReport{Project: p.Name, Annotations: len(o.answers), Cohen: []labelEstimate{}, People: []agreementAbout{}}
	if len(o.answers) == 0 {
		return report, nil
	}
	people, err := agreement.People(o.answers)
	if err != nil {
		return nil, err
	}
	for _, q := range people {
		report.People = append(report.People, agreementAbout{q.Name, q.Answers, q.Lead.Milliseconds(), finite(q.Others), q.Pairs, finite(q.Gold), finite(q.GoldLow), finite(q.GoldHigh), q.GoldItems})
	}
	boot := agreement.Bootstrap{Draws: max(100, min(agreementDraws, agreementWork/len(o.tasks))), Seed: 1}
	codes, count := o.codes()
	return report, errors.Join(report.alpha(p, o, codes, boot), report.cohen(o, codes, count, boot), report.fleiss(p, o, codes, count, boot))
}

// alpha is over all annotations: of numbers by their differences, else the same or not.
func (r *agreementReport) alpha(p *labelingProject, o *opinions, codes []int, boot agreement.Bootstrap) error {
	names := o.annotators()
	if len(names) < 2 {
		return nil
	}
	level := agreement.Nominal
	if p.Labels.Kind == labeling.Number {
		level = agreement.Interval
	}
	var rows [][]float64
	for _, task := range o.tasks {
		if len(o.byTask[task]) < 2 {
			continue
		}
		row := make([]float64, len(names))
		for i := range row {
			row[i] = math.NaN()
		}
		for _, at := range o.byTask[task] {
			i, _ := slices.BinarySearch(names, o.answers[at].Annotator)
			if row[i] = float64(codes[at]); level == agreement.Interval {
				row[i] = *o.values[at].Number
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	e, err := agreement.Alpha(rows, level, boot)
	if err != nil {
		return err
	}
	out := estimated(e)
	r.Alpha = &out
	return nil
}

// cohen is that of the pairs with the most tasks in common.
func (r *agreementReport) cohen(o *opinions, codes []int, count int, boot agreement.Bootstrap) error {
	if count > agreement.LabelsMax {
		return nil // as numbers have
	}
	type pair struct {
		names [2]string
		a, b  []int
	}
	pairs := map[[2]string]*pair{}
	for _, task := range o.tasks {
		for _, i := range o.byTask[task] {
			for _, j := range o.byTask[task] {
				names := [2]string{o.answers[i].Annotator, o.answers[j].Annotator}
				if names[0] >= names[1] {
					continue
				}
				if pairs[names] == nil {
					pairs[names] = &pair{names: names}
				}
				pairs[names].a, pairs[names].b = append(pairs[names].a, codes[i]), append(pairs[names].b, codes[j])
			}
		}
	}
	var all []*pair
	for _, p := range pairs {
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y *pair) int {
		return cmp.Or(len(y.a)-len(x.a), strings.Compare(x.names[0], y.names[0]), strings.Compare(x.names[1], y.names[1]))
	})
	for _, p := range all[:min(len(all), agreementPairsMax)] {
		e, err := agreement.CohenKappa(p.a, p.b, count, agreement.Unweighted, boot)
		if err != nil {
			return err
		}
		out := estimated(e)
		out.Between = p.names[:]
		r.Cohen = append(r.Cohen, out)
	}
	return nil
}

// fleiss is over the tasks that have as many annotations as the project asks for.
func (r *agreementReport) fleiss(p *labelingProject, o *opinions, codes []int, count int, boot agreement.Bootstrap) error {
	if p.Overlap < 2 || count > agreement.LabelsMax {
		return nil
	}
	var counts [][]int
	for _, task := range o.tasks {
		if len(o.byTask[task]) != p.Overlap {
			continue
		}
		row := make([]int, count)
		for _, at := range o.byTask[task] {
			row[codes[at]]++
		}
		counts = append(counts, row)
	}
	if len(counts) == 0 {
		return nil
	}
	e, err := agreement.FleissKappa(counts, boot)
	if err != nil {
		return err
	}
	out := estimated(e)
	r.Fleiss = &out
	return nil
}

// doubt is an annotation to look at again.
type doubt struct {
	Task      string  `json:"task"`
	Annotator string  `json:"annotator"`
	Given     string  `json:"given"`
	Suggested string  `json:"suggested"`
	Score     float64 `json:"score"`
}

// doubtReport is what confident learning finds.
type doubtReport struct {
	Project     string `json:"project"`
	Annotations int    `json:"annotations"`
	// Unscored annotations are of tasks without a prediction, or whose prediction has no score,
	// as some that were imported.
	Unscored int     `json:"unscored"`
	Noise    float64 `json:"noise"`
	Issues   int     `json:"issues"`
	// Doubts are the issues, the worst first; with rank all annotations.
	Doubts []doubt `json:"doubts"`
	Note   string  `json:"note,omitempty"`
}

// doubts compares annotations with what the model said when the task was chosen. That model
// had not seen the label then, so its probabilities are out of sample.
func (d *labelDesk) doubts(p *labelingProject, limit int, all bool, options quality.Options) (*doubtReport, error) {
	report := &doubtReport{Project: p.Name, Doubts: []doubt{}}
	if p.Labels.Kind != labeling.Single || len(p.Labels.Labels) < 2 {
		return nil, &refusal{http.StatusBadRequest, "label errors are looked for in projects of kind single with two labels or more"}
	}
	o, err := d.opinionsOf(p.Name, func(v *labeling.TaskView) bool { return v.Task.Prediction != nil })
	if err != nil {
		return nil, err
	}
	var labels, places []int
	var probabilities [][]float64
	for at, a := range o.answers {
		view := o.views[a.Item]
		if view == nil || !p.likeliest(view.Task.Prediction) {
			report.Unscored++
			continue
		}
		labels, places = append(labels, p.label(o.values[at].Choices[0])), append(places, at)
		probabilities = append(probabilities, p.probabilities(view.Task.Prediction))
	}
	if report.Annotations = len(labels); len(labels) == 0 {
		report.Note = "no annotated task has a prediction to compare with"
		return report, nil
	}
	found, err := quality.Find(labels, probabilities, options)
	if err != nil {
		return nil, err
	}
	issues := found.Issues
	report.Noise, report.Issues = found.Noise, len(issues)
	if all {
		issues = found.Rank(labels, probabilities)
	}
	for _, issue := range issues[:min(limit, len(issues))] {
		a := o.answers[places[issue.Item]]
		report.Doubts = append(report.Doubts, doubt{a.Item, a.Annotator, p.Labels.Labels[issue.Given].Name, p.Labels.Labels[issue.Suggested].Name, issue.Score})
	}
	return report, nil
}

// likeliest says whether a score can be that of the likeliest label. One that is lower was not
// given, or is no probability.
func (p *labelingProject) likeliest(g *labeling.Prediction) bool {
	return g.Score*float64(len(p.Labels.Labels)) >= 1-1e-9
}

// probabilities are those of the labels that a prediction stands for; what it does not say
// is spread evenly.
func (p *labelingProject) probabilities(g *labeling.Prediction) []float64 {
	row := make([]float64, len(p.Labels.Labels))
	for i := range row {
		row[i] = (1 - g.Score) / float64(len(row)-1)
	}
	row[p.label(g.Value.Choices[0])] = g.Score
	return row
}
