// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/gate"
)

// parseGate reads the short form of a gate. METRIC >= NUMBER and METRIC <= NUMBER bound the
// value, METRIC low >= NUMBER and METRIC high <= NUMBER an end of its interval; METRIC
// not_worse NUMBER and METRIC better compare with the champion.
func parseGate(text string) (gate.Gate, error) {
	words := strings.Fields(strings.NewReplacer(">=", " >= ", "<=", " <= ").Replace(text))
	bad := fmt.Errorf("--gate %q: it takes METRIC >= NUMBER, METRIC <= NUMBER, METRIC low >= NUMBER, METRIC high <= NUMBER, "+
		"METRIC not_worse NUMBER, METRIC better, METRIC beats_baselines or leakage none", text)
	if len(words) < 2 || len(words) > 4 {
		return gate.Gate{}, bad
	}
	g := gate.Gate{Name: text, Metric: words[0]}
	switch rest := strings.Join(words[1:], " "); rest {
	case "better":
		g.Better = true
		return g, nil
	case "beats_baselines":
		g.BeatsBaselines = true
		return g, nil
	case "none", "not_severe":
		if g.Metric != "leakage" {
			return gate.Gate{}, bad
		}
		g.Metric, g.Leakage = "", rest
		return g, nil
	}
	v, err := strconv.ParseFloat(words[len(words)-1], 64)
	if err != nil || v != v {
		return gate.Gate{}, bad
	}
	switch strings.Join(words[1:len(words)-1], " ") {
	case ">=":
		g.AtLeast = &v
	case "<=":
		g.AtMost = &v
	case "low >=":
		g.LowAtLeast = &v
	case "high <=":
		g.HighAtMost = &v
	case "not_worse":
		g.NotWorseThan = &v
	default:
		return gate.Gate{}, bad
	}
	return g, nil
}
