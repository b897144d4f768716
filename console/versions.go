// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// versionRow is a version of a model, loaded or not.
type versionRow struct {
	repository.VersionInfo
	Loaded, Serves, Card bool
	Aliases              []string
	// Added is when its folder was made, zero if unknown; Age how long that is ago.
	Added time.Time
	Age   string
	// Promotion is how it came into service, nil if nothing tells.
	Promotion *Promotion
	// Evaluation judged it, nil if none is kept; Values are its metrics.
	Evaluation *Evaluation
	Values     []*report.Estimate
}

// addVersions makes the rows of a model's page: versions that are loaded, then those on disk.
func (c *Console) addVersions(p *modelPage) error {
	promotions, err := c.promotions()
	if err != nil {
		return err
	}
	var judged *evaluationsPage
	if c.options.Evaluations != nil {
		if judged, err = c.listEvaluations(); err != nil {
			return err
		}
	}
	add := func(v repository.VersionInfo, loaded bool) {
		row := versionRow{VersionInfo: v, Loaded: loaded, Serves: loaded && v.Number == p.Current, Card: c.hasCard(p.Name, v.Number)}
		for alias, number := range p.Aliases {
			if number == v.Number {
				row.Aliases = append(row.Aliases, alias)
			}
		}
		slices.Sort(row.Aliases)
		row.Added = c.addedAt(p.Name, v.Number)
		if row.Age = ageWord(c.options.Now().Sub(row.Added)); row.Added.IsZero() {
			row.Age = ""
		}
		row.Promotion = promotionOf(promotions, p.Name, v.Number)
		row.judge(judged)
		p.Rows = append(p.Rows, row)
	}
	for _, v := range p.Versions {
		add(v, true)
	}
	for _, number := range p.OnDisk {
		add(repository.VersionInfo{Number: number}, false)
	}
	if judged != nil && slices.ContainsFunc(p.Rows, func(r versionRow) bool { return r.Evaluation != nil }) {
		p.Metrics = judged.Metrics
	}
	return nil
}

// promotionOf is the newest promotion of a version, nil without one.
func promotionOf(all []Promotion, model string, number int64) *Promotion {
	for i := len(all) - 1; i >= 0; i-- {
		if p := &all[i]; p.Promoted && p.Model == model && p.Version == number {
			return p
		}
	}
	return nil
}

// judge finds the newest evaluation of the model that was promoted.
func (r *versionRow) judge(judged *evaluationsPage) {
	if judged == nil || r.Promotion == nil {
		return
	}
	for i := range judged.Rows {
		if e := &judged.Rows[i]; e.Report != nil && e.Report.Model.SHA256 == r.Promotion.SHA256 {
			r.Evaluation, r.Values = &e.Evaluation, e.Values
			return
		}
	}
}

// addedAt is when a version's model was written.
func (c *Console) addedAt(model string, number int64) time.Time {
	if c.options.ModelsDir == "" {
		return time.Time{}
	}
	info, err := os.Stat(filepath.Join(c.options.ModelsDir, filepath.Base(model), strconv.FormatInt(number, 10)))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// ageWord says about how old something is.
func ageWord(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(d / unit.length); {
		case n == 1:
			return "1 " + unit.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "under a minute"
}
