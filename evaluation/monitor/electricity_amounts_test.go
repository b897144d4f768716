// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

// demandModel predicts the demand of New South Wales half an hour ahead: what it is now, and
// the mean of what it then changes by at that time of day, of working days and of weekends.
type demandModel struct{ change, rows [2][48]float64 }

func fitDemand(rows [][]float64) *demandModel {
	m := &demandModel{}
	for i := 1; i < len(rows); i++ {
		kind, at := weekend(i), i%48
		m.rows[kind][at]++
		m.change[kind][at] += (rows[i][2] - rows[i-1][2] - m.change[kind][at]) / m.rows[kind][at]
	}
	return m
}

func (m *demandModel) score(rows [][]float64, i int) float64 {
	return rows[i-1][2] + m.change[weekend(i)][i%48]
}

// weekend is 1 at weekends: the first row is of a Tuesday, 7 May 1996.
func weekend(i int) int {
	if day := i / 48 % 7; day == 4 || day == 5 {
		return 1
	}
	return 0
}

// TestElectricityDemand has such a model of the first eight weeks, with the next four as
// reference. How demand changes over a day moves with the season, which the model does not
// know: a week whose mean absolute error is a quarter larger than the reference's has to be
// under an alarm of it when its labels are in, and weeks within a tenth of it must not all
// be. MILLRACE_SIMULATION=1 asks for all weeks, in place of a year's.
func TestElectricityDemand(t *testing.T) {
	rows, _ := electricityRows(t)
	if os.Getenv("MILLRACE_SIMULATION") == "" {
		rows = rows[:400*48]
	}
	const day, step = 48, int64(30 * time.Minute / time.Microsecond)
	model := fitDemand(rows[:56*day])
	c := Config{
		Name: "demand", Kind: Regression, Windows: []Duration{Duration(7 * 24 * time.Hour)}, Lateness: Duration(time.Minute), LabelDelay: Duration(30 * time.Minute), DropMin: 0.1,
		Columns: []Column{{Name: "nswprice"}, {Name: "transfer"}},
	}
	var reference []Prediction
	var truth []float64
	var events []Logged
	for i := 56 * day; i < len(rows); i++ {
		p := Prediction{ID: fmt.Sprint(i), Time: day0 + int64(i)*step, Numbers: []float64{rows[i][1], rows[i][5]}, Score: model.score(rows, i)}
		if i < 84*day {
			reference, truth = append(reference, p), append(truth, rows[i][2])
			continue
		}
		events = append(events, Logged{Prediction: &p}, Logged{Outcome: &Outcome{ID: p.ID, Label: rows[i][2], Time: p.Time + 1}})
	}
	r, err := ReferenceOf(c, reference, truth)
	if err != nil {
		t.Fatal(err)
	}
	reports, tested := replay(t, c, r, events)
	up, before := map[string]bool{}, 0.0
	grew, good, goodQuiet := 0, 0, 0
	for i := range reports {
		report := &reports[i]
		for _, e := range report.Events {
			up[e.Alarm.Subject] = e.Change != Cleared
		}
		if !report.Matured {
			continue
		}
		quality := up["concept:7d:mae"]
		before = report.Quality.Tests[0].Before
		now := report.Quality.Values.Of(estimate.MAE)
		switch {
		case now >= 1.25*before:
			if grew++; !quality {
				t.Errorf("the week of %s has an error of %.4f, %.4f in the reference, and no alarm", moment(report.Start), now, before)
			}
		case now <= (1+c.DropMin)*before:
			if good++; !quality {
				goodQuiet++
			}
		}
	}
	t.Logf("mean absolute error %.4f in the reference; of %d weeks %d were worse by a quarter or more, %d within a tenth of it and %d of those under no alarm of it; %d detectors fired",
		before, tested.Matured, grew, good, goodQuiet, len(tested.Fired))
	if grew < 3 || goodQuiet == 0 {
		t.Error("too few weeks are of one kind")
	}
}
