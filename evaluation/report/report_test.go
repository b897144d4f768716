// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

var writers = map[string]func(io.Writer, *Report) error{
	"json": WriteJSON, "html": WriteHTML, "md": WriteMarkdown, "xml": WriteJUnit, "txt": WriteText,
}

func written(t *testing.T, form string, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := writers[form](&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, r := range map[string]*Report{"card": cardReport(), "value": valueReport(), "empty": {}} {
		for _, form := range []string{"md", "xml", "txt"} {
			path := filepath.Join("testdata", name+"."+form)
			got := written(t, form, r)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not as it was; go test -update writes it anew\n%s", path, got)
			}
		}
	}
}

// TestPages writes pages to look at in a browser, where a directory is named.
func TestPages(t *testing.T) {
	dir := os.Getenv("MILLRACE_REPORT_PAGES")
	if dir == "" {
		t.Skip("MILLRACE_REPORT_PAGES names no directory")
	}
	for name, r := range map[string]*Report{"card": cardReport(), "value": valueReport(), "classes": classReport(6),
		"many": classReport(77), "empty": {}, "hostile": hostileReport()} {
		if err := os.WriteFile(filepath.Join(dir, name+".html"), []byte(written(t, "html", r)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSameBytes(t *testing.T) {
	for form := range writers {
		for _, make := range []func() *Report{cardReport, hostileReport} {
			first := written(t, form, make())
			for range 5 {
				if written(t, form, make()) != first {
					t.Fatalf("%s: two writes of one report differ", form)
				}
			}
		}
	}
}

func TestWritersLeaveReport(t *testing.T) {
	r := cardReport()
	for form := range writers {
		written(t, form, r)
	}
	if !reflect.DeepEqual(r, cardReport()) {
		t.Error("writing a report changed it")
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for name, r := range map[string]*Report{"card": cardReport(), "classes": classReport(6), "value": valueReport()} {
		r.Version = Version
		got, err := ReadJSON(strings.NewReader(written(t, "json", r)))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%s: read\n%+v, wrote\n%+v", name, got, r)
		}
	}
}

func TestJSONOfNumbersThatAreNone(t *testing.T) {
	r, err := ReadJSON(strings.NewReader(written(t, "json", hostileReport())))
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Metrics[0]; m.Value.Value != nil || m.Against.Low != nil || m.Baselines[0] != nil || m.Value.Level != 0 {
		t.Errorf("NaN is not null: %+v", m)
	}
	if c := r.Plots.ROC[0]; !reflect.DeepEqual(c, Curve{Name: r.Plots.ROC[0].Name, X: []float64{0}, Y: []float64{0}, Counts: []int{1}}) {
		t.Errorf("curve with NaN became %+v", c)
	}
	if len(r.Plots.Scores) != 1 {
		t.Errorf("%d histograms, want the one with sound edges", len(r.Plots.Scores))
	}
}

func TestReadJSONRefuses(t *testing.T) {
	sound := written(t, "json", cardReport())
	replace := func(old, new string) string {
		if !strings.Contains(sound, old) {
			t.Fatalf("the report has no %q", old)
		}
		return strings.Replace(sound, old, new, 1)
	}
	tests := map[string]struct{ in, want string }{
		"empty":            {"", "unexpected end"},
		"no JSON":          {"<html>", "invalid character"},
		"no version":       {"{}", "there is none"},
		"other version":    {replace(`"version": 1`, `"version": 2`), "2, this program reads 1"},
		"unknown field":    {replace(`"title"`, `"titel"`), "titel"},
		"trailing":         {sound + "{}", "after top-level value"},
		"verdict":          {replace(`"verdict": "fail"`, `"verdict": "maybe"`), `"maybe" is none of`},
		"curve":            {replace("\"x\": [\n", "\"x\": [7,\n"), "plots.roc[0]: 102 x, 101 y"},
		"histogram":        {replace("\"edges\": [\n", "\"edges\": [7,\n"), "plots.scores[0]: 27 edges"},
		"confusion":        {replace("\"classes\": [\n", "\"classes\": [\"a\",\n"), "plots.confusion: 2 rows for 3 classes"},
		"confusion's row":  {replace("          131,\n", "          131, 1,\n"), "plots.confusion.counts[1]: 3 columns"},
		"number of a text": {replace(`"rows": 48212`, `"rows": "many"`), "rows"},
	}
	for name, test := range tests {
		_, err := ReadJSON(strings.NewReader(test.in))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
		if isVersion := strings.Contains(name, "version"); errors.Is(err, ErrVersion) != isVersion {
			t.Errorf("%s: error %v is ErrVersion: %t", name, err, !isVersion)
		}
	}
}

// zeros is JSON white space without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestReadJSONIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 64 MiB")
	}
	if _, err := ReadJSON(zeros{}); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("error %v", err)
	}
}

func TestWriteErrors(t *testing.T) {
	for form, write := range writers {
		if err := write(fullDisk{}, cardReport()); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v, want the writer's", form, err)
		}
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestCurvesAreThinned(t *testing.T) {
	c := Curve{}
	for i := range 10 * PointsMax {
		c.X, c.Y = append(c.X, float64(i)), append(c.Y, 1)
	}
	got := finiteCurve(c)
	if len(got.X) != PointsMax || got.X[0] != 0 || got.X[PointsMax-1] != 10*PointsMax-1 {
		t.Errorf("%d points from %g to %g", len(got.X), got.X[0], got.X[len(got.X)-1])
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.87123: "0.8712", -0.5: "-0.5000", 1: "1.000", 12.345: "12.35", 999.96: "1000.0", 81234: "81234",
		1e-9: "1.00e-09", 1.2e7: "1.20e+07", math.Inf(1): none,
	} {
		if got := number(v); got != want {
			t.Errorf("number(%g) = %q, want %q", v, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1754155: "1,754,155", -12345: "-12,345"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	for p, want := range map[float64]string{0.00001: "< 0.001", 0.05: "0.050", 1: "1.000"} {
		if got := probability(&p); got != want {
			t.Errorf("probability(%g) = %q, want %q", p, got, want)
		}
	}
}

func TestChange(t *testing.T) {
	tests := []struct {
		better    string
		low, high float64
		want      string
	}{
		{"higher", 0.1, 0.2, "better"}, {"higher", -0.2, -0.1, "worse"}, {"higher", -0.1, 0.1, ""},
		{"lower", 0.1, 0.2, "worse"}, {"lower", -0.2, -0.1, "better"}, {"lower", 0, 0.1, ""}, {"", 0.1, 0.2, ""},
	}
	for _, test := range tests {
		d := est((test.low+test.high)/2, test.low, test.high)
		if got := (Metric{Better: test.better, Difference: &d}).change(); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
