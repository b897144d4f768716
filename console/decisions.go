// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend"
	policies "github.com/millrace-ml/millrace/serving/frontend/policy" // policy is that of content
)

// Decisions is what the console needs to show the arms, canaries and shadows of decisions.
type Decisions interface {
	// Decisions lists them by name.
	Decisions() []DecisionState
	// SetRollout starts or changes a rollout in the name of somebody, EndRollout ends it, and
	// PromoteCanary makes its canary the current version. They return once it is done and
	// durable.
	SetRollout(ctx context.Context, r frontend.Rollout, who string) error
	EndRollout(ctx context.Context, decision string) error
	PromoteCanary(ctx context.Context, decision string) (from, to int64, err error)
}

// DecisionState is a decision as it stands.
type DecisionState struct {
	Policy *policies.Policy
	Stats  frontend.DecisionStats
	// PerSecond are answers a second over Window, by arm and answer; nil if not known yet.
	PerSecond [][]float64
	Window    time.Duration
	// Model is the one that is or would be split, Current its version, Previous the one that a
	// rollback goes to, 0 for none. Versions may be a canary or a shadow, the highest first.
	Model             string
	Current, Previous int64
	Versions          []int64
	// Rollout is nil without one. By is who asked for it, Run the run of a pipeline that did;
	// Fault is why it does not run although it should.
	Rollout        *frontend.Rollout
	By, Run, Fault string
	// Comparison is of its canary with the rest; nil without one.
	Comparison []ComparisonRow
}

// ComparisonRow is one line of a comparison, as texts.
type ComparisonRow struct{ What, Canary, Rest, Difference string }

// Bounds of the pages of decisions.
const (
	decisionsMax     = 200
	policyLinesMax   = 500
	decisionAuditMax = 50
	canarySharePct   = 10 // what the form offers
)

// Name is the decision's.
func (d *DecisionState) Name() string { return d.Policy.Name }

// Count is how many answers an arm gave.
func (d *DecisionState) Count(arm, answer int) int64 { return d.Stats.Arms[arm].Answers[answer] }

// Rate is answers a second, NaN if not known yet.
func (d *DecisionState) Rate(arm, answer int) float64 {
	if arm >= len(d.PerSecond) || answer >= len(d.PerSecond[arm]) {
		return math.NaN()
	}
	return d.PerSecond[arm][answer]
}

// Total is answers a second of all arms, NaN if not known yet.
func (d *DecisionState) Total() float64 {
	if d.PerSecond == nil {
		return math.NaN()
	}
	var sum float64
	for _, arm := range d.PerSecond {
		for _, rate := range arm {
			sum += rate
		}
	}
	return sum
}

// Share is that of an answer, among all; NaN before the first.
func (d *DecisionState) Share(answer int) string {
	var sum int64
	for _, n := range d.Stats.Answers {
		sum += n
	}
	if sum == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(d.Stats.Answers[answer])/float64(sum), 'f', 1, 64) + " %"
}

// Percent is a share for a form.
func (d *DecisionState) Percent(share float64) string {
	return strconv.FormatFloat(100*share, 'f', -1, 64)
}

// decisionPage is a decision with what its policy says and what happened to it.
type decisionPage struct {
	DecisionState
	// Lines are what the policy says, by path; More is how many are not shown.
	Lines []policies.Change
	More  int
	Audit []Entry
	Offer int
}

// decisionsRoutes adds the pages of the arms, canaries and shadows of decisions.
func (c *Console) decisionsRoutes(mux access.Mux) {
	const one = "/console/decisions/{decision}"
	mux.Handle("GET /console/decisions", c.secure(Viewer, c.decisions))
	mux.Handle("GET "+one, c.secure(Viewer, c.decision))
	for action, act := range map[string]func(http.ResponseWriter, *http.Request) error{
		"canary": c.setCanary, "shadow": c.setShadow, "end": c.endRollout, "promote": c.promoteCanary, "rollback": c.rollbackDecision,
	} {
		mux.Handle("POST "+one+"/"+action, c.secure(Operator, act))
	}
}

func (c *Console) decisions(w http.ResponseWriter, r *http.Request) error {
	all := c.options.Decisions.Decisions()
	return c.render(w, r, http.StatusOK, "decisions", all[:min(len(all), decisionsMax)])
}

// findDecision is the decision of a request's path.
func (c *Console) findDecision(r *http.Request) (*DecisionState, error) {
	name := r.PathValue("decision")
	for _, d := range c.options.Decisions.Decisions() {
		if d.Name() == name {
			return &d, nil
		}
	}
	return nil, notFound("There is no decision %q.", name)
}

func (c *Console) decision(w http.ResponseWriter, r *http.Request) error {
	d, err := c.findDecision(r)
	if err != nil {
		return err
	}
	page := decisionPage{DecisionState: *d, Lines: policies.Compare(new(policies.Policy), d.Policy), Offer: canarySharePct}
	if page.More = len(page.Lines) - policyLinesMax; page.More > 0 {
		page.Lines = page.Lines[:policyLinesMax]
	}
	entries, err := c.options.Audit.Entries(auditMax)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if (e.Subject == d.Name() || e.Subject == d.Model) && len(page.Audit) < decisionAuditMax {
			page.Audit = append(page.Audit, e)
		}
	}
	return c.render(w, r, http.StatusOK, "decision", &page)
}

// rolloutForm reads which version a form asks for, and for which share.
func rolloutForm(r *http.Request) (version int64, share float64, err error) {
	if err := r.ParseForm(); err != nil {
		return 0, 0, invalid("The form cannot be read.")
	}
	version, err = strconv.ParseInt(r.PostForm.Get("version"), 10, 64)
	if err != nil || version < 1 {
		return 0, 0, invalid("Which version? %q is no number above 0.", r.PostForm.Get("version"))
	}
	percent, err := strconv.ParseFloat(r.PostForm.Get("percent"), 64)
	if err != nil || !(percent >= 0.01 && percent <= 100) {
		return 0, 0, invalid("Which share? %q is no percentage from 0.01 to 100.", r.PostForm.Get("percent"))
	}
	return version, percent / 100, nil
}

func (c *Console) setCanary(w http.ResponseWriter, r *http.Request) error {
	return c.setSplit(w, r, "canary", func(o *frontend.Rollout, version int64, share float64) {
		o.CanaryVersion, o.Share = version, share
	})
}

func (c *Console) setShadow(w http.ResponseWriter, r *http.Request) error {
	return c.setSplit(w, r, "shadow", func(o *frontend.Rollout, version int64, share float64) {
		o.ShadowVersion, o.ShadowShare = version, share
	})
}

// setSplit changes one half of a rollout, and leaves the other as it is.
func (c *Console) setSplit(w http.ResponseWriter, r *http.Request, what string, change func(*frontend.Rollout, int64, float64)) error {
	d, err := c.findDecision(r)
	if err != nil {
		return err
	}
	version, share, err := rolloutForm(r)
	if err != nil {
		return err
	}
	next := d.rollout()
	change(&next, version, share)
	ctx, cancel := detached(r, swapTimeout)
	defer cancel()
	return c.act(w, r, d.entry(what), func() (string, error) {
		return fmt.Sprintf("version %d of %s on %.4g %%", version, d.Model, 100*share), c.options.Decisions.SetRollout(ctx, next, c.sessions.of(r).who)
	})
}

// rollout is the one there is, or an empty one.
func (d *DecisionState) rollout() frontend.Rollout {
	if d.Rollout != nil {
		return *d.Rollout
	}
	return frontend.Rollout{Decision: d.Name(), Model: d.Model}
}

func (d *DecisionState) entry(action string) Entry {
	return Entry{Action: action, Subject: d.Name(), Link: "/console/decisions/" + url.PathEscape(d.Name())}
}

// endRollout ends the canary or the shadow, as the form says.
func (c *Console) endRollout(w http.ResponseWriter, r *http.Request) error {
	d, err := c.findDecision(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return invalid("The form cannot be read.")
	}
	if d.Rollout == nil {
		return invalid("There is nothing to end.")
	}
	next, what := d.rollout(), r.PostForm.Get("what")
	var version int64
	switch what {
	case "canary":
		version, next.CanaryVersion, next.Share = next.CanaryVersion, 0, 0
	case "shadow":
		version, next.ShadowVersion, next.ShadowShare = next.ShadowVersion, 0, 0
	default:
		return invalid("End what? %q is neither canary nor shadow.", what)
	}
	ctx, cancel := detached(r, swapTimeout)
	defer cancel()
	return c.act(w, r, d.entry("end "+what), func() (string, error) {
		detail := fmt.Sprintf("version %d of %s", version, d.Model)
		if next.CanaryVersion == 0 && next.ShadowVersion == 0 {
			return detail, c.options.Decisions.EndRollout(ctx, d.Name())
		}
		return detail, c.options.Decisions.SetRollout(ctx, next, c.sessions.of(r).who)
	})
}

func (c *Console) promoteCanary(w http.ResponseWriter, r *http.Request) error {
	d, err := c.findDecision(r)
	if err != nil {
		return err
	}
	ctx, cancel := detached(r, swapTimeout)
	defer cancel()
	e := d.entry("promote canary")
	e.Subject = d.Model
	return c.act(w, r, e, func() (string, error) {
		from, to, err := c.options.Decisions.PromoteCanary(ctx, d.Name())
		return fmt.Sprintf("version %d in place of %d, tried by %s", to, from, d.Name()), err
	})
}

// rollbackDecision is a rollback of the decision's model.
func (c *Console) rollbackDecision(w http.ResponseWriter, r *http.Request) error {
	d, err := c.findDecision(r)
	if err != nil {
		return err
	}
	if c.options.Models == nil {
		return invalid("Models cannot be swapped here.")
	}
	ctx, cancel := detached(r, swapTimeout)
	defer cancel()
	e := d.entry("rollback")
	e.Subject = d.Model
	return c.act(w, r, e, func() (string, error) {
		result, err := c.options.Models.Rollback(ctx, d.Model)
		return fmt.Sprintf("back to version %d from %d", result.To, result.From), err
	})
}
