// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// world writes messages whose words follow from their label, with some of the words of
// others, and loads them.
func world(t *testing.T, train, test, labels int) *Texts {
	t.Helper()
	dir, r := t.TempDir(), rand.New(rand.NewPCG(1, 1))
	for name, n := range map[string]int{"train.csv": train, "test.csv": test} {
		var b strings.Builder
		b.WriteString("text,category\n")
		for i := range n {
			label := i % labels
			for range 6 {
				w := label*4 + r.IntN(4)
				if r.IntN(3) == 0 {
					w = r.IntN(labels * 4)
				}
				fmt.Fprintf(&b, "w%d ", w)
			}
			fmt.Fprintf(&b, ",intent %02d\n", label)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestMeasuresOnASmallWorld(t *testing.T) {
	texts := world(t, 600, 200, 6)
	o := Options{Seeds: 2, First: 30, Step: 30, Labels: 120, Top: 20, Folds: 3}
	needed, err := LabelsNeeded(texts, o)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := LabelsNeeded(texts, o); again.Ratio.Mean != needed.Ratio.Mean {
		t.Error("two runs differ")
	}
	if a := needed.Accuracy.Mean; a < 0.6 || a > 1 || !(needed.Ratio.Mean >= 0.25 && needed.Ratio.Mean <= 1) { // 30 of 120 labels to all
		t.Errorf("%+v", needed)
	}
	found, err := FlippedFound(texts, o)
	if err != nil {
		t.Fatal(err)
	}
	if found.Precision.Mean < 0.7 || found.Recall.Mean < 0.5 || found.Precision.Low > found.Precision.High {
		t.Errorf("%+v", found)
	}
	if _, err := FlippedFound(texts, Options{Labels: 601}); err == nil {
		t.Error("more labels than texts are taken")
	}
}

func TestReach(t *testing.T) {
	points := []point{{100, 0.5}, {200, 0.7}, {300, 0.6}, {400, 0.9}, {500, 0.9}}
	for target, want := range map[float64]float64{0.4: 100, 0.6: 150, 0.65: 316.6666666666667, 0.8: 366.6666666666667, 0.95: 500} {
		if got := reach(points, target); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v is reached with %v labels, want %v", target, got, want)
		}
	}
}

// TestTargets measures the two targets on banking77 where MILLRACE_BANKING77 names its
// folder, with MILLRACE_BANKING77_SEEDS seeds (10). It takes minutes.
func TestTargets(t *testing.T) {
	dir := os.Getenv("MILLRACE_BANKING77")
	if dir == "" {
		t.Skip("MILLRACE_BANKING77 does not name the folder of banking77")
	}
	texts, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{}
	if n := os.Getenv("MILLRACE_BANKING77_SEEDS"); n != "" {
		if o.Seeds, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("flipped", func(t *testing.T) {
		found, err := FlippedFound(texts, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("precision of the first 200: %.3f; issues %.0f, recall %.3f", found.Precision, found.Issues.Mean, found.Recall.Mean)
		if found.Precision.Low < 0.8 {
			t.Error("precision is below 0.8")
		}
	})
	t.Run("needed", func(t *testing.T) {
		needed, err := LabelsNeeded(texts, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("labels needed, margin by random: %.3f; accuracy %.4f", needed.Ratio, needed.Accuracy.Mean)
		if needed.Ratio.High > 0.7 {
			t.Error("the ratio is above 0.7")
		}
	})
}
