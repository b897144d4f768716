// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/console/vectors"
	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
	"github.com/millrace-ml/millrace/serving/access"
)

// Features is what the console needs to show the features of the project, with their
// distributions: a feature store.
type Features interface {
	vectors.Store
	Service(name string) (*plan.Assembler, error)
	Read(ctx context.Context, service *plan.Assembler, in *plan.Inputs, out *plan.Vectors) error
}

// featuresRoutes adds the pages of the features of the project, with their distributions.
func (c *Console) featuresRoutes(mux access.Mux) {
	mux.Handle("GET /console/features", c.secure(Viewer, c.features))
	mux.Handle("GET /console/features/{service}/{feature}", c.secure(Viewer, c.feature))
	// What is known of one customer is not for everybody who may look at models.
	mux.Handle("GET /console/entities/{service}", c.secure(Operator, c.entity))
}

// Bounds of the pages of features.
const (
	viewsMax        = 100
	rowFeaturesMax  = 500 // of a service
	categoriesShown = 12
	// referenceBytesMax is the largest reference that a page reads, and referenceRows how
	// many of its rows are drawn.
	referenceBytesMax = 64 << 20
	referenceRows     = 5000
)

// featuresPage lists views and services.
type featuresPage struct {
	Look     *vectors.Look
	Views    []viewRow
	Services []serviceRow
}

// viewRow is a view with what it computes.
type viewRow struct {
	*definition.View
	Entities string
	Fresh    string
	Computes []computed
}

type computed struct{ Name, What, Type, Description string }

// serviceRow is a service with what its features look like now.
type serviceRow struct {
	*vectors.Service
	Decisions []string
	Rows      []featureRow
	LeftOut   int
}

// featureRow is a feature of a service.
type featureRow struct {
	*vectors.Feature
	Origin  string
	Drawing histogram
}

func (c *Console) features(w http.ResponseWriter, r *http.Request) error {
	look, err := c.vectors.Look(r.Context())
	if err != nil {
		return err
	}
	catalog := c.options.Features.Catalog()
	page := featuresPage{Look: look}
	for _, v := range catalog.Views[:min(len(catalog.Views), viewsMax)] {
		page.Views = append(page.Views, viewRow{View: v, Entities: entityNames(v.Entities), Fresh: freshWord(look, v.Source.Name), Computes: computes(v)})
	}
	for _, s := range look.Services {
		row := serviceRow{Service: s, Decisions: c.options.DecisionsOf[s.Name], LeftOut: max(len(s.Features)-rowFeaturesMax, 0)}
		for _, f := range s.Features[:len(s.Features)-row.LeftOut] {
			row.Rows = append(row.Rows, featureRow{f, catalog.Origin(s.Service, f.Feature), drawHistogram(&f.Now, &f.Before, nil, smallHistogram)})
		}
		page.Services = append(page.Services, row)
	}
	return c.render(w, r, http.StatusOK, "features", page)
}

func entityNames(all []*definition.Entity) string {
	text := ""
	for i, e := range all {
		if i > 0 {
			text += ", "
		}
		text += e.Name
	}
	return text
}

// freshWord says how new a source's newest event is.
func freshWord(l *vectors.Look, source string) string {
	for _, f := range l.Sources {
		if f.Source == source && f.Within > 0 {
			return "an event within " + reachWord(f.Within)
		}
	}
	return "no event within 30 days"
}

func reachWord(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d == time.Hour:
		return "an hour"
	case d == time.Minute:
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", d/time.Minute)
}

// computes says in words what a view computes.
func computes(v *definition.View) []computed {
	var all []computed
	windows := v.Window.Definition().Features
	for i, f := range v.Features {
		c := computed{Name: f.Name, Type: f.Type.String(), Description: f.Description}
		if i < len(windows) {
			c.What = windowWords(&windows[i])
		}
		all = append(all, c)
	}
	return all
}

func windowWords(f *window.Feature) string {
	text := f.Func.String()
	if f.Column != "" {
		text += " of " + f.Column
	}
	text += " over " + spanWord(f.Window)
	if f.Delay > 0 {
		text += ", " + spanWord(f.Delay) + " ago"
	}
	return text
}

func spanWord(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}

// featurePage is one feature.
type featurePage struct {
	*vectors.Feature
	Service   *vectors.Service
	Origin    string
	Decisions []string
	Drawing   histogram
	Levels    []string
	Missing   shareDrawing
	// Reference is the distribution in the reference of the served version, nil without one;
	// ReferenceNote says why there is none, ReferenceDrift how far today is from it.
	Reference      *vectors.Distribution
	ReferenceDrift vectors.Drift
	ReferenceNote  string
	Version        int64
	Categories     []categoryRow
}

// categoryRow is a category's share of the rows of each side; NaN without that side.
type categoryRow struct {
	Name                   string
	Now, Before, Reference float64
}

func (c *Console) feature(w http.ResponseWriter, r *http.Request) error {
	look, err := c.vectors.Look(r.Context())
	if err != nil {
		return err
	}
	s := look.Find(r.PathValue("service"))
	if s == nil {
		return notFound("There is no feature service %q.", r.PathValue("service"))
	}
	f := s.Feature(r.PathValue("feature"))
	if f == nil {
		return notFound("The service %s has no feature %q.", s.Name, r.PathValue("feature"))
	}
	page := featurePage{Feature: f, Service: s, Origin: c.options.Features.Catalog().Origin(s.Service, f.Feature), Decisions: c.options.DecisionsOf[s.Name], Missing: drawShares(f.Missing)}
	for _, level := range vectors.Levels {
		page.Levels = append(page.Levels, levelName(level))
	}
	c.addReference(r.Context(), &page)
	page.Drawing = drawHistogram(&f.Now, &f.Before, page.Reference, largeHistogram)
	page.Categories = categoryRows(&f.Now, &f.Before, page.Reference)
	return c.render(w, r, http.StatusOK, "feature", page)
}

func levelName(level float64) string {
	switch level {
	case 0:
		return "least"
	case 0.5:
		return "median"
	case 1:
		return "most"
	}
	return strconv.FormatFloat(100*level, 'g', -1, 64) + " %"
}

// referenceFile has rows that a version was not trained on, in its folder.
const referenceFile = "reference.parquet"

// addReference reads the feature from the reference of the version that is served.
func (c *Console) addReference(ctx context.Context, p *featurePage) {
	model := c.modelNamed(p.Service.Model)
	if model == nil || model.Current == 0 || c.options.ModelsDir == "" {
		return
	}
	p.Version = model.Current
	path := filepath.Join(c.options.ModelsDir, filepath.Base(model.Name), strconv.FormatInt(model.Current, 10), referenceFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.ReferenceNote = fmt.Sprintf("version %d of %s has no %s", model.Current, model.Name, referenceFile)
		return
	case err == nil && info.Size() > referenceBytesMax:
		p.ReferenceNote = fmt.Sprintf("the reference has %d MiB; a page reads at most %d", info.Size()>>20, referenceBytesMax>>20)
		return
	}
	text := p.Type == column.String
	sums, err := profile.File(ctx, path, []profile.Column{{Name: p.Name, Text: text}}, "", profile.Options{Sample: referenceRows}, nil)
	if err != nil {
		p.ReferenceNote = "the reference cannot be read: " + err.Error()
		return
	}
	d := vectors.Distribution{}
	if text {
		d = vectors.Distribution{Rows: int(sums.Rows), Missing: int(sums.Texts[0].Missing), Categories: vectors.Categories(sums.Texts[0].Counts()), Mean: math.NaN(), SD: math.NaN()}
	} else {
		values := sums.Sample.Numbers(0)
		d = vectors.Numbers(values)
		p.ReferenceDrift = vectors.Compare(values, p.Now.Sorted)
	}
	p.Reference = &d
}

// modelNamed is a model by name, nil if it is not served or there are no models.
func (c *Console) modelNamed(name string) *modelRow {
	for _, m := range c.modelRows() {
		if m.Name == name {
			return &m
		}
	}
	return nil
}

// categoryRows puts the categories of all sides beside each other, those with the most rows
// now first.
func categoryRows(sides ...*vectors.Distribution) []categoryRow {
	var names []string
	shares := make([]map[string]float64, len(sides))
	for i, d := range sides {
		if d == nil || d.Rows == 0 {
			continue
		}
		shares[i] = map[string]float64{}
		for _, category := range d.Categories {
			shares[i][category.Name] = float64(category.Rows) / float64(d.Rows)
			if len(names) < categoriesShown && !slices.Contains(names, category.Name) {
				names = append(names, category.Name)
			}
		}
	}
	var all []categoryRow
	for _, name := range names {
		share := func(i int) float64 {
			if shares[i] == nil {
				return math.NaN()
			}
			return shares[i][name]
		}
		all = append(all, categoryRow{name, share(0), share(1), share(2)})
	}
	return all
}

// entityPage is the answer to a look-up.
type entityPage struct {
	Service *definition.Service
	Fields  []entityField
	Asked   bool
	Problem string
	At      time.Time
	Values  []entityValue
}

type entityField struct {
	Name, Type, Value string
	Key               bool
}

type entityValue struct {
	Name, Value, Status string
	Newest              time.Time
	Link                string
}

// entity reads the features of one entity as they are now.
func (c *Console) entity(w http.ResponseWriter, r *http.Request) error {
	a, err := c.options.Features.Service(r.PathValue("service"))
	if err != nil {
		return notFound("There is no feature service %q.", r.PathValue("service"))
	}
	page := entityPage{Service: a.Service(), At: time.UnixMicro(c.options.Features.Now()).UTC()}
	in := plan.Inputs{Rows: 1, At: page.At.UnixMicro(), Now: page.At.UnixMicro()}
	q := r.URL.Query()
	status := http.StatusOK
	bind := func(name string, t column.Type, key bool) column.Column {
		text := q.Get(name)
		page.Fields = append(page.Fields, entityField{name, t.String(), shorten(text, 256), key})
		v, err := parseColumn(name, t, text)
		if page.Asked = page.Asked || text != ""; err != nil && page.Problem == "" {
			page.Problem = err.Error()
		}
		if key && text == "" && q.Has(name) && page.Problem == "" {
			page.Problem = name + " is missing: it says which entity"
		}
		return v
	}
	for _, e := range page.Service.Entities {
		in.Keys = append(in.Keys, bind(e.Key, e.Type, true))
	}
	for i, f := range page.Service.Request {
		in.Request = append(in.Request, bind(f.Name, f.Type, false))
		if i == page.Service.Time && in.Request[i].Len() > 0 && !in.Request[i].Null(0) {
			in.At = 0 // the moment that is asked for
		}
	}
	switch {
	case page.Problem != "":
		status = http.StatusBadRequest
	case page.Asked:
		out := plan.Vectors{WantEventTimes: true}
		if err := c.options.Features.Read(r.Context(), a, &in, &out); err != nil {
			return err
		}
		page.Values = entityValues(page.Service, &out)
	}
	return c.render(w, r, status, "entity", page)
}

// parseColumn makes a column of one value of a text; an empty one is null.
func parseColumn(name string, t column.Type, text string) (column.Column, error) {
	c := column.Column{Name: name, Type: t}
	if text == "" {
		c.AppendNull()
		return c, nil
	}
	var err error
	switch t {
	case column.String:
		c.AppendText(text)
	case column.Int64:
		var v int64
		v, err = strconv.ParseInt(text, 10, 64)
		c.AppendInt(v)
	case column.Timestamp:
		var v time.Time
		v, err = time.Parse(time.RFC3339, text)
		c.AppendInt(v.UnixMicro())
	case column.Bool:
		var v bool
		if v, err = strconv.ParseBool(text); v {
			c.AppendNumber(1)
		} else {
			c.AppendNumber(0)
		}
	default:
		var v float64
		v, err = strconv.ParseFloat(text, 64)
		c.AppendNumber(v)
	}
	if err != nil {
		c = column.Column{Name: name, Type: t}
		c.AppendNull()
		return c, fmt.Errorf("%s: %q is no %s", name, shorten(text, 60), typeWord(t))
	}
	return c, nil
}

func typeWord(t column.Type) string {
	if t == column.Timestamp {
		return "time such as 2026-01-02T15:04:05Z"
	}
	return t.String()
}

// entityValues are the values of the only row of an answer.
func entityValues(s *definition.Service, v *plan.Vectors) []entityValue {
	var all []entityValue
	text := 0
	for i := range s.Features {
		f, status := &s.Features[i], v.StatusRow(0)[i]
		e := entityValue{Name: f.Name, Status: status.String(), Link: "/console/features/" + url.PathEscape(s.Name) + "/" + url.PathEscape(f.Name)}
		if f.Type == column.String {
			if status == window.Present || f.HasDefault {
				e.Value = v.TextRow(0)[text]
			}
			text++
		} else {
			e.Value = formatNumber(v.Row(0)[i])
		}
		if at := v.EventTimes[i]; at > 0 {
			e.Newest = time.UnixMicro(at).UTC()
		}
		all = append(all, e)
	}
	return all
}
