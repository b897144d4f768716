// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"errors"
	"strings"
	"testing"
)

func TestFilterErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "it ends where metrics.NAME",
		"metrics.auc":                      "it ends where one of",
		"metrics.auc >":                    "it ends where a number",
		"metrics.auc > 'a'":                "another kind",
		"metrics. > 1":                     "no field",
		"auc > 1":                          `column 1 of "auc > 1": no field "auc"`,
		"params.a = 1 and":                 "it ends where metrics.NAME",
		"params.a = 1 params.b = 2":        `column 14`,
		"(params.a = 1":                    "closing bracket",
		"params.a = 'x":                    "quote is not closed",
		"params.`a = 1":                    "backquote is not closed",
		"params.a in ()":                   "where a number",
		"params.a in (1, 'x')":             "numbers and texts",
		"params.a in (1; 2)":               "a comma",
		"params.a = 1e999":                 "is not a number",
		"params.a = b":                     "a number, a text in quotes",
		"seed = 'x'":                       "another kind",
		"method = 1":                       "another kind",
		"tags.a > 1":                       "another kind",
		"params.a = 1; DROP TABLE runs":    "and, or, or the end",
		"params.a ~ 1":                     "one of",
		strings.Repeat("not ", 50) + "1":   "brackets deep",
		strings.Repeat("(", 50):            "brackets deep",
		strings.Repeat("x", 5000):          "at most 4096",
		"params.a = \xff":                  "UTF-8",
		strings.Repeat("seed=1 or ", 65):   "comparisons",
		"metrics.`f1' OR 1=1 --` > 'text'": "another kind",
	} {
		_, err := ParseFilter(text)
		if !errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v; want %q", text, err, want)
		}
	}
}

// FuzzFilter expects each text to be refused, or to be SQL that the database runs, with
// nothing of the text in it.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"metrics.auc > 0.8 and params.max_depth = 6", "not (tags.a in ('x', 'y') or seed != 3)", "params.`a b` = true", "name = 'it''s'"} {
		f.Add(seed)
	}
	s := openTest(f)
	add(f, s, Run{Experiment: "e", Metrics: map[string]Metric{"auc": {Value: 1}}})
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text)
		if err != nil {
			if !errors.Is(err, ErrQuery) {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsAny(filter.sql, "'\"`;-") {
			t.Fatalf("%q became %s", text, filter.sql)
		}
		if _, err := s.List(t.Context(), Query{Where: text}); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
