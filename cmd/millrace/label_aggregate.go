// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/aggregate"
)

// aggregated is the label that several voters make of a task.
type aggregated struct {
	Task        string  `json:"task"`
	Label       string  `json:"label"`
	Probability float64 `json:"probability"`
	Votes       int     `json:"votes"`
	// Final is what the project made of the task, empty if it is not done.
	Final string `json:"final,omitempty"`
}

// voter is a person or function that votes.
type voter struct {
	Name     string   `json:"name"`
	Function bool     `json:"function,omitempty"`
	Votes    int      `json:"votes"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	// Coverage, Overlap and Conflict are shares of the tasks, for functions.
	Coverage *float64 `json:"coverage,omitempty"`
	Overlap  *float64 `json:"overlap,omitempty"`
	Conflict *float64 `json:"conflict,omitempty"`
	Errors   int      `json:"errors,omitempty"`
	Fault    string   `json:"fault,omitempty"`
}

// aggregateReport is what voters say together.
type aggregateReport struct {
	Project string             `json:"project"`
	Method  string             `json:"method"`
	Shares  map[string]float64 `json:"shares"`
	Voters  []voter            `json:"voters"`
	// Differs counts done tasks whose final value is another one.
	Differs int          `json:"differs"`
	Tasks   []aggregated `json:"tasks"`
	Note    string       `json:"note,omitempty"`
}

// Methods of aggregation.
const (
	methodMajority   = "majority"
	methodDawidSkene = "dawid_skene"
)

// ballots are the votes of people, and of functions behind them.
type ballots struct {
	tasks  []string
	finals []string
	items  []map[string]any
	votes  [][]int
	voters []voter
}

// aggregateOf makes one label of what people, and with functions the project's labelling
// functions, say of each task.
func (d *labelDesk) aggregateOf(p *labelingProject, method string, functions bool) (*aggregateReport, error) {
	if p.Labels.Kind != labeling.Single || len(p.Labels.Labels) < 2 {
		return nil, &refusal{http.StatusBadRequest, "labels are aggregated in projects of kind single with two labels or more"}
	}
	if functions && len(p.Functions) == 0 {
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("%s: labeling.%s has no functions", p.file, p.Name)}
	}
	b, err := d.ballots(p, functions)
	if err != nil {
		return nil, err
	}
	report := &aggregateReport{Project: p.Name, Method: method, Shares: map[string]float64{}, Voters: b.voters, Tasks: []aggregated{}}
	if len(b.votes) == 0 || len(b.voters) == 0 {
		report.Note = "nobody has voted yet"
		return report, nil
	}
	var rows [][]float64
	switch method {
	case methodMajority:
		rows, err = aggregate.Majority(b.votes, len(p.Labels.Labels), nil)
	case methodDawidSkene:
		// Functions abstain mostly on one class, people just did not see a task.
		var m *aggregate.Model
		if m, err = aggregate.DawidSkene(b.votes, len(p.Labels.Labels), aggregate.Options{}); err == nil {
			rows = m.Probabilities
			for i, accuracy := range m.Accuracy() {
				report.Voters[i].Accuracy = finite(accuracy)
			}
		}
	default:
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("method: %.40q is neither %s nor %s", method, methodMajority, methodDawidSkene)}
	}
	if err != nil {
		return nil, err
	}
	report.fill(p, b, rows)
	return report, nil
}

// fill writes down the most likely labels.
func (r *aggregateReport) fill(p *labelingProject, b *ballots, rows [][]float64) {
	for i, best := range aggregate.Best(rows) {
		one := aggregated{Task: b.tasks[i], Label: p.Labels.Labels[best].Name, Probability: rows[i][best], Final: b.finals[i]}
		for r, v := range b.votes[i] {
			if v != aggregate.Abstain {
				one.Votes++
				b.voters[r].Votes++
			}
		}
		if one.Final != "" && one.Final != one.Label {
			r.Differs++
		}
		r.Shares[one.Label] += 1 / float64(len(rows))
		r.Tasks = append(r.Tasks, one)
	}
}

// ballots collects votes: of tasks that somebody annotated, with functions of all tasks.
func (d *labelDesk) ballots(p *labelingProject, functions bool) (*ballots, error) {
	b := &ballots{}
	byName := map[string]int{}
	var said []map[string]int
	err := d.store.Each(p.Name, func(v *labeling.TaskView) error {
		own := map[string]int{}
		for _, a := range v.Annotations {
			if a.Kind == labeling.KindAnnotation {
				own[a.Annotator] = p.label(a.Value.Choices[0])
				byName[a.Annotator] = 0
			}
		}
		if len(own) == 0 && !functions || v.Task.Gold != nil {
			return nil
		}
		if len(b.tasks) == analysedMax {
			return errTooMany
		}
		final := ""
		if v.Final != nil && len(v.Final.Choices) == 1 {
			final = v.Final.Choices[0]
		}
		b.tasks, b.finals, said = append(b.tasks, v.Task.ID), append(b.finals, final), append(said, own)
		if functions {
			var fields map[string]any
			if err := json.Unmarshal(v.Task.Data, &fields); err != nil {
				return fmt.Errorf("task %q: %w", v.Task.ID, err)
			}
			b.items = append(b.items, fields)
		}
		return nil
	})
	if err != nil || len(b.tasks) == 0 {
		return b, err
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		byName[name] = i
		b.voters = append(b.voters, voter{Name: name})
	}
	for _, own := range said {
		row := slices.Repeat([]int{aggregate.Abstain}, len(names))
		for name, label := range own {
			row[byName[name]] = label
		}
		b.votes = append(b.votes, row)
	}
	if functions {
		err = b.ask(p)
	}
	return b, err
}

// ask lets the labelling functions vote.
func (b *ballots) ask(p *labelingProject) error {
	compiled, err := aggregate.Compile(p.Functions, len(p.Labels.Labels))
	if err != nil {
		return err
	}
	votes, sums, err := compiled.Vote(b.items)
	if err != nil {
		return err
	}
	for i := range b.votes {
		b.votes[i] = append(b.votes[i], votes[i]...)
	}
	for _, s := range sums {
		b.voters = append(b.voters, voter{Name: s.Name, Function: true, Coverage: finite(s.Coverage), Overlap: finite(s.Overlap), Conflict: finite(s.Conflict), Errors: s.Errors, Fault: s.FirstError})
	}
	return nil
}
