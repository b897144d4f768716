// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/aggregate"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/labeling/selection"
)

// labelingProject is a project of a labelling file.
type labelingProject struct {
	labeling.Project
	file string
	// Decision is the one whose answers are labelled; empty is none.
	Decision string
	// Positive is the label that a high score stands for; empty is none.
	Positive string
	Select   *labelingSelect
	Feedback *labelingFeedback
	// Functions vote for labels beside people: label aggregate --functions.
	Functions []aggregate.Function
}

// Bounds of selections in `up`.
const (
	labelingProjectsMax  = 50
	selectCountMax       = 2000
	selectPoolDefault    = 20_000
	selectPoolMax        = 200_000
	selectOpenDefault    = 1000
	labelingFunctionsMax = 200
)

// labelingSelect says which decisions become tasks, and when.
type labelingSelect struct {
	Strategy             selection.Strategy
	Count                int
	RandomShare, Diverse float64
	// Every is the time between selections, by the project's clock; 0 is by hand alone.
	// Window is how far back the decisions lie that are chosen from.
	Every, Window time.Duration
	// Pool bounds the decisions that are chosen from: of more, as many are drawn at random.
	Pool int
	// OpenMax ends selecting while so many tasks wait to be labelled.
	OpenMax int
	Where   string
	// Slice is an expression that names the slice of a decision, Weights what a slice
	// counts, for the strategy impact. Monitor is the monitor whose newest report gives
	// drifted slices their weights.
	Slice   string
	Weights map[string]float64
	Monitor string
	Seed    uint64

	where, slice *vm.Program
}

// labelingFeedback says what a finished task tells the collector.
type labelingFeedback struct {
	Name, Source string
	// Kind 0 is that of the label of the name and decision, else groundtruth.KindLabel.
	Kind groundtruth.Kind
	// Values are by label; none for numbers, which are told as they are.
	Values map[string]groundtruth.Value
}

var labelingKeys = []string{"title", "guide", "overlap", "lease", "review", "skips_max", "gold_share", "show_prediction", "labels", "decision", "positive", "select", "feedback", "functions"}

// loadLabeling reads labelling files; all that is wrong with them is reported.
func loadLabeling(files, decisions []string) ([]*labelingProject, error) {
	var all []*labelingProject
	var errs definition.Errors
	for _, file := range files {
		data, err := readBounded(file, projectBytesMax)
		if err != nil {
			return nil, fmt.Errorf("labeling: %w", err)
		}
		r := &projectReader{file: file}
		if root := r.parse(data); root != nil {
			all = append(all, readLabeling(r, root, decisions, all)...)
		}
		errs = append(errs, r.errs...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return all, nil
}

func readLabeling(r *projectReader, root ast.Node, decisions []string, before []*labelingProject) (all []*labelingProject) {
	o := r.object(root, "", "labeling")
	if !o.has("labeling") {
		o.bad("", "labeling is missing, with projects by name")
		return nil
	}
	for _, entry := range o.entries("labeling") {
		name, path := entry.Key.GetToken().Value, "labeling."+entry.Key.GetToken().Value
		twice := func(p *labelingProject) bool { return p.Name == name }
		switch {
		case slices.ContainsFunc(before, twice) || slices.ContainsFunc(all, twice):
			r.at(entry.Key, path, "there is a project of that name already")
			continue
		case len(before)+len(all) == labelingProjectsMax:
			r.at(entry.Key, path, "there are more than %d projects", labelingProjectsMax)
			return all
		}
		p := &labelingProject{file: r.file, Project: labeling.Project{Name: name}}
		p.read(r.object(entry.Value, path, labelingKeys...), decisions)
		all = append(all, p)
	}
	return all
}

func (p *labelingProject) read(o *projectObject, decisions []string) {
	p.Title, p.Guide = o.text("title", ""), o.text("guide", "")
	p.Overlap = o.integer("overlap", 1, 1, labeling.OverlapMax)
	p.Lease = o.duration("lease", 0)
	p.Review = labeling.ReviewPolicy(o.text("review", ""))
	p.SkipsMax = o.integer("skips_max", 0, 1, labeling.OverlapMax)
	p.GoldShare = decimalOf(o, "gold_share", 0, 0, 0.5)
	p.ShowPrediction = o.truth("show_prediction", false)
	p.Decision = o.text("decision", "")
	if p.Decision != "" && !slices.Contains(decisions, p.Decision) {
		o.bad("decision", "there is no decision %q%s", p.Decision, didYouMean(p.Decision, decisions))
	}
	p.readLabels(o.object("labels", "kind", "labels", "min", "max", "tolerance", "text"))
	mistakes := len(o.r.errs)
	p.EnsureDefaults()
	if err := p.Validate(); err != nil && mistakes == len(o.r.errs) {
		o.bad("", "%v", err)
	}
	if o.has("select") {
		p.readSelect(o.object("select", "strategy", "count", "random_share", "diverse", "every", "window", "pool", "open_max", "where", "slice", "weights", "monitor", "seed"))
	}
	if o.has("feedback") {
		p.readFeedback(o.object("feedback", "name", "source", "kind", "values"))
	}
	p.Positive = o.text("positive", p.positive())
	if p.Positive != "" && p.label(p.Positive) < 0 {
		o.bad("positive", "%q is no label", p.Positive)
	}
	p.readFunctions(o)
	if p.Select == nil {
		return
	}
	if p.Decision == "" {
		o.bad("select", "needs the decision whose answers are chosen from: decision is missing")
	}
	if p.Positive == "" && needsScores(p.Select.Strategy) {
		o.bad("select", "strategy %s goes by the score, so positive has to say which label a high one stands for", p.Select.Strategy)
	}
}

// positive is the one label that feedback says is true.
func (p *labelingProject) positive() string {
	if p.Feedback == nil {
		return ""
	}
	for _, l := range p.Labels.Labels {
		if p.Feedback.Values[l.Name] == groundtruth.Bool(true) {
			return l.Name
		}
	}
	return ""
}

// label is the place of a label, -1 if there is none.
func (p *labelingProject) label(name string) int {
	return slices.IndexFunc(p.Labels.Labels, func(l labeling.Label) bool { return l.Name == name })
}

// needsScores says which strategies go by a model's probabilities.
func needsScores(s selection.Strategy) bool {
	return s != selection.Random && s != selection.KCenter
}

func (p *labelingProject) readLabels(o *projectObject) {
	l := &p.Labels
	l.Kind = labeling.Kind(o.text("kind", string(labeling.Single)))
	l.Min, l.Max = decimalOf(o, "min", 0, -math.MaxFloat64, math.MaxFloat64), decimalOf(o, "max", 0, -math.MaxFloat64, math.MaxFloat64)
	l.Tolerance, l.Text = decimalOf(o, "tolerance", 0, 0, math.MaxFloat64), o.text("text", "")
	if !o.has("labels") {
		return
	}
	list, ok := o.keys["labels"].(*ast.SequenceNode)
	if !ok {
		o.bad("labels", "needs a list, such as [{name: fraud, key: f}, {name: genuine, key: g}]")
		return
	}
	for i, item := range list.Values {
		path := fmt.Sprintf("%s[%d]", join(o.path, "labels"), i)
		if _, isText := item.(*ast.StringNode); isText {
			name, _ := o.r.scalar(item, path)
			l.Labels = append(l.Labels, labeling.Label{Name: name})
			continue
		}
		one := o.r.object(item, path, "name", "title", "key")
		if !one.has("name") {
			one.bad("", "name is missing")
		}
		l.Labels = append(l.Labels, labeling.Label{Name: one.text("name", ""), Title: one.text("title", ""), Key: one.text("key", "")})
	}
}

func (p *labelingProject) readSelect(o *projectObject) {
	s := &labelingSelect{
		Strategy: selection.Strategy(o.text("strategy", string(selection.Margin))),
		Count:    o.integer("count", 50, 1, selectCountMax), RandomShare: decimalOf(o, "random_share", 0.1, 0, 1), Diverse: decimalOf(o, "diverse", 0, 1, 1000),
		Every: o.duration("every", 0), Window: o.duration("window", 24*time.Hour),
		Pool: o.integer("pool", selectPoolDefault, 1, selectPoolMax), OpenMax: o.integer("open_max", selectOpenDefault, 1, 1<<20),
		Where: o.text("where", ""), Slice: o.text("slice", ""), Monitor: o.text("monitor", ""), Seed: uint64(o.integer("seed", 0, 0, 1<<53)),
	}
	if !slices.Contains(selection.Strategies(), s.Strategy) {
		o.bad("strategy", "%q is none of %v", s.Strategy, selection.Strategies())
	}
	if s.Every != 0 && s.Every < time.Second {
		o.bad("every", "needs 1s or more")
	}
	var err error
	if s.where, err = compileWhere(s.Where, whereIsBool); err != nil {
		o.bad("where", "%v", err)
	}
	if s.slice, err = compileWhere(s.Slice); err != nil {
		o.bad("slice", "%v", err)
	}
	if o.has("weights") {
		s.Weights = map[string]float64{}
		for _, entry := range o.entries("weights") {
			name := entry.Key.GetToken().Value
			one := &projectObject{r: o.r, node: entry, path: join(o.path, "weights"), keys: map[string]ast.Node{name: entry.Value}}
			s.Weights[name] = decimalOf(one, name, 1, 0, 1e9)
		}
	}
	if (s.Strategy == selection.Impact) != (s.slice != nil) {
		o.bad("slice", "strategy impact needs it, and no other takes it: an expression such as amount > 200 ? \"large\" : \"small\"")
	}
	p.Select = s
}

// whereIsBool asks for a condition.
var whereIsBool = expr.AsBool()

// compileWhere compiles an expression over the fields of a decision; an empty one is nil.
func compileWhere(text string, options ...expr.Option) (*vm.Program, error) {
	if text == "" {
		return nil, nil
	}
	return expr.Compile(text, append(options, expr.AllowUndefinedVariables())...)
}

func (p *labelingProject) readFeedback(o *projectObject) {
	f := &labelingFeedback{Name: o.text("name", ""), Source: o.text("source", "labeling"), Values: map[string]groundtruth.Value{}}
	if f.Name == "" {
		o.bad("", "name is missing: that of the outcome, such as is_fraud")
	}
	if o.has("kind") {
		var err error
		if f.Kind, err = groundtruth.ParseKind(o.text("kind", "")); err != nil {
			o.bad("kind", "%v", err)
		}
	}
	p.Feedback = f
	switch p.Labels.Kind {
	case labeling.Number:
		if o.has("values") {
			o.bad("values", "a project of kind number tells the number itself")
		}
	case labeling.Single:
		p.readValues(o)
	default:
		o.bad("", "is for projects of kind single and number: what %s say is no single value", p.Labels.Kind)
	}
}

// readValues reads the value of each label; a label without one stands for itself.
func (p *labelingProject) readValues(o *projectObject) {
	f := p.Feedback
	for _, l := range p.Labels.Labels {
		f.Values[l.Name] = groundtruth.Class(l.Name)
	}
	if !o.has("values") {
		return
	}
	for _, entry := range o.entries("values") {
		name := entry.Key.GetToken().Value
		path := join(o.path, "values."+name)
		if p.label(name) < 0 {
			o.r.at(entry.Key, path, "%q is no label", name)
			continue
		}
		text, ok := o.r.scalar(entry.Value, path)
		if !ok {
			continue
		}
		switch entry.Value.(type) {
		case *ast.BoolNode:
			f.Values[name] = groundtruth.Bool(text == "true" || text == "True" || text == "TRUE")
		case *ast.IntegerNode, *ast.FloatNode:
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				o.r.at(entry.Value, path, "%q is no number", text)
			}
			f.Values[name] = groundtruth.Number(x)
		default:
			f.Values[name] = groundtruth.Class(text)
		}
	}
}

// readFunctions reads labelling functions: expressions that vote for a label.
func (p *labelingProject) readFunctions(o *projectObject) {
	if !o.has("functions") {
		return
	}
	list, ok := o.keys["functions"].(*ast.SequenceNode)
	if !ok || len(list.Values) > labelingFunctionsMax {
		o.bad("functions", "needs a list of at most %d, such as [{name: large, when: amount > 220, label: fraud}]", labelingFunctionsMax)
		return
	}
	for i, item := range list.Values {
		f := o.r.object(item, fmt.Sprintf("%s[%d]", join(o.path, "functions"), i), "name", "when", "label")
		one := aggregate.Function{Name: f.text("name", fmt.Sprintf("function %d", i)), When: f.text("when", ""), Label: p.label(f.text("label", ""))}
		if one.Label < 0 {
			f.bad("label", "%q is no label", f.text("label", ""))
		}
		if program, err := compileWhere(one.When, whereIsBool); err != nil || program == nil {
			f.bad("when", "needs a condition such as amount > 220: %v", err)
		}
		p.Functions = append(p.Functions, one)
	}
}

// decimalOf reads a number between bounds.
func decimalOf(o *projectObject, key string, otherwise, least, most float64) float64 {
	text, ok := o.scalar(key)
	if !ok {
		return otherwise
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(x >= least && x <= most) {
		o.bad(key, "needs a number from %v to %v, not %q", least, most, text)
		return otherwise
	}
	return x
}

// settle completes the feedback of a project by the labels that there are, or says why what
// it tells would never count.
func (p *labelingProject) settle(labels []*groundtruth.Definition) error {
	f := p.Feedback
	if f == nil {
		return nil
	}
	kinds, heard := map[groundtruth.Kind]bool{}, false
	for _, d := range labels {
		if d.Decision != p.Decision || d.Outcome != f.Name {
			continue
		}
		kinds[d.Kind] = true
		heard = heard || d.Hears(f.Source)
		if p.Labels.Kind == labeling.Number && d.Type != groundtruth.TypeNull && d.Type != groundtruth.TypeNumber {
			return fmt.Errorf("%s: labeling.%s.feedback: tells numbers, and label %s takes a %v", p.file, p.Name, d.Name, d.Type)
		}
		for name, v := range f.Values {
			if d.Type != groundtruth.TypeNull && v.Type != d.Type {
				return fmt.Errorf("%s: labeling.%s.feedback.values.%s: is a %v, and label %s takes a %v", p.file, p.Name, name, v.Type, d.Name, d.Type)
			}
		}
	}
	if len(kinds) > 0 && !heard {
		return fmt.Errorf("%s: labeling.%s.feedback.source: %q counts for no label named %s of decision %s; add it to the label's sources", p.file, p.Name, f.Source, f.Name, p.Decision)
	}
	switch {
	case f.Kind == 0 && len(kinds) == 1:
		for f.Kind = range kinds {
		}
	case f.Kind == 0:
		f.Kind = groundtruth.KindLabel
	case len(kinds) > 0 && !kinds[f.Kind]:
		return fmt.Errorf("%s: labeling.%s.feedback.kind: %v counts for no label named %s of decision %s; leave it out", p.file, p.Name, f.Kind, f.Name, p.Decision)
	}
	return nil
}
