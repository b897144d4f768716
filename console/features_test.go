// SPDX-License-Identifier: Apache-2.0

package console

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console/internal/vectortest"
	"github.com/millrace-ml/millrace/console/vectors"
	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
)

// featureSite is a site with a feature store whose amounts moved by a lot.
func featureSite(t *testing.T, access Access) *site {
	t.Helper()
	store := vectortest.Open(t, 6*time.Minute, func(at time.Time, i int) vectortest.Row {
		r := vectortest.Row{Customer: int64(i * 7919 % 199), Amount: float64(i % 10), Channel: "web" + evil, Score: 0.5}
		if at.After(vectortest.Now.Add(-vectors.Span)) {
			r.Amount += 20
		}
		return r
	})
	return siteWith(t, access, store)
}

func siteWith(t *testing.T, access Access, store *featurestore.Store) *site {
	t.Helper()
	s := newSite(t, access)
	s.console.options.Features, s.console.options.DecisionsOf = store, map[string][]string{"fraud": {"card " + evil}}
	s.console.vectors = vectors.New(store, vectortest.Stream, s.console.options.Now)
	mux := http.NewServeMux()
	s.console.Routes(mux)
	s.Config.Handler = mux
	return s
}

func TestFeaturePages(t *testing.T) {
	s := featureSite(t, people)
	viewer, operator := s.browser(t, "v"+secret), s.browser(t, "o"+secret)
	for path, wants := range map[string][]string{
		"/console/features":               {"240 rows now, 240 before", "large", "steady", "count over 1d", "no event within 30 days", `href="/console/models/fraud"`, "How &lt;b&gt;often", "card &lt;script"},
		"/console/features/fraud/amount":  {"large", "Cramér–von Mises test of", "median 2", "version 1 of fraud has no reference.parquet", "No row was without a value"},
		"/console/features/fraud/channel": {"steady", "web&lt;script", "100.0 %"},
	} {
		status, text := s.get(t, viewer, path)
		for _, want := range wants {
			if status != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("%s: %d, no %q", path, status, want)
			}
		}
		if strings.Contains(text, "<script>alert") || strings.Contains(text, "Look up an entity") {
			t.Errorf("%s interprets a name, or leads a viewer to what is for operators", path)
		}
	}
	for _, path := range []string{"/console/features/none/amount", "/console/features/fraud/none"} {
		if status, _ := s.get(t, viewer, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := s.get(t, viewer, "/console/entities/fraud?customer_id=1"); status != http.StatusForbidden {
		t.Errorf("a viewer looks up a customer: %d", status)
	}
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/console/entities/fraud": {http.StatusOK, "customer_id"},
		"/console/entities/fraud?customer_id=1&amount=2.5&channel=%3Cscript": {http.StatusOK, "&lt;script"},
		"/console/entities/fraud?customer_id=":                               {http.StatusBadRequest, "customer_id is missing"},
		"/console/entities/fraud?customer_id=one":                            {http.StatusBadRequest, "is no int64"},
		"/console/entities/fraud?customer_id=99999999999999999999":           {http.StatusBadRequest, "is no int64"},
		"/console/entities/none?customer_id=1":                               {http.StatusNotFound, "no feature service"},
	} {
		if status, text := s.get(t, operator, path); status != want.status || !strings.Contains(text, want.text) {
			t.Errorf("%s: %d, no %q: %.300s", path, status, want.text, text)
		}
	}
	if _, text := s.get(t, operator, "/console/entities/fraud?customer_id=1&amount=2.5"); !strings.Contains(text, ">2.5<") || !strings.Contains(text, "present") {
		t.Errorf("the values of an entity: %s", text)
	}
}

func TestParseColumn(t *testing.T) {
	for _, c := range []struct {
		kind column.Type
		text string
		want float64
	}{
		{column.Int64, "-7", -7}, {column.Float64, "2.5", 2.5}, {column.Bool, "true", 1}, {column.Bool, "false", 0},
		{column.Timestamp, "1970-01-01T00:00:01Z", 1e6},
	} {
		v, err := parseColumn("x", c.kind, c.text)
		if err != nil || v.Len() != 1 || v.Number(0) != c.want {
			t.Errorf("%s %q: %+v, %v", c.kind, c.text, v, err)
		}
		if v, err = parseColumn("x", c.kind, "?"); err == nil || v.Len() != 1 || !v.Null(0) {
			t.Errorf("%s: %+v, %v", c.kind, v, err)
		}
	}
}

func TestHistograms(t *testing.T) {
	now, before := vectors.Numbers([]float64{0, 0, 1, 3, 3, 3}), vectors.Numbers([]float64{0, 1, 2, 3})
	h := drawHistogram(&now, &before, nil, smallHistogram)
	if len(h.Bars) != 3 || h.Bars[0].Width != 32 || h.Bars[2].Height != 32 || h.Before == "" || h.Reference != "" || h.Low != "0" || h.High != "3" {
		t.Errorf("whole numbers have a bar each: %+v", h)
	}
	nothing := vectors.Numbers(nil)
	for _, pair := range [][2]vectors.Distribution{{nothing, nothing}, {vectors.Numbers([]float64{5}), nothing}, {nothing, vectors.Numbers([]float64{5, math.NaN()})}, {vectors.Numbers([]float64{0.25, 1e300}), nothing}} {
		h := drawHistogram(&pair[0], &pair[1], nil, largeHistogram)
		for _, b := range h.Bars {
			if !(b.Height > 0 && b.Height <= float64(h.Height)) || !(b.X >= 0 && b.X < float64(h.Width)) {
				t.Errorf("%+v", b)
			}
		}
		if strings.Contains(h.Before, "NaN") {
			t.Error(h.Before)
		}
	}
	if d := drawShares([]vectors.Share{{Rows: 4, Share: 0.5}, {Share: math.NaN()}, {Rows: 4, Share: 0.25}}); len(d.Points) != 2 || d.Points[0].Y != 4 || d.Most != "50.0 %" {
		t.Errorf("%+v", d)
	}
}
