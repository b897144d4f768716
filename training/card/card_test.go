// SPDX-License-Identifier: Apache-2.0

package card

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fraudCard is a card with all there can be.
func fraudCard() *Card {
	c := &Card{
		Name: "fraud", Version: "12", Created: time.Date(2026, 3, 2, 14, 5, 6, 0, time.UTC), Millrace: "0.5.0",
		Task: "binary", Target: "is_fraud", Service: "fraud_v2", Summary: "212 trees, depth 6 at most",
		Description: "Scores card payments while they are made. Not for deciding about accounts.",
		Data: Data{Path: "train.parquet", Hash: "sha256:4f1c0a9be3", Rows: 67240, Positives: 499,
			From: time.Date(2018, 7, 25, 0, 0, 0, 0, time.UTC), To: time.Date(2018, 7, 31, 23, 59, 58, 0, time.UTC),
			Split: "4 prequential folds of 7 days", Classes: map[string]int{"genuine": 66741, "fraud": 499},
			Excluded: map[string]int{"no label yet": 812}},
		Metric: "average_precision", Better: "higher",
		Candidates: []Candidate{
			{Name: "constant", Method: "constant", Baseline: true, Metrics: map[string]float64{"average_precision": 0.008, "roc_auc": 0.5}, Seconds: 0.01},
			{Name: "logistic", Method: "linear", Metrics: map[string]float64{"average_precision": 0.606, "roc_auc": 0.871},
				Parameters: map[string]any{"l2": 0.1, "intercept": true}, Seconds: 2.31},
			{Name: "trees", Method: "trees", Chosen: true, Trials: 40, Metrics: map[string]float64{"average_precision": 0.661, "roc_auc": 0.872},
				Spread: map[string]float64{"average_precision": 0.02, "roc_auc": 0.008}, Summary: "212 trees",
				Parameters: map[string]any{"learning_rate": 0.05, "depth": int64(6)}, Seconds: 81.5},
			{Name: "network", Method: "neural", Error: "loss is NaN at step 12", Metrics: map[string]float64{"average_precision": math.NaN()}},
		},
		Calibration: &Calibration{Method: "isotonic", Rows: 9120, Before: map[string]float64{"log_loss": 0.041, "brier": 0.0071},
			After: map[string]float64{"log_loss": 0.0291, "brier": 0.0049}},
		Limits:   []string{"Learnt from one week: patterns of other seasons are unknown to it.", "Customers with fewer than 3 payments were 2 % of the rows."},
		Manifest: map[string]string{"seed": "7", "data": "sha256:4f1c0a9be3", "go": "go1.26", "millrace": "0.5.0"},
	}
	for i, name := range []string{"amount", "terminal_risk_1d", "terminal_risk_7d", "customer_mean_30d", "during_night", "channel"} {
		c.Features = append(c.Features, Feature{name, "Float64", 100 / float64(i+1), 0.5 / float64(i*i+1)})
	}
	train, valid := Curve{Name: "train_loss"}, Curve{Name: "valid_loss"}
	auc := Curve{Name: "valid_auc"}
	before, after := Line{Name: "without"}, Line{Name: "with"}
	for i := range 212 {
		x := float64(i)
		train.Steps, train.Values = append(train.Steps, i+1), append(train.Values, 0.05*math.Exp(-x/60))
		valid.Steps, valid.Values = append(valid.Steps, i+1), append(valid.Values, 0.03*math.Exp(-x/50)+0.02+x*x*1e-7)
		auc.Steps, auc.Values = append(auc.Steps, i+1), append(auc.Values, 0.87-0.1*math.Exp(-x/30))
	}
	for i := range 10 {
		x := (float64(i) + 0.5) / 10
		before.X, before.Y = append(before.X, x), append(before.Y, x*x)
		after.X, after.Y = append(after.X, x), append(after.Y, x+0.02*math.Sin(10*x))
	}
	c.Curves = []Curve{train, valid, auc}
	c.Calibration.Reliability = []Line{before, after}
	return c
}

const hostileText = "<script>alert(1)</script>\"'><img src=x>|`a`|**b**\n\n# h ]]> &amp; @everyone #1 https://evil.example \x1b[31m\x00\u202e\xff{{.}} <!-- --"

// hostileCard has hostileText wherever a text can be, and numbers that are none.
func hostileCard() *Card {
	h, nan, inf := hostileText, math.NaN(), math.Inf(-1)
	numbers := map[string]float64{h: nan, "b": inf, "c": math.MaxFloat64}
	c := &Card{Name: h, Version: h, Millrace: h, Task: h, Target: h, Description: h, Service: h, Summary: h, Metric: h, Better: h,
		Features: []Feature{{h, h, nan, inf}, {h, h, math.MaxFloat64, 1e-300}}, Limits: []string{h, "1. x", "- y"},
		Data:       Data{Path: h, Hash: h, Rows: -5, Positives: 1, Split: h, Classes: map[string]int{h: 1}, Excluded: map[string]int{h: -2}},
		Candidates: []Candidate{{Name: h, Method: h, Summary: h, Parameters: map[string]any{h: h}, Metrics: numbers, Spread: numbers, Chosen: true, Seconds: nan}, {Error: h}},
		Curves: []Curve{{h, []int{1, 2, 3}, []float64{nan, inf, 1}}, {"a_" + h, []int{1}, nil},
			{"x_y", []int{math.MinInt, math.MaxInt}, []float64{-math.MaxFloat64, math.MaxFloat64}}},
		Calibration: &Calibration{Method: h, Rows: 1, Before: numbers, Reliability: []Line{{h, []float64{nan, 0.1}, []float64{1, 0.1}}}},
		Manifest:    map[string]string{h: h},
	}
	return c
}

var cards = map[string]func() *Card{"fraud": fraudCard, "hostile": hostileCard, "empty": func() *Card { return &Card{} }}

func written(t *testing.T, write func(io.Writer, *Card) error, c *Card) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"fraud", "empty"} {
		path := filepath.Join("testdata", name+".md")
		got := written(t, WriteMarkdown, cards[name]())
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

// TestPages writes pages to look at in a browser, where a directory is named.
func TestPages(t *testing.T) {
	dir := os.Getenv("MILLRACE_CARD_PAGES")
	if dir == "" {
		t.Skip("MILLRACE_CARD_PAGES names no directory")
	}
	for name, make := range cards {
		for end, write := range map[string]func(io.Writer, *Card) error{"html": WriteHTML, "md": WriteMarkdown} {
			if err := os.WriteFile(filepath.Join(dir, "card-"+name+"."+end), []byte(written(t, write, make())), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSameBytes(t *testing.T) {
	for name, make := range cards {
		for form, write := range map[string]func(io.Writer, *Card) error{"html": WriteHTML, "md": WriteMarkdown} {
			first := written(t, write, make())
			for range 5 {
				if written(t, write, make()) != first {
					t.Fatalf("%s as %s: two writes differ", name, form)
				}
			}
		}
	}
	c, same := fraudCard(), fraudCard()
	c.Candidates[3].Metrics, same.Candidates[3].Metrics = nil, nil // NaN is not equal to itself
	written(t, WriteHTML, c)
	written(t, WriteMarkdown, c)
	if !reflect.DeepEqual(c, same) {
		t.Error("writing a card changed it")
	}
}

// TestPageIsWholeAndSafe parses pages as XML, which they promise to be: no text of a card
// could then have become markup unseen.
func TestPageIsWholeAndSafe(t *testing.T) {
	for name, make := range cards {
		text := written(t, WriteHTML, make())
		ids := map[string]bool{}
		var links []string
		dec := xml.NewDecoder(strings.NewReader(text))
		for {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: the page is no XML: %v", name, err)
			}
			start, is := token.(xml.StartElement)
			if !is {
				continue
			}
			switch start.Name.Local {
			case "script", "img", "link", "iframe", "object", "image", "use":
				t.Errorf("%s: the page has a <%s>", name, start.Name.Local)
			}
			for _, a := range start.Attr {
				switch a.Name.Local {
				case "id":
					if ids[a.Value] {
						t.Errorf("%s: two elements have the id %q", name, a.Value)
					}
					ids[a.Value] = true
				case "href":
					links = append(links, strings.TrimPrefix(a.Value, "#"))
				case "aria-labelledby":
					links = append(links, strings.Fields(a.Value)...)
				case "src", "onerror", "onclick":
					t.Errorf("%s: <%s> has the attribute %s", name, start.Name.Local, a.Name.Local)
				}
			}
		}
		for _, id := range links {
			if !ids[id] {
				t.Errorf("%s: something points to %q, which is not there", name, id)
			}
		}
		for _, bad := range []string{"\x1b", "\x00", "\u202e", "\xff", "NaN", "Inf", "url(", "@import"} {
			if strings.Contains(strings.ReplaceAll(text, "loss is NaN", ""), bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
	}
}

func TestMarkdownTextsStayTexts(t *testing.T) {
	text := written(t, WriteMarkdown, hostileCard())
	rest := strings.ReplaceAll(text, "<!-- -->", "")
	for _, bad := range []string{"<", "\n# h", "\n- - y", "\n- 1. x", "\x1b", "\u202e"} {
		if strings.Contains(rest, bad) {
			t.Errorf("the card has %q", bad)
		}
	}
	for _, bad := range []string{"@everyone", "://", " #1 "} {
		if strings.Contains(text, bad) {
			t.Errorf("the card has %q", bad)
		}
	}
	columns := 0
	for _, line := range strings.Split(text, "\n") {
		n := strings.Count(line, "|")
		if n != 0 && columns != 0 && n != columns {
			t.Errorf("a row of %d cells in a table of %d: %s", n-1, columns-1, line)
		}
		columns = n
	}
}

func TestMarkdownLeads(t *testing.T) {
	for in, want := range map[string]string{"1. x": `1\. x`, "12) x": `12\) x`, "1.": `1\.`, "0.66": "0.66", "12": "12", "-0.5": "-0.5",
		"- y": `\- y`, "---": `\---`, "-": `\-`, "+ y": `\+ y`, "": ""} {
		if got := mdText(in); got != want {
			t.Errorf("mdText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRanked(t *testing.T) {
	c := &Card{Metric: "m", Better: "lower", Candidates: []Candidate{
		{Name: "failed", Error: "x"}, {Name: "base", Baseline: true, Metrics: map[string]float64{"m": 0}},
		{Name: "unknown"}, {Name: "worse", Metrics: map[string]float64{"m": 3}}, {Name: "better", Metrics: map[string]float64{"m": 2}},
		{Name: "best", Chosen: true, Metrics: map[string]float64{"m": 1}}}}
	order := func() (names []string) {
		for _, candidate := range c.ranked() {
			names = append(names, candidate.Name)
		}
		return names
	}
	if got := fmt.Sprint(order()); got != "[best better worse unknown base failed]" {
		t.Errorf("lower is better: %s", got)
	}
	c.Better = "higher"
	if got := fmt.Sprint(order()); got != "[best worse better unknown base failed]" {
		t.Errorf("higher is better: %s", got)
	}
}

func TestListsAreBounded(t *testing.T) {
	c := fraudCard()
	for i := range 3000 {
		name := fmt.Sprintf("name%04d", i)
		c.Features = append(c.Features, Feature{Name: name})
		c.Candidates = append(c.Candidates, Candidate{Name: name, Metrics: map[string]float64{name: 1}})
		c.Limits = append(c.Limits, name)
		c.Curves = append(c.Curves, Curve{Name: name, Steps: []int{1, 2}, Values: []float64{1, 2}})
		c.Manifest[name], c.Data.Classes[name], c.Calibration.Before[name] = name, i, 1
	}
	page := written(t, WriteHTML, c)
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	for _, rest := range []string{"and 2,806 more", "and 2,904 more", "and 2,804 more"} {
		if !strings.Contains(page, rest) {
			t.Errorf("the page does not say %q", rest)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	for _, write := range []func(io.Writer, *Card) error{WriteHTML, WriteMarkdown} {
		if err := write(fullDisk{}, fraudCard()); !errors.Is(err, errFull) {
			t.Errorf("error %v, want the writer's", err)
		}
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }
