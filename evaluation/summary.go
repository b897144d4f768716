// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"cmp"
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// unitsFew is how many units a bootstrap needs to be taken at its word: with so few the
// draws are of few different samples.
const unitsFew = 30

// summary says what was evaluated, on what and how.
func (e *run) summary(ctx context.Context) {
	r, s := &e.report, e.spec
	r.Version, r.Created, r.Millrace = report.Version, e.Now().UTC(), e.Version
	r.Task = taskNames[e.task]
	r.Model = e.about(e.model, s.Score)
	if e.againstScores != nil {
		against := e.about(e.against, s.AgainstScore)
		r.Against = &against
	}
	r.Title = cmp.Or(s.Description, s.Name, "Evaluation of "+r.Model.Name)
	r.Data = report.Data{
		Path: s.Data, SHA256: hashOf(ctx, s.Data), Rows: e.rows.Rows, Excluded: e.excluded,
		Cluster: cmp.Or(s.Cluster, s.Query), Clusters: e.clusterCount,
	}
	e.countLabels(&r.Data)
	e.span(&r.Data)
	r.Method = "no bootstrap: no draws were asked for"
	if n := *s.Bootstrap.Draws; n > 0 {
		if units := cmp.Or(e.clusterCount, e.rows.Rows); units < unitsFew {
			e.warn("intervals and tests are of %d units (%s) only: with fewer than %d they are too narrow", units, cmp.Or(r.Data.Cluster, "row"), unitsFew)
		}
		r.Method = fmt.Sprintf("bootstrap (percentiles, adjusted for bias, skewness and few units) of %d draws by %s, seed %d", n, cmp.Or(r.Data.Cluster, "row"), s.Bootstrap.Seed)
	}
}

// about describes a model, or a column of scores in its place.
func (e *run) about(m *loaded, score string) report.Model {
	about := report.Model{Name: "column " + score}
	if m != nil {
		about = m.about
	}
	if e.task == metric.Binary {
		about.Threshold = *e.spec.Threshold
	}
	return about
}

func (e *run) countLabels(d *report.Data) {
	switch e.task {
	case metric.Binary:
		for _, label := range e.labels {
			d.Positives += int(label)
		}
	case metric.Multiclass:
		d.Classes = map[string]int{}
		for _, label := range e.labels {
			d.Classes[e.classes[int(label)]]++
		}
	}
}

func (e *run) span(d *report.Data) {
	if e.spec.Time == "" {
		return
	}
	c := e.rows.Column(e.spec.Time)
	for i := range e.rows.Rows {
		if c.Null(i) {
			continue
		}
		t := moment(c.Ints[i])
		if d.From == nil || t.Before(*d.From) {
			d.From = &t
		}
		if d.To == nil || t.After(*d.To) {
			d.To = &t
		}
	}
}
