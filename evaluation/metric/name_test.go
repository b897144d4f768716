// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseTakesNames(t *testing.T) {
	for text, suits := range map[string][]Task{
		"roc_auc": {Binary, Multiclass}, "roc_auc:a": {Multiclass}, " ece@15 ": {Binary}, "ece@bins=20": {Binary},
		"precision@100": {Binary, Ranking}, "precision@1": {Binary, Ranking}, "precision@0.7": {Binary},
		"precision@1.0": {Binary}, "precision@threshold=1": {Binary}, "precision@k=3": {Binary, Ranking},
		"recall@fpr=0.01": {Binary}, "recall@1e-1": {Binary}, "recall@ k = 7": {Binary, Ranking},
		"accuracy": {Binary, Multiclass}, "accuracy@0.2": {Binary}, "f1": {Binary}, "f1_macro": {Multiclass},
		"recall:refund": {Multiclass}, `recall:"a@b, c"`: {Multiclass}, `fbeta:"x@y"@beta=2`: {Multiclass},
		"cost@fp=1,fn=10,threshold=0.5": {Binary}, "cost@fn=10,0.5": {Binary}, "cost@fp=-1": {Binary},
		"mae": {Regression}, "pinball@0.9": {Regression}, "ndcg@10,gain=exponential": {Ranking}, "map": {Ranking},
	} {
		m, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if m.Name() != strings.TrimSpace(text) {
			t.Errorf("%q is named %q", text, m.Name())
		}
		for task := Binary; task <= Ranking; task++ {
			if got := m.Suits(task); got != slices.Contains(suits, task) {
				t.Errorf("%s suits %v: %v", text, task, got)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                       "the name is empty",
		"roc_acu":                "did you mean roc_auc?",
		"nothing like it":        "there are accuracy, average_precision",
		"roc_auc@3":              "there is no place for the value 3",
		"ece@0":                  "bins is 0, it must be a whole number from 1 to 10000",
		"ece@1e9":                "bins is 1e9",
		"ece@bin=3":              "did you mean bins?",
		"f1@high":                "threshold is high, it must be a number",
		"f1@NaN":                 "threshold is NaN",
		"precision@0":            "k is 0, it must be a whole number from 1",
		"precision@-3":           "k is -3",
		"precision@":             "an argument after @ is empty",
		"precision@k=":           "an argument after @ is empty",
		"precision@=3":           "has no name",
		"precision@k=1,k=2":      "k is given twice",
		"precision@1,2":          "more than one value without a name",
		"precision@k=1,0.5":      "there is no place for the value 0.5",
		"precision:":             "the class after : is empty",
		`precision:"a`:           "malformed",
		"brier:a":                "it is not of one class",
		"recall:a@0.5":           "no place for the value 0.5",
		"recall@fpr=2":           "fpr is 2, it must be from 0 to 1",
		"recall@fpr=0.1,k=3":     "unknown argument k",
		"lift":                   "it needs a share of the rows",
		"lift@0":                 "share is 0",
		"fbeta":                  "it needs beta",
		"fbeta@beta=0":           "beta is 0, it must be a number above 0",
		"pinball@1":              "q is 1, it must be between 0 and 1",
		"ndcg@3,gain=cubic":      "gain is cubic, it must be linear or exponential",
		"cost@fp=1,fm=3":         "did you mean fp?",
		strings.Repeat("x", 999): "999 bytes",
	} {
		_, err := Parse(text)
		if !errors.Is(err, ErrMetric) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: error %v, it should say %q", text, err, says)
		}
	}
}

func TestDescribe(t *testing.T) {
	list := Describe()
	if len(list) != len(Names()) || len(list) < 40 {
		t.Fatalf("%d descriptions of %d metrics", len(list), len(Names()))
	}
	for _, d := range list {
		if d.Usage == "" || d.About == "" || len(d.Tasks) == 0 || len(d.Examples) == 0 {
			t.Errorf("%+v lacks something", d)
		}
	}
}

// FuzzParse checks that names are taken or refused without a panic, and that what is taken
// can be prepared or says why not.
func FuzzParse(f *testing.F) {
	for _, d := range Describe() {
		for _, text := range d.Examples {
			f.Add(text)
		}
	}
	f.Add(`recall:"a@b"@k=3,x=,=`)
	samples := smallSamples()
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrMetric) {
				t.Fatalf("%q: %v is not ErrMetric", text, err)
			}
			return
		}
		prepareAnywhere(t, m, samples)
	})
}

// prepareAnywhere prepares a metric for all samples that it suits.
func prepareAnywhere(t *testing.T, m Metric, samples []*Sample) {
	t.Helper()
	for _, s := range samples {
		stat, err := m.Prepare(s)
		switch {
		case err == nil:
			stat.Value(nil)
			stat.Value(make([]uint8, s.Rows()))
		case !errors.Is(err, ErrMetric) && !errors.Is(err, ErrSample):
			t.Fatalf("%q: %v has no class", m.Name(), err)
		}
	}
}
