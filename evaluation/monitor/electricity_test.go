// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// electricityRows reads the New South Wales electricity market: 48 rows a day, the label of
// each known half an hour later. The test skips where the data is not there.
func electricityRows(t *testing.T) (rows [][]float64, labels []float64) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", "electricity", "elec.csv"))
	if err != nil {
		t.Skip("the electricity data is not there: ", err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		values := make([]float64, len(line))
		for i, text := range line {
			if values[i], err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatal(err)
			}
		}
		rows, labels = append(rows, values[:len(line)-1]), append(labels, values[len(line)-1])
	}
	return rows, labels
}

// logisticModel is a logistic regression by gradient descent, on standardised columns.
type logisticModel struct{ mean, sd, weight []float64 }

func fitLogistic(rows [][]float64, labels []float64) *logisticModel {
	k, n := len(rows[0]), float64(len(rows))
	m := &logisticModel{make([]float64, k), make([]float64, k), make([]float64, k+1)}
	for i := range k {
		for _, r := range rows {
			m.mean[i] += r[i] / n
		}
		for _, r := range rows {
			m.sd[i] += (r[i] - m.mean[i]) * (r[i] - m.mean[i]) / n
		}
		if m.sd[i] = math.Sqrt(m.sd[i]); m.sd[i] < 1e-9 {
			m.sd[i] = 1 // vicprice, vicdemand and transfer are constant in the first year
		}
	}
	for range 200 {
		gradient := make([]float64, k+1)
		for j, r := range rows {
			d := (m.score(r) - labels[j]) / n
			for i := range k {
				gradient[i] += d * (r[i] - m.mean[i]) / m.sd[i]
			}
			gradient[k] += d
		}
		for i, g := range gradient {
			m.weight[i] -= 2 * g
		}
	}
	return m
}

func (m *logisticModel) score(r []float64) float64 {
	sum := m.weight[len(r)]
	for i, v := range r {
		sum += m.weight[i] * (v - m.mean[i]) / m.sd[i]
	}
	return 1 / (1 + math.Exp(-sum))
}

// TestElectricity has a model of the first eight weeks, with the next four as reference, and
// looks at all weeks after them. A week whose accuracy is 10 points below the reference's is
// a drop: an alarm has to have been raised by the time the labels of that week are in, and
// one of quality has to be up then. Weeks that are as good as the reference must not all be
// under an alarm of quality.
func TestElectricity(t *testing.T) {
	rows, labels := electricityRows(t)
	if os.Getenv("MILLRACE_SIMULATION") == "" {
		rows, labels = rows[:320*48], labels[:320*48] // the first 320 days; the variable asks for all
	}
	const day, step = 48, int64(30 * time.Minute / time.Microsecond)
	model := fitLogistic(rows[:56*day], labels[:56*day])
	c := Config{
		Name: "electricity", Windows: []Duration{Duration(24 * time.Hour), Duration(7 * 24 * time.Hour)}, Lateness: Duration(time.Minute), LabelDelay: Duration(30 * time.Minute), Draws: 10, RowsMin: 40,
		Columns: []Column{{Name: "period"}, {Name: "nswprice"}, {Name: "nswdemand"}, {Name: "vicprice"}, {Name: "vicdemand"}, {Name: "transfer"}},
	}
	var reference []Prediction
	var events []Logged
	for i := 56 * day; i < len(rows); i++ {
		p := Prediction{ID: fmt.Sprint(i), Time: day0 + int64(i)*step, Numbers: rows[i], Score: model.score(rows[i])}
		if i < 84*day {
			reference = append(reference, p)
			continue
		}
		events = append(events, Logged{Prediction: &p}, Logged{Outcome: &Outcome{ID: p.ID, Label: labels[i], Time: p.Time + 1}})
	}
	r, err := ReferenceOf(c, reference, labels[56*day:84*day])
	if err != nil {
		t.Fatal(err)
	}
	reports, tested := replay(t, c, r, events)
	before := -1.0
	up, raised, quality := map[string]bool{}, false, false
	drops, good, goodQuiet := 0, 0, 0
	for i := range reports {
		report := &reports[i]
		for _, e := range report.Events {
			up[e.Alarm.Subject] = e.Change != Cleared
			raised = raised || e.Change == Raised
		}
		if !report.Matured || report.Window != c.Windows[1] || !report.Judged {
			continue
		}
		quality = false
		for subject, is := range up {
			quality = quality || is && (strings.HasPrefix(subject, "concept:") || strings.HasPrefix(subject, "online:"))
		}
		test := report.Quality.Tests[0]
		before = test.Before
		if test.Now <= before-0.1 {
			if drops++; !raised || !quality {
				t.Errorf("the week of %s has an accuracy of %.3f, %.3f in the reference, and no alarm", moment(report.Start), test.Now, before)
			}
		} else if test.Now >= before-0.02 {
			if good++; !quality {
				goodQuiet++
			}
		}
	}
	t.Logf("accuracy %.3f in the reference; %d weeks of %d dropped by 10 points, %d were as good as it and %d of those under no alarm of quality; %d detectors fired, first %s",
		before, drops, tested.Matured/8, good, goodQuiet, len(tested.Fired), tested.Fired[0].Subject)
	if drops == 0 || good == 0 || goodQuiet == 0 {
		t.Errorf("%d weeks dropped; of %d as good as the reference %d are under no alarm of quality", drops, good, goodQuiet)
	}
}
