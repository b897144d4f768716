// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

func pathEscape(text string) string { return url.PathEscape(text) }

// Promotions is what was decided about new models. Its method may be called at once.
type Promotions interface {
	// Promotions lists decisions in order of time.
	Promotions() ([]Promotion, error)
}

// Promotion is a decision to put a version of a model into service, or not to.
type Promotion struct {
	Time time.Time
	// ProjectTime is what the project's clock said, as of Entry.
	ProjectTime time.Time
	// Model, Version and SHA256 say what was decided about; Previous was served before, 0 for
	// none.
	Model             string
	Version, Previous int64
	SHA256            string
	// Promoted says whether it came into service.
	Promoted bool
	// By decided, in the Run of a pipeline.
	By, Run string
	// Alarm is the id of the alarm that began the run, empty if none did.
	Alarm string
	// Verdict is that of the report, Reasons why not; Rollback is how to go back.
	Verdict  string
	Reasons  []string
	Rollback string
}

func (c *Console) promotions() ([]Promotion, error) {
	if c.options.Promotions == nil {
		return nil, nil
	}
	return c.options.Promotions.Promotions()
}

// chainLink is a step on the way from an alarm to its end.
type chainLink struct {
	// Kind is alarm, run, labels, evaluation, canary, promotion or cleared.
	Kind string
	Time time.Time
	// ProjectTime is as of Entry.
	ProjectTime time.Time
	Title       string
	// Lines say more; State is good, warn, bad or empty.
	Lines []string
	State string
	Link  string
}

// chainPage is how a promotion came about.
type chainPage struct {
	Promotion Promotion
	Links     []chainLink
	// Took is from the begin of the run to the decision; 0 if it is not known. Alarms may be
	// told in simulated time, so that theirs does not count.
	Took time.Duration
}

func (c *Console) chain(w http.ResponseWriter, r *http.Request) error {
	all, err := c.promotions()
	if err != nil {
		return err
	}
	run := r.PathValue("run")
	at := slices.IndexFunc(all, func(p Promotion) bool { return p.Run == run })
	if at < 0 {
		return notFound("Nothing was promoted or kept by a run %q.", run)
	}
	page := chainPage{Promotion: all[at]}
	if page.Links, err = c.chainOf(&all[at]); err != nil {
		return err
	}
	for _, link := range page.Links {
		if link.Kind == "run" {
			page.Took = max(all[at].Time.Sub(link.Time), 0)
		}
	}
	return c.render(w, r, http.StatusOK, "chain", page)
}

// chainOf follows a promotion back to the alarm that led to it, and on to the alarm's end.
// What is no longer kept is left out.
func (c *Console) chainOf(p *Promotion) ([]chainLink, error) {
	var links []chainLink
	status := c.statusOf(p.Run)
	raisedBy, ended, err := c.alarmOf(status)
	if err != nil {
		return nil, err
	}
	if raisedBy != nil {
		links = append(links, chainLink{Kind: "alarm", Time: raisedBy.Time, Title: alarmWords(*raisedBy), State: "bad", Link: alarmLink(*raisedBy),
			Lines: []string{raisedBy.Reason, "monitor " + raisedBy.Monitor + ", severity " + raisedBy.Severity}})
	}
	if status != nil {
		links = append(links, runLinks(status)...)
	}
	links = append(links, promotionLink(p))
	if ended != nil {
		links = append(links, chainLink{Kind: "cleared", Time: ended.Time, Title: alarmWords(*ended), State: "good", Link: alarmLink(*ended), Lines: []string{ended.Reason}})
	}
	for i := range links {
		links[i].Lines = slices.DeleteFunc(links[i].Lines, func(line string) bool { return line == "" })
	}
	return links, nil
}

// statusOf is a run, nil if there are no pipelines or it is no longer kept.
func (c *Console) statusOf(run string) *orchestrator.RunStatus {
	if c.options.Pipelines == nil {
		return nil
	}
	status, err := c.options.Pipelines.Status(run)
	if err != nil {
		return nil
	}
	return status
}

// alarmOf finds the alarm that started a run, and the change that cleared it.
func (c *Console) alarmOf(status *orchestrator.RunStatus) (first, cleared *AlarmChange, err error) {
	if status == nil {
		return nil, nil, nil
	}
	id, ok := status.Trigger[triggerAlarm].(string)
	if !ok || id == "" {
		return nil, nil, nil
	}
	all, err := c.alarms()
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		switch a := &all[i]; {
		case a.ID != id:
		case a.Change == alarmCleared:
			cleared = a
		case first == nil:
			first = a
		}
	}
	return first, cleared, nil
}

// runLinks are a run and those of its tasks that judged.
func runLinks(s *orchestrator.RunStatus) []chainLink {
	link := "/console/pipelines/" + pathEscape(s.ID)
	run := chainLink{Kind: "run", Time: s.Started, Title: s.Pipeline + " " + s.ID, Link: link, State: stateOf(s.Status), Lines: []string{string(s.Status), s.Error}}
	if id, ok := s.Trigger[triggerAlarm].(string); ok {
		run.Lines = append(run.Lines, "started by the alarm "+id)
	}
	links := []chainLink{run}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		_, reported := t.Outputs["report"]
		canary, labels := strings.Contains(t.Task, "canary"), countsLabels(t)
		if t.Item != "" || !reported && !canary && !labels {
			continue
		}
		l := chainLink{Kind: "evaluation", Time: t.Ended, Title: t.Task, State: stateOf(t.Status), Link: link, Lines: []string{valuesLine(t), t.Error}}
		if canary {
			l.Kind = "canary"
		} else if labels {
			l.Kind = "labels"
		}
		if reported {
			l.Link = link + "/report/" + pathEscape(t.Name())
		}
		links = append(links, l)
	}
	return links
}

// countsLabels says whether a task tells who gave the labels that were learned from.
func countsLabels(t *orchestrator.TaskStatus) bool {
	for name := range t.Values {
		if strings.HasPrefix(name, "from_") {
			return true
		}
	}
	return false
}

// valuesLine are what a task says of itself, in order of names.
func valuesLine(t *orchestrator.TaskStatus) string {
	var parts []string
	for name, v := range t.Values {
		parts = append(parts, name+" "+formatValue(v))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func stateOf(s orchestrator.Status) string {
	switch {
	case !s.Ended():
		return "warn"
	case s == orchestrator.StatusSucceeded || s == orchestrator.StatusCached:
		return "good"
	case s == orchestrator.StatusCancelled:
		return "" // somebody wanted it so, or what it was for is over
	}
	return "bad"
}

func promotionLink(p *Promotion) chainLink {
	by := "by " + p.By
	if p.Alarm != "" {
		by += " " + p.Alarm
	}
	l := chainLink{Kind: "promotion", Time: p.Time, ProjectTime: p.ProjectTime, Link: "/console/models/" + pathEscape(p.Model), State: "good"}
	if p.Promoted {
		l.Title = fmt.Sprintf("%s version %d", p.Model, p.Version)
		l.Lines = []string{"verdict " + p.Verdict + ", " + by}
		if p.Previous > 0 {
			l.Lines = append(l.Lines, fmt.Sprintf("in place of version %d", p.Previous))
		}
		if p.Rollback != "" {
			l.Lines = append(l.Lines, "to go back: "+p.Rollback)
		}
		return l
	}
	l.Kind, l.Title, l.State = "kept", p.Model+" stays as it is", "warn"
	l.Lines = append([]string{by}, p.Reasons...)
	return l
}
