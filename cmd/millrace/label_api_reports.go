// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/quality"
	"github.com/millrace-ml/millrace/labeling/selection"
)

// projectStatus sums a project up.
type projectStatus struct {
	Project  string         `json:"project"`
	Title    string         `json:"title,omitempty"`
	Decision string         `json:"decision,omitempty"`
	Kind     labeling.Kind  `json:"kind"`
	Labels   []string       `json:"labels,omitempty"`
	Overlap  int            `json:"overlap"`
	Open     int            `json:"open"`
	Ready    int            `json:"ready"`
	Leased   int            `json:"leased"`
	Review   int            `json:"review"`
	Done     int            `json:"done"`
	Gold     int            `json:"gold"`
	People   []personStatus `json:"people"`
	// Selected is up to when decisions were last chosen from by the plan.
	Selected time.Time `json:"selected,omitzero"`
	// Agreement is there where one project is asked for.
	Agreement *agreementReport `json:"agreement,omitempty"`
}

type personStatus struct {
	Name        string    `json:"name"`
	Annotations int       `json:"annotations"`
	Skips       int       `json:"skips"`
	Postponed   int       `json:"postponed"`
	Held        int       `json:"held"`
	GoldSeen    int       `json:"gold_seen"`
	GoldRight   int       `json:"gold_right"`
	Overridden  int       `json:"overridden"`
	LeadMS      int64     `json:"lead_ms"`
	Last        time.Time `json:"last,omitzero"`
}

func (d *labelDesk) statusOf(p *labelingProject) (*projectStatus, error) {
	c, err := d.store.Counts(p.Name)
	if err != nil {
		return nil, err
	}
	s := &projectStatus{Project: p.Name, Title: p.Title, Decision: p.Decision, Kind: p.Labels.Kind, Overlap: p.Overlap,
		Open: c.Open, Ready: c.Ready, Leased: c.Leased, Review: c.Review, Done: c.Done, Gold: c.Gold, People: []personStatus{}}
	for _, l := range p.Labels.Labels {
		s.Labels = append(s.Labels, l.Name)
	}
	for _, q := range c.People {
		s.People = append(s.People, personStatus{q.Name, q.Annotations, q.Skips, q.Postponed, q.Held, q.GoldSeen, q.GoldRight, q.Overridden, q.Lead.Milliseconds(), q.Last})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Selected = d.mu.last[p.Name]
	return s, nil
}

func (a *labelAPI) list(w http.ResponseWriter, _ *http.Request, _ *labelingProject, _ string) error {
	out := struct {
		Projects []*projectStatus `json:"projects"`
	}{Projects: []*projectStatus{}}
	for _, p := range a.desk.projects {
		s, err := a.desk.statusOf(p)
		if err != nil {
			return err
		}
		out.Projects = append(out.Projects, s)
	}
	return answerLabel(w, out)
}

func (a *labelAPI) status(w http.ResponseWriter, _ *http.Request, p *labelingProject, _ string) error {
	s, err := a.desk.statusOf(p)
	if err == nil {
		s.Agreement, err = a.desk.agreementOf(p)
	}
	if err != nil {
		return err
	}
	return answerLabel(w, s)
}

func (a *labelAPI) agreement(w http.ResponseWriter, _ *http.Request, p *labelingProject, _ string) error {
	report, err := a.desk.agreementOf(p)
	if err != nil {
		return err
	}
	return answerLabel(w, report)
}

func (a *labelAPI) errors(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	limit := 100
	if err := queryInt(r, "limit", &limit); err != nil {
		return err
	}
	q := r.URL.Query()
	report, err := a.desk.doubts(p, limit, q.Get("all") == "true", quality.Options{Rule: quality.Rule(q.Get("rule")), Score: quality.Score(q.Get("score"))})
	if err != nil {
		return err
	}
	return answerLabel(w, report)
}

func (a *labelAPI) aggregate(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	q := r.URL.Query()
	report, err := a.desk.aggregateOf(p, cmp.Or(q.Get("method"), methodDawidSkene), q.Get("functions") == "true")
	if err != nil {
		return err
	}
	return answerLabel(w, report)
}

// selectRequest asks for a selection by hand; what is not given is as the project says.
type selectRequest struct {
	Strategy    string   `json:"strategy"`
	Count       int      `json:"count"`
	RandomShare *float64 `json:"random_share"`
	Where       *string  `json:"where"`
	// From and To bound the time of the decisions; To is now, From by the window before it.
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	DryRun bool      `json:"dry_run"`
}

func (a *labelAPI) selectNow(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	var in selectRequest
	if err := readLabel(w, r, &in); err != nil {
		return err
	}
	o, err := p.selectBy(&in)
	if err != nil {
		return fmt.Errorf("%w: %w", errLabelRequest, err)
	}
	round := selectRound{from: in.From, to: in.To, by: who, dry: in.DryRun}
	if round.to.IsZero() {
		round.to = a.desk.now()
	}
	if round.from.IsZero() {
		round.from = round.to.Add(-o.Window)
	}
	if !round.from.Before(round.to) {
		return fmt.Errorf("%w: from %s is not before to %s", errLabelRequest, round.from.Format(time.RFC3339), round.to.Format(time.RFC3339))
	}
	out, err := a.desk.selectTasks(r.Context(), p, o, round)
	if err != nil {
		return err
	}
	return answerLabel(w, out)
}

// selectBy is the project's selection with what a request says in its place.
func (p *labelingProject) selectBy(in *selectRequest) (*labelingSelect, error) {
	if p.Decision == "" {
		return nil, fmt.Errorf("project %s has no decision to select of", p.Name)
	}
	o := labelingSelect{Strategy: selection.Margin, Count: 50, RandomShare: 0.1, Window: 24 * time.Hour, Pool: selectPoolDefault, OpenMax: selectOpenDefault}
	if p.Select != nil {
		o = *p.Select
	}
	if in.Strategy != "" {
		o.Strategy = selection.Strategy(in.Strategy)
	}
	if in.Count != 0 {
		o.Count = in.Count
	}
	if in.RandomShare != nil {
		o.RandomShare = *in.RandomShare
	}
	if in.Where != nil {
		var err error
		o.Where = *in.Where
		if o.where, err = compileWhere(o.Where, whereIsBool); err != nil {
			return nil, fmt.Errorf("where: %w", err)
		}
	}
	switch {
	case !slices.Contains(selection.Strategies(), o.Strategy):
		return nil, fmt.Errorf("strategy: %.40q is none of %v", o.Strategy, selection.Strategies())
	case o.Count < 1 || o.Count > selectCountMax:
		return nil, fmt.Errorf("count: %d is not in 1 to %d", o.Count, selectCountMax)
	case !(o.RandomShare >= 0 && o.RandomShare <= 1):
		return nil, fmt.Errorf("random_share: %v is not in 0 to 1", o.RandomShare)
	case o.Strategy == selection.Impact && o.slice == nil:
		return nil, fmt.Errorf("strategy impact needs select.slice in %s", p.file)
	case p.Positive == "" && needsScores(o.Strategy):
		return nil, fmt.Errorf("strategy %s goes by the score, and positive in %s does not say which label a high one stands for", o.Strategy, p.file)
	}
	return &o, nil
}
