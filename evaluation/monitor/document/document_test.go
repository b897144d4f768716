// SPDX-License-Identifier: Apache-2.0

package document

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

const (
	evil = "<script>alert(1)</script>\x1b[31m|`*"
	day  = int64(24 * time.Hour / time.Microsecond)
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func alarm(subject string, severity monitor.Severity, since int64) monitor.Alarm {
	return monitor.Alarm{Subject: subject, Severity: severity, Since: since, Windows: 1, Reason: "why " + evil}
}

// found are ten days in windows of a day and one of a week, in which much is not known.
func found() []monitor.Report {
	daily, weekly := monitor.Duration(24*time.Hour), monitor.Duration(7*24*time.Hour)
	var reports []monitor.Report
	for i := range int64(10) {
		at := start + i*day
		closed := monitor.Report{
			Window: daily, Start: at, End: at + day, At: at + day, Rows: 100 + i, Judged: i != 4, Freshness: time.Minute,
			Columns: []monitor.ColumnReport{
				{Name: "quiet", Drift: &drift.Result{Test: drift.CvM, P: 0.4, Threshold: math.NaN()}, Effect: 0.01, Adjusted: 0.8, ScoreShift: math.NaN(), Mean: 3, Distinct: 4},
				{Name: evil, MissingShare: float64(i) / 10, Drift: &drift.Result{Test: drift.CvM, P: 0.001}, Effect: float64(i) / 4, Adjusted: 0.002, ScoreShift: -0.25,
					Missing: &drift.Result{Statistic: 0.05}, Unseen: &drift.Result{Statistic: 17}, Infinite: 3},
				{Name: "untested", MissingShare: math.NaN(), Effect: math.NaN(), Adjusted: math.NaN(), ScoreShift: math.NaN(), Mean: math.NaN(), Distinct: math.NaN()},
			},
			Score:     &monitor.ColumnReport{Name: "#score", Mean: 0.1 + float64(i)/100},
			Estimated: &estimate.Estimate{Values: estimate.Values{0.9}, Low: estimate.Values{0.8}, High: estimate.Values{0.95}, Unreliable: i == 3, Reasons: []string{"too few"}},
			Latency:   monitor.Latency{P50Micros: 100, P95Micros: 200, P99Micros: 300 + i}, Decisions: map[string]int64{"pass": 90, evil: 10 + i},
		}
		if i == 4 {
			closed.Columns, closed.Score, closed.Estimated, closed.Note = nil, nil, nil, "4 rows are fewer than 50"
		}
		q := monitor.Quality{Rows: 100, Labelled: 40, Positives: 5, Coverage: 0.4, Cost: math.NaN(), Values: estimate.Values{0.875, math.NaN(), 0.95}, Low: estimate.Values{0.85, math.NaN(), 0.9}, High: estimate.Values{0.9, math.NaN(), 0.97},
			Tests: []monitor.ConceptTest{{Name: "roc_auc", Before: 0.91, Now: 0.875, P: 0.0001, Adjusted: 0.0002, Change: i > 5}}}
		matured := monitor.Report{Window: daily, Start: at, End: at + day, At: at + 2*day, Matured: true, Rows: 100, Quality: &q,
			Slices: []monitor.SliceQuality{{Slice: "channel", Value: "web", Quality: q}, {Slice: "channel", Value: "shop", Quality: q}, {Slice: "land", Value: evil, Quality: q}}}
		raisedDrift, raisedAUC := alarm("drift:1d:"+evil, monitor.Warning, start+3*day), alarm("concept:1d:roc_auc", monitor.Critical, start+8*day)
		switch i {
		case 2:
			closed.Events = []monitor.Event{{Change: monitor.Raised, At: closed.At, Alarm: raisedDrift}, {Change: monitor.Raised, At: closed.At, Alarm: alarm("range:1d:quiet", monitor.Warning, closed.At)}}
		case 3:
			still := raisedDrift
			still.Windows, still.Reason = 2, "worse"
			closed.Events = []monitor.Event{{Change: monitor.Still, At: closed.At, Alarm: still}}
		case 6:
			closed.Events = []monitor.Event{{Change: monitor.Cleared, At: closed.At, Alarm: raisedDrift}}
			matured.Events = []monitor.Event{{Change: monitor.Raised, At: matured.At, Alarm: raisedAUC}}
		}
		reports = append(reports, closed, matured)
	}
	return append(reports, monitor.Report{Window: weekly, Start: start, End: start + 7*day, At: start + 12*day, Rows: 700})
}

func TestDocument(t *testing.T) {
	d := New(found(), Options{Monitor: "fraud"})
	if d.Window.String() != "1d" || len(d.Windows) != 2 || len(d.Closed) != 10 || len(d.Matured) != 10 || d.From != start || d.To != start+10*day {
		t.Errorf("windows of %s of %v, %d and %d of them, from %d to %d", d.Window, d.Windows, len(d.Closed), len(d.Matured), d.From, d.To)
	}
	var order []string
	for _, a := range d.Alarms {
		order = append(order, a.Subject)
	}
	if want := []string{"concept:1d:roc_auc", "range:1d:quiet", "drift:1d:" + evil}; !slices.Equal(order, want) {
		t.Errorf("alarms %q, not %q", order, want)
	}
	if a := d.Alarms[2]; a.Until != start+7*day || a.Windows != 2 || a.Reason != "worse" || !d.Alarms[0].Raised() || d.Worst() != monitor.Critical {
		t.Errorf("%+v, worst %s", a, d.Worst())
	}
	columns := d.Columns()
	if len(columns) != 3 || columns[0].Name != evil || columns[0].Shift != -0.25 || columns[0].Drifted != 1 || columns[0].Effects[9] != 2.25 || !math.IsNaN(columns[0].Effects[4]) {
		t.Errorf("columns %+v", columns)
	}
	if d.Sentence() != "2 alarms are raised, 1 critical." {
		t.Error(d.Sentence())
	}
	if s := New(found(), Options{Window: monitor.Duration(7 * 24 * time.Hour)}); len(s.Closed) != 1 || s.Closed[0].Rows != 700 {
		t.Errorf("of the week: %+v", s.Closed)
	}
}

// TestFormats writes each format of much, of little and of nothing.
func TestFormats(t *testing.T) {
	reports := found()
	for name, some := range map[string][]monitor.Report{"all": reports, "one": reports[:1], "two": reports[:2], "unjudged": reports[8:9], "none": nil} {
		d := New(some, Options{Monitor: evil, Made: time.UnixMicro(start + 11*day), Source: evil})
		for format, write := range map[string]func(io.Writer, *Document) error{"html": WriteHTML, "markdown": WriteMarkdown, "text": WriteText, "json": WriteJSON} {
			var b, again strings.Builder
			if err := errors.Join(write(&b, d), write(&again, d)); err != nil {
				t.Fatalf("%s as %s: %v", name, format, err)
			}
			if b.String() != again.String() {
				t.Errorf("%s as %s: not the same bytes twice", name, format)
			}
			if format != "json" && (strings.Contains(b.String(), "\x1b") || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf")) {
				t.Errorf("%s as %s has what it must not: %.3000s", name, format, b.String())
			}
			if format != "json" && format != "text" && strings.Contains(b.String(), "<script") {
				t.Errorf("%s as %s: text is not escaped", name, format)
			}
		}
	}
}

func pageOf(t *testing.T, d *Document) string {
	t.Helper()
	var b strings.Builder
	if err := WriteHTML(&b, d); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(b.String()))
	decoder.Strict, decoder.Entity = true, xml.HTMLEntity
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return b.String()
		} else if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
	}
}

func TestHTML(t *testing.T) {
	page := pageOf(t, New(found(), Options{Monitor: "fraud"}))
	for _, wanted := range []string{
		`id="metric-roc_auc"`, `id="metric-accuracy"`, `id="effect-0"`, `id="latency"`, `id="coverage"`, `id="timeline"`, `id="decided"`, `id="missing"`,
		`class="band s0"`, `class="reference"`, "0.8750 [0.8500, 0.9000]", "40.0 %", "still raised", estimate.Assumptions[:40], "Left out: 1 estimate that is", "no: too few", "2 more",
		"channel=web", "4 rows are fewer than 50", "drift of ",
	} {
		if !strings.Contains(page, wanted) {
			t.Errorf("there is no %q in the page", wanted)
		}
	}
	for _, banned := range []string{"http://", "https://", "<script", "src="} {
		if strings.Contains(strings.ReplaceAll(page, "http://www.w3.org/2000/svg", ""), banned) {
			t.Errorf("the page has %q", banned)
		}
	}
	if one := pageOf(t, New(found(), Options{Monitor: "fraud", Slice: "channel=web"})); strings.Contains(one, "channel=shop") || strings.Contains(one, "land=") || !strings.Contains(one, "channel=web") {
		t.Error("one slice shows others, or does not show itself")
	}
	if other := pageOf(t, New(found(), Options{Monitor: "fraud", Slice: "nothing"})); !strings.Contains(other, "has a slice nothing") {
		t.Error("a slice that is not there is not said")
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, New(found(), Options{Monitor: "fraud"})); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Monitor, Worst string
		Alarms         []struct {
			Subject string
			Until   *int64
		}
		Reports []monitor.Report
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Worst != "critical" || len(got.Alarms) != 3 || got.Alarms[0].Until != nil || *got.Alarms[2].Until != start+7*day || len(got.Reports) != 21 || !math.IsNaN(got.Reports[1].Quality.Cost) {
		t.Errorf("%+v", got)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range [][2]float64{{0, 1}, {0.86, 0.861}, {-5, 7000}, {0, 1e-9}, {1e12, 2e12}} {
		all := ticks(c[0], c[1], 4)
		if len(all) > 12 || !slices.IsSorted(all) || len(all) > 0 && (all[0] < c[0]-1e-8 || all[len(all)-1] > c[1]+1e-8) {
			t.Errorf("%v: %v", c, all)
		}
	}
}
