// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const dashboardFolder = moduleRoot + "/docs/operations/grafana"

// dashboard is what a test looks at of a dashboard.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []dashboardPanel
	Templating    struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage
			Definition string
		}
	}
}

type dashboardPanel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	Targets     []struct{ RefID, Expr, LegendFormat string }
	Panels      []json.RawMessage
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(dashboardFolder + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all := map[string]dashboard{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = d
	}
	return all
}

// TestDashboards holds the dashboards to what Grafana needs to load and draw them.
func TestDashboards(t *testing.T) {
	uids := map[string]bool{}
	for file, d := range dashboards(t) {
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.SchemaVersion < 36 || len(d.Panels) == 0 {
			t.Errorf("%s: uid %q, title %q, schema %d, %d panels", file, d.UID, d.Title, d.SchemaVersion, len(d.Panels))
		}
		uids[d.UID] = true
		variables := map[string]bool{}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
			if v.Name == "datasource" && (v.Type != "datasource" || string(v.Query) != `"prometheus"`) {
				t.Errorf("%s: the variable datasource is %+v", file, v)
			}
		}
		if !variables["datasource"] {
			t.Errorf("%s: no variable chooses the data source", file)
		}
		checkGrid(t, file, d.Panels)
		for _, p := range d.Panels {
			p.check(t, file, variables)
		}
	}
}

// checkGrid: 24 columns, no two panels in one place, ids of their own.
func checkGrid(t *testing.T, file string, panels []dashboardPanel) {
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range panels {
		g := p.GridPos
		if p.ID <= 0 || ids[p.ID] || p.Title == "" || g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
			t.Errorf("%s: panel %d %q at %+v", file, p.ID, p.Title, g)
		}
		ids[p.ID] = true
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Errorf("%s: %q is over %q", file, p.Title, other)
					return
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

var dashboardVariable = regexp.MustCompile(`\$\{?([a-zA-Z_]+)`)

func (p *dashboardPanel) check(t *testing.T, file string, variables map[string]bool) {
	if p.Type == "row" {
		if len(p.Targets) > 0 || len(p.Panels) > 0 {
			t.Errorf("%s: row %q has queries or panels of its own", file, p.Title)
		}
		return
	}
	if p.Datasource.Type != "prometheus" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
		t.Errorf("%s: %q has data source %+v and %d queries", file, p.Title, p.Datasource, len(p.Targets))
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if q.RefID == "" || refs[q.RefID] || q.Expr == "" || strings.Count(q.Expr, "(") != strings.Count(q.Expr, ")") || strings.Count(q.Expr, "{") != strings.Count(q.Expr, "}") {
			t.Errorf("%s: %q: query %+v", file, p.Title, q)
		}
		refs[q.RefID] = true
		for _, m := range dashboardVariable.FindAllStringSubmatch(q.Expr, -1) {
			if !variables[m[1]] && m[1] != "__rate_interval" {
				t.Errorf("%s: %q: there is no variable %s", file, p.Title, m[1])
			}
		}
	}
}

var (
	metricInQuery  = regexp.MustCompile(`\b(?:nv|millrace|go|process)_[a-z0-9_]+`)
	labelsInQuery  = regexp.MustCompile(`by \(([a-z_, ]+)\)|\{\{([a-z_]+)\}\}`)
	exposedSeries  = regexp.MustCompile(`(?m)^([a-z_0-9]+)(?:\{(.*)\})? \S+$`)
	exposedLabel   = regexp.MustCompile(`([a-z_]+)="`)
	documentedName = regexp.MustCompile("`(millrace_(?:monitor|canary)_[a-z_]+)(?:\\{([a-z,]+)\\})?`")
)

// checkDashboardMetrics holds the queries of the dashboards to the metrics that a server
// exposes, and to docs/reference/metrics.md for those of monitors and canaries, which this
// server has none of. Values are labels by name of the metric.
func checkDashboardMetrics(t *testing.T, exposed string) {
	t.Helper()
	known := map[string]map[string]bool{
		"millrace_feature_mismatches_total": {"service": true, "feature": true}, // once something was verified
	}
	for _, m := range exposedSeries.FindAllStringSubmatch(exposed, -1) {
		if known[m[1]] == nil {
			known[m[1]] = map[string]bool{}
		}
		for _, label := range exposedLabel.FindAllStringSubmatch(m[2], -1) {
			known[m[1]][label[1]] = true
		}
	}
	reference, err := os.ReadFile(moduleRoot + "/docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range documentedName.FindAllStringSubmatch(string(reference), -1) {
		known[m[1]] = map[string]bool{}
		for label := range strings.SplitSeq(m[2], ",") {
			known[m[1]][label] = true
		}
	}
	for file, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			checkQuery(t, file+": variable "+v.Name, v.Definition, "", known)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				checkQuery(t, file+": "+p.Title, q.Expr, q.LegendFormat, known)
			}
		}
	}
}

func checkQuery(t *testing.T, where, expr, legend string, known map[string]map[string]bool) {
	t.Helper()
	labels := map[string]bool{"instance": true, "job": true}
	for _, name := range metricInQuery.FindAllString(expr, -1) {
		if known[name] == nil {
			t.Errorf("%s: no server exposes %s, and docs/reference/metrics.md does not name it", where, name)
		}
		for label := range known[name] {
			labels[label] = true
		}
	}
	for _, m := range labelsInQuery.FindAllStringSubmatch(expr+" "+legend, -1) {
		for label := range strings.SplitSeq(m[1]+m[2], ",") {
			if label = strings.TrimSpace(label); !labels[label] {
				t.Errorf("%s: %s has no label %q", where, expr, label)
			}
		}
	}
}
