// SPDX-License-Identifier: Apache-2.0

package split

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const hour = 3600 * 1_000_000

func parsed(t *testing.T, text string) *Plan {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// columnOf is a column with the decimal texts of numbers, whatever its name.
func columnOf(numbers []int32) func(string) ([]string, error) {
	return func(string) ([]string, error) {
		texts := make([]string, len(numbers))
		for i, n := range numbers {
			texts[i] = strconv.Itoa(int(n))
		}
		return texts, nil
	}
}

// hourly has one row an hour from 2024-01-01 on, out of order, with a positive in ten and
// groups of about ten rows.
func hourly(n int) Rows {
	r := rand.New(rand.NewPCG(1, 1))
	rows := Rows{Classes: 2}
	origin, err := ParseDate("2024-01-01")
	if err != nil {
		panic(err)
	}
	for _, at := range r.Perm(n) {
		rows.Times = append(rows.Times, int64(origin)+int64(at)*hour)
		rows.Groups = append(rows.Groups, int32(r.IntN(n/10+1)))
		label := float32(0)
		if r.IntN(10) == 0 {
			label = 1
		}
		rows.Labels = append(rows.Labels, label)
	}
	rows.Column = columnOf(rows.Groups)
	return rows
}

func splitOf(t *testing.T, text string, rows Rows) []Fold {
	t.Helper()
	folds, err := parsed(t, text).Split(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folds {
		holds(t, &f, rows)
	}
	return folds
}

// holds checks S1: no row twice, and every row is somewhere or counted.
func holds(t *testing.T, f *Fold, rows Rows) {
	t.Helper()
	seen := make([]bool, len(rows.Labels))
	taken := 0
	for _, part := range [][]int32{f.Train, f.Valid, f.Calibrate, f.Test} {
		for _, row := range part {
			if seen[row] {
				t.Errorf("fold %s: row %d is in two parts", f.Name, row)
			}
			seen[row] = true
			taken++
		}
	}
	for _, n := range f.Excluded {
		taken += n
	}
	if taken != len(rows.Labels) {
		t.Errorf("fold %s: %d of %d rows are accounted for", f.Name, taken, len(rows.Labels))
	}
}

// within reports whether all rows are in a window of dates.
func within(rows Rows, part []int32, from, to string) bool {
	a, errA := ParseDate(from)
	b, errB := ParseDate(to)
	if errA != nil || errB != nil {
		return false
	}
	for _, row := range part {
		if t := rows.Times[row]; t < int64(a) || t >= int64(b) {
			return false
		}
	}
	return true
}

func TestTimeWindows(t *testing.T) {
	rows := hourly(24 * 40)
	folds := splitOf(t, `
method: time
start: [2024-01-02, 2024-01-09]
train: 7d
valid: 1d
calibrate: 36h
gap: 3d12h
test: 7d`, rows)
	if len(folds) != 2 || folds[1].Name != "2024-01-09" {
		t.Fatalf("%d folds", len(folds))
	}
	f := folds[0]
	if len(f.Train) != 7*24 || len(f.Valid) != 24 || len(f.Calibrate) != 36 || len(f.Test) != 7*24 || f.Excluded[ReasonGap] != 84 {
		t.Errorf("parts of %d, %d, %d and %d rows, %v", len(f.Train), len(f.Valid), len(f.Calibrate), len(f.Test), f.Excluded)
	}
	if !within(rows, f.Train, "2024-01-02", "2024-01-09") || !within(rows, f.Valid, "2024-01-09", "2024-01-10") ||
		!within(rows, f.Calibrate, "2024-01-10", "2024-01-11T12:00:00Z") || !within(rows, f.Test, "2024-01-15", "2024-01-22") {
		t.Errorf("windows %s", f.Windows)
	}
	if want := "train 2024-01-02..2024-01-09"; !strings.Contains(f.Windows, want) {
		t.Errorf("windows %q, want %q in them", f.Windows, want)
	}
	if !slices.IsSortedFunc(f.Train, func(a, b int32) int { return int(rows.Times[a] - rows.Times[b]) }) {
		t.Error("train is not in order of time")
	}
}

func TestTimeForms(t *testing.T) {
	rows := hourly(24 * 40)
	byDates := splitOf(t, `{method: time, train: 2024-01-02..2024-01-09, test: 2024-01-16..2024-01-23}`, rows)
	byLength := splitOf(t, `{method: time, start: 2024-01-02, train: 7d, gap: 1w, test: 7d}`, rows)
	if !slices.Equal(byDates[0].Train, byLength[0].Train) || !slices.Equal(byDates[0].Test, byLength[0].Test) {
		t.Error("dates and lengths give other folds")
	}
	rest := splitOf(t, `{method: time, start: 2024-01-02, train: 7d, gap: 7d}`, rows)
	if len(rest[0].Test) != 24*(40-15) {
		t.Errorf("%d rows behind the gap", len(rest[0].Test))
	}
	share := splitOf(t, `{method: time, test: 25%, gap: 1d, valid: 0.1, calibrate: 0.2}`, rows)[0]
	if n := len(rows.Labels) - 24 - 240; len(share.Test) != 240 || len(share.Valid) != (n+5)/10 || len(share.Calibrate) != n/5 || share.Excluded[ReasonGap] != 24 {
		t.Errorf("parts of %d, %d, %d and %d rows", len(share.Train), len(share.Valid), len(share.Calibrate), len(share.Test))
	}
	latest := func(part []int32) (t int64) {
		for _, row := range part {
			t = max(t, rows.Times[row])
		}
		return t
	}
	if !(latest(share.Train) < latest(share.Valid) && latest(share.Valid) < latest(share.Calibrate) && latest(share.Calibrate)+24*hour < latest(share.Test)) {
		t.Error("the parts are not in order of time")
	}
	if plain := splitOf(t, `method: time`, rows)[0]; len(plain.Test) != len(rows.Labels)/5 {
		t.Errorf("%d rows of test by default", len(plain.Test))
	}
}

// TestTies keeps rows of one time together.
func TestTies(t *testing.T) {
	rows := Rows{Labels: make([]float32, 10), Times: []int64{1, 1, 1, 2, 2, 2, 2, 3, 3, 3}}
	f := splitOf(t, `{method: time, test: 0.5}`, rows)[0]
	if len(f.Train) != 3 || len(f.Test) != 7 {
		t.Errorf("%d and %d rows", len(f.Train), len(f.Test))
	}
}

func TestPrequential(t *testing.T) {
	rows := hourly(24 * 30)
	rolling := splitOf(t, `{method: prequential, start: 2024-01-01, train: 10d, gap: 1d, test: 2d, valid: 0.1}`, rows)
	if len(rolling) != 10 {
		t.Fatalf("%d folds, want 10", len(rolling))
	}
	for i, f := range rolling {
		if want := min(48, 24*(30-11)-48*i); len(f.Test) != want || len(f.Train)+len(f.Valid) != 240 {
			t.Errorf("fold %d has %d and %d rows", i, len(f.Train), len(f.Test))
		}
	}
	growing := splitOf(t, `{method: prequential, window: growing, train: 240 rows, test: 100 rows, step: 50 rows, folds: 3}`, rows)
	last := growing[len(growing)-1]
	if len(growing) != 3 || len(last.Train) != 690 || growing[0].Name >= last.Name {
		t.Errorf("%d folds, the last learns from %d rows", len(growing), len(last.Train))
	}
	rows.Times = nil
	byRow := splitOf(t, `{method: prequential, train: 240 rows, test: 120 rows}`, rows)
	if len(byRow) != 4 || byRow[1].Test[0] != 360 || byRow[1].Train[0] != 120 {
		t.Errorf("%d folds of rows without times", len(byRow))
	}
}

func TestGroups(t *testing.T) {
	rows := hourly(1000)
	for _, text := range []string{`{method: group, test: 0.3, valid: 0.2, calibrate: 0.1, seed: 4}`, `{method: group, folds: 4, valid: 0.2, seed: 2}`} {
		folds := splitOf(t, text, rows)
		tested := 0
		for _, f := range folds {
			side := make(map[int32]int)
			for i, part := range [][]int32{f.Train, f.Valid, f.Calibrate, f.Test} {
				for _, row := range part {
					if was, ok := side[rows.Groups[row]]; ok && was != i {
						t.Errorf("group %d is on two sides", rows.Groups[row])
					}
					side[rows.Groups[row]] = i
				}
			}
			tested += len(f.Test)
		}
		if len(folds) == 4 && tested != len(rows.Labels) {
			t.Errorf("%d of %d rows are tested", tested, len(rows.Labels))
		}
		if len(folds) == 1 && (tested < 270 || tested > 330) {
			t.Errorf("%d rows of test, want about 300", tested)
		}
	}
}

func TestRandom(t *testing.T) {
	rows := hourly(2000)
	positives := func(part []int32) (n int) {
		for _, row := range part {
			n += int(rows.Labels[row])
		}
		return n
	}
	all := 0
	for _, y := range rows.Labels {
		all += int(y)
	}
	f := splitOf(t, `{method: random, test: 0.2, valid: 0.1, seed: 1}`, rows)[0]
	if d := positives(f.Test) - all/5; d < -1 || d > 1 || len(f.Test) < 398 || len(f.Test) > 402 {
		t.Errorf("%d positives of %d among %d rows of test", positives(f.Test), all, len(f.Test))
	}
	again := splitOf(t, `{method: random, test: 0.2, valid: 0.1, seed: 1}`, rows)[0]
	other := splitOf(t, `{method: random, test: 0.2, valid: 0.1, seed: 2}`, rows)[0]
	if !slices.Equal(f.Test, again.Test) || slices.Equal(f.Test, other.Test) {
		t.Error("the seed does not make the split")
	}
	seen := make([]int, len(rows.Labels))
	for _, f := range splitOf(t, `{method: random, folds: 5}`, rows) {
		for _, row := range f.Test {
			seen[row]++
		}
	}
	if slices.Min(seen) != 1 || slices.Max(seen) != 1 {
		t.Error("not every row is tested once in five folds")
	}
}

func TestColumn(t *testing.T) {
	parts := []string{"train", "test", "", "calibrate", "train", "train", "train", "train"}
	rows := Rows{Labels: make([]float32, len(parts)), Column: func(string) ([]string, error) { return parts, nil }}
	f := splitOf(t, `{method: column, column: part, valid: 0.4}`, rows)[0]
	if len(f.Train) != 3 || len(f.Valid) != 2 || !slices.Equal(f.Test, []int32{1}) || !slices.Equal(f.Calibrate, []int32{3}) || f.Excluded[ReasonColumn] != 1 {
		t.Errorf("%+v", f)
	}
	parts[2] = "tset"
	if _, err := parsed(t, `{method: column, column: part}`).Split(rows); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), `"tset" in row 2`) {
		t.Errorf("error %v", err)
	}
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]string{
		"7d": "7d", "1w": "7d", "36h": "1d12h", "90s": "1m30s", "0.2": "0.2", "20%": "0.2", "500 rows": "500 rows",
		"2018-07-25..2018-08-01": "2018-07-25..2018-08-01", "2018-07-25 12:30:00..2018-08-01": "2018-07-25T12:30:00Z..2018-08-01",
	} {
		s, err := ParseSize(text)
		if err != nil || s.String() != want {
			t.Errorf("%q is %q, want %q; error %v", text, s, want, err)
		}
		again, err := ParseSize(s.String())
		if err != nil || again.String() != want {
			t.Errorf("%q is read as %q; error %v", s, again, err)
		}
	}
	for _, text := range []string{"", "7", "d", "7x", "-7d", "1e9d", "99999999999d", "0d", "1.0", "0", "NaN", "-1", "0 rows", "x rows", "2018-08-01..2018-07-25", "2018-08-01..", "2018-13-01..2019-01-01"} {
		if s, err := ParseSize(text); err == nil {
			t.Errorf("%q is taken for %q", text, s)
		}
	}
}

func TestSurvivesJSON(t *testing.T) {
	p := parsed(t, `{method: time, start: [2018-07-25, "2018-08-01T12:00:00Z"], train: 7d, gap: 7d, test: 7d, valid: 0.1, exclude_known: {group: customer_id, delay: 7d}}`)
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again Plan
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if second, err := json.Marshal(&again); err != nil || string(second) != string(text) || again.Validate() != nil {
		t.Errorf("%s became %s, error %v", text, second, err)
	}
}

func TestRefusedPlans(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                            "method",
		`{method: magic}`:               `method "magic"`,
		`{method: time, tset: 7d}`:      "tset",
		`{method: time, train: 7 days}`: "7 days",
		`{method: time, start: yesterday, train: 7d}`:                                 "yesterday",
		`{method: time, train: 7d, test: 7d}`:                                         "start is missing",
		`{method: time, start: 2018-01-01, test: 7d}`:                                 "train is missing",
		`{method: time, start: 2018-01-01, train: 0.5}`:                               "train: a share",
		`{method: time, train: 2018-01-01..2018-01-08}`:                               "train and test are both",
		`{method: time, folds: 3}`:                                                    "folds has no meaning",
		`{method: time, start: 2018-01-01, train: 50 rows}`:                           "50 rows",
		`{method: time, gap: 0.1}`:                                                    "gap: a share",
		`{method: prequential, test: 7d}`:                                             "train is missing",
		`{method: prequential, train: 7d}`:                                            "test is missing",
		`{method: prequential, train: 7d, test: 50 rows}`:                             "all durations or all rows",
		`{method: prequential, train: 7d, test: 7d, window: sliding}`:                 "window",
		`{method: prequential, train: 7d, test: 7d, start: [2018-01-01, 2019-01-01]}`: "start",
		`{method: random, test: 7d}`:                                                  "7d is no share",
		`{method: random, test: 0.5, valid: 0.5}`:                                     "take all rows",
		`{method: random, folds: 1}`:                                                  "folds is 1",
		`{method: random, folds: 3, test: 0.3}`:                                       "leave one out",
		`{method: random, exclude_known: {group: a, delay: 1d}}`:                      "exclude_known has no meaning",
		`{method: group, gap: 7d}`:                                                    "gap has no meaning",
		`{method: column}`:                                                            "column is missing",
		`{method: time, exclude_known: {delay: 7d}}`:                                  "exclude_known.group",
		`{method: time, exclude_known: {group: a, delay: soon}}`:                      "soon",
		`[1, 2]`: "",
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
}

func TestRefusedRows(t *testing.T) {
	rows := hourly(24 * 30)
	without := rows
	without.Times = nil
	short := rows
	short.Times = short.Times[1:]
	three := rows
	three.Classes = 3
	known := rows
	known.Labels = slices.Repeat([]float32{1}, len(rows.Labels))
	known.Column = columnOf(make([]int32, len(rows.Labels)))
	missing := rows
	missing.Column = func(string) ([]string, error) { return nil, errors.New("no such column") }
	columnless := rows
	columnless.Column = nil
	brief := rows
	brief.Column = columnOf(rows.Groups[1:])
	for _, c := range []struct {
		plan string
		rows Rows
		want error
		text string
	}{
		{`{method: time}`, Rows{}, ErrEmpty, "no rows"},
		{`{method: time}`, without, ErrPlan, "needs times"},
		{`{method: time}`, short, ErrPlan, "719 times for 720 rows"},
		{`{method: group}`, Rows{Labels: make([]float32, 3)}, ErrPlan, "needs groups"},
		{`{method: column, column: part}`, missing, ErrPlan, "column part: no such column"},
		{`{method: column, column: part}`, columnless, ErrPlan, "no column part"},
		{`{method: time, exclude_known: {group: g, delay: 1d}}`, brief, ErrPlan, "719 values for 720 rows"},
		{`{method: time, start: 2030-01-01, train: 7d, test: 7d}`, rows, ErrEmpty, "fold 2030-01-01: no row is in train (train 2030-01-01..2030-01-08, test 2030-01-08..2030-01-15)"},
		{`{method: time, start: 2024-01-25, train: 5d, gap: 7d, test: 7d}`, rows, ErrEmpty, "no row is in test"},
		{`{method: time, start: [2024-01-02, 2024-01-02], train: 5d, test: 7d}`, rows, ErrPlan, "twice"},
		{`{method: time, train: 2024-01-02..2024-01-09, test: 2024-01-08..2024-01-12}`, rows, ErrPlan, "fold 2024-01-08: test begins at 2024-01-08, before the part before it ends at 2024-01-09"},
		{`{method: time, start: 2024-01-02, train: 1d, test: 1d, valid: 0.001}`, rows, ErrEmpty, "no row is in valid"},
		{`{method: prequential, train: 29d, gap: 2d, test: 1d}`, rows, ErrEmpty, "first test window"},
		{`{method: prequential, train: 1 rows, test: 1 rows}`, hourly(FoldsMax + 10), ErrPlan, "test windows"},
		{`{method: random, folds: 800}`, rows, ErrPlan, "800 folds"},
		{`{method: time, exclude_known: {group: g, delay: 1d}}`, three, ErrPlan, "two classes"},
		{`{method: time, exclude_known: {group: g, delay: 1d}}`, known, ErrEmpty, "exclude_known left all 144 out"},
	} {
		if _, err := parsed(t, c.plan).Split(c.rows); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v, want %q in it", c.plan, err, c.text)
		}
	}
}

// TestOddSizes has sizes that no text gives.
func TestOddSizes(t *testing.T) {
	for _, size := range []Size{{Duration: -5}, {Rows: -1}, {Share: -0.5}} {
		p := Plan{Method: MethodTime, Train: size}
		if _, err := p.Split(hourly(50)); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: error %v", size, err)
		}
	}
	if _, err := (&Plan{Method: MethodTime, Test: Size{Share: 2}}).Split(hourly(50)); err == nil {
		t.Error("a share of 2 is taken")
	}
}

// FuzzParse looks for plans that make the package panic.
func FuzzParse(f *testing.F) {
	f.Add(`{method: time, start: 2024-01-02, train: 7d, gap: 7d, test: 7d}`)
	f.Add(`{method: prequential, train: 100 rows, test: 50 rows, window: growing}`)
	rows := hourly(500)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text))
		if err != nil {
			return
		}
		folds, err := p.Split(rows)
		if err != nil {
			return
		}
		for i := range folds[:min(len(folds), 20)] {
			holds(t, &folds[i], rows)
		}
	})
}
