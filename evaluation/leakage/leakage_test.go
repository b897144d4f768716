// SPDX-License-Identifier: Apache-2.0

package leakage

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/column"
)

func numbers(name string, values ...float64) *column.Column {
	return &column.Column{Name: name, Type: column.Float64, Numbers: values}
}

func side(seed uint64, rows int, start time.Time) Rows {
	random := rand.New(rand.NewPCG(seed, 0))
	a, b := numbers("a"), &column.Column{Name: "b", Type: column.String}
	times, who := &column.Column{Name: "at", Type: column.Timestamp}, &column.Column{Name: "who", Type: column.Int64}
	for i := range rows {
		a.AppendNumber(random.NormFloat64())
		b.AppendText(strconv.Itoa(random.IntN(50)))
		times.AppendInt(start.Add(time.Duration(i) * time.Hour).UnixMicro())
		who.AppendInt(int64(seed)*1000 + int64(i))
	}
	return Rows{Count: rows, Features: []*column.Column{a, b}, Times: times, Entities: []*column.Column{who}}
}

func byCheck(found []report.Finding) map[string]report.Finding {
	all := map[string]report.Finding{}
	for _, f := range found {
		all[f.Check] = f
	}
	return all
}

func TestSoundSidesHaveNoFinding(t *testing.T) {
	start := time.Unix(0, 0)
	train, test := side(1, 500, start), side(2, 500, start.Add(1000*time.Hour))
	if found := Compare(train, test, 20*time.Hour); found != nil {
		t.Errorf("found %+v", found)
	}
	if found := Compare(Rows{}, Rows{}, 0); found != nil {
		t.Errorf("found %+v in nothing", found)
	}
}

func TestCompare(t *testing.T) {
	start := time.Unix(0, 0)
	train, test := side(1, 100, start), side(2, 100, start.Add(90*time.Hour))
	for i := range 7 {
		test.Features[0].Numbers[i], test.Features[1].Texts[i] = train.Features[0].Numbers[2*i], train.Features[1].Texts[2*i]
	}
	test.Entities[0].Ints[3], test.Entities[0].Ints[4] = train.Entities[0].Ints[8], train.Entities[0].Ints[8]
	found := byCheck(Compare(train, test, 0))
	for check, rows := range map[string]int{"time": 10, "duplicates": 7, "entities": 2} {
		if f := found[check]; f.Rows != rows || !f.Severe || f.Detail == "" {
			t.Errorf("%s: %+v, want %d rows", check, f, rows)
		}
	}
	if f := byCheck(Compare(train, test, 5*time.Hour))["time"]; f.Rows != 15 || !strings.Contains(f.Detail, "gap") {
		t.Errorf("with a gap: %+v", f)
	}
}

// TestFewFeaturesRepeatByChance: rows of two bits repeat within each side as between them.
func TestFewFeaturesRepeatByChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	make := func() Rows {
		a, b := numbers("a"), numbers("b")
		for range 200 {
			a.AppendNumber(float64(random.IntN(2)))
			b.AppendNumber(float64(random.IntN(2)))
		}
		return Rows{Count: 200, Features: []*column.Column{a, b}}
	}
	found := Compare(make(), make(), 0)
	if len(found) != 1 || found[0].Severe || found[0].Rows != 200 {
		t.Errorf("found %+v", found)
	}
}

// TestNumbersOfOtherTypesAreEqual: a file may store as a whole number what another has as
// a float; a missing value equals a missing value, and 0 equals -0.
func TestNumbersOfOtherTypesAreEqual(t *testing.T) {
	whole := &column.Column{Name: "a", Type: column.Int64}
	whole.AppendInt(0)
	whole.AppendInt(7)
	whole.AppendNull()
	found := Compare(Rows{Count: 3, Features: []*column.Column{whole}}, Rows{Count: 3, Features: []*column.Column{numbers("a", math.Copysign(0, -1), 7, math.NaN())}}, 0)
	if len(found) != 1 || found[0].Rows != 3 {
		t.Errorf("found %+v", found)
	}
}

func TestPredictors(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 0))
	const rows = 2000
	labels := make([]float64, rows)
	leak, inverse, weak, texts, empty := numbers("leak"), numbers("inverse"), numbers("weak"), &column.Column{Name: "texts", Type: column.String}, numbers("empty")
	for i := range labels {
		labels[i] = float64(random.IntN(2))
		leak.AppendNumber(labels[i] + random.Float64()*0.9)
		inverse.AppendNumber(-labels[i])
		weak.AppendNumber(labels[i] + 2*random.NormFloat64())
		texts.AppendText(strconv.FormatFloat(labels[i], 'f', 0, 64))
		empty.AppendNull()
	}
	for name, test := range map[string]struct {
		features []*column.Column
		want     string
	}{
		"none":         {[]*column.Column{weak, empty}, ""},
		"one":          {[]*column.Column{weak, leak, empty}, "leak"},
		"downwards":    {[]*column.Column{weak, inverse}, "inverse"},
		"texts":        {[]*column.Column{texts, weak}, "texts"},
		"alone":        {[]*column.Column{leak}, "leak"},
		"several":      {[]*column.Column{leak, weak, texts}, "leak texts"},
		"no features":  {nil, ""},
		"nothing said": {[]*column.Column{empty}, ""},
	} {
		var names []string
		for _, f := range Predictors(test.features, labels) {
			names = append(names, f.Subject)
		}
		got := strings.Join(names, " ")
		if name == "several" && got == "texts leak" {
			got = test.want
		}
		if got != test.want {
			t.Errorf("%s: found %q, want %q", name, got, test.want)
		}
	}
	// An easy task is no leak: another feature that is not suspected is nearly as good.
	nearly := numbers("nearly")
	for i := range labels {
		v := labels[i]
		if i%50 == 0 {
			v = 1 - v
		}
		nearly.AppendNumber(v)
	}
	if found := Predictors([]*column.Column{leak, nearly}, labels); found != nil {
		t.Errorf("an easy task gives %+v", found)
	}
}
