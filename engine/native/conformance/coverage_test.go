// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
)

// cannotBeServed reports whether a model takes or gives what the inference protocol
// does not have, such as sequences or floats of 8 bits.
func cannotBeServed(err error) bool {
	text := err.Error()
	return errors.Is(err, engine.ErrInvalidModel) &&
		(strings.Contains(text, "cannot be served") || strings.HasSuffix(text, "the model has no input"))
}

// What is taken from a reason, so that the reasons of several cases are one.
var (
	nodeTitle = regexp.MustCompile(`node (of output )?"[^"]*" `)
	valueName = regexp.MustCompile(`((in|out)put|initializer|tensor):? "[^"]*"`)
	madeUp    = regexp.MustCompile(`a run on inputs of shapes \[.*?\]: `)
	dims      = regexp.MustCompile(`\[[0-9A-Z,]*\]`)
)

// reason is what an error of Load says about the graph, without the names in it.
func reason(err error) string {
	text := err.Error()
	if _, after, found := strings.Cut(text, "model.onnx: "); found {
		text = after
	}
	text = nodeTitle.ReplaceAllString(madeUp.ReplaceAllString(text, ""), "")
	text = dims.ReplaceAllString(valueName.ReplaceAllString(text, "$1"), "")
	text = strings.ReplaceAll(text, "not covered by the native backend: ", "")
	return strings.ReplaceAll(text, "operators that are missing: ", "")
}

// coverage is what came of the cases: how many in each way.
type coverage map[string]*[len(ways)]int

func (c coverage) count(outcome string, w way) {
	if c[outcome] == nil {
		c[outcome] = new([len(ways)]int)
	}
	c[outcome][w]++
}

// compareCoverage holds how many cases run, and how many do not for which reason, to
// what a file says.
func compareCoverage(t *testing.T, file string, c coverage) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "# Cases %s, %s, %s: what came of them\n", ways[0], ways[1], ways[2])
	for _, outcome := range slices.Sorted(maps.Keys(c)) {
		n := c[outcome]
		fmt.Fprintf(&text, "%5d %5d %5d  %s\n", n[0], n[1], n[2], outcome)
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	had, have := strings.Split(string(kept), "\n"), strings.Split(text.String(), "\n")
	for _, line := range had {
		if !slices.Contains(have, line) {
			t.Errorf("%s: no longer so: %s", file, line)
		}
	}
	for _, line := range have {
		if !slices.Contains(had, line) {
			t.Errorf("%s: now: %s", file, line)
		}
	}
}
