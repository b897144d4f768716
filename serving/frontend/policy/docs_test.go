// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentation: the examples of the reference load, and it names every key that a
// decision may have.
func TestDocumentation(t *testing.T) {
	const file = "../../../docs/reference/decisions.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) != 2 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		checkDecides(t, parseOne(t, e[1]))
	}
	for _, key := range keysRead(t) {
		if !strings.Contains(string(text), "`"+key+"`") && !strings.Contains(string(text), "`"+key+":") {
			t.Errorf("%s does not describe the key %s", file, key)
		}
	}
}

// keysRead are the keys in the package's calls of reader.block.
func keysRead(t *testing.T) []string {
	t.Helper()
	var keys []string
	for _, file := range []string{"attributions.go", "build.go", "experiment.go", "request.go", "thresholds.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`(?s)\.block\(\w+,(.*?)\)\s*(; |\n|$)`).FindAllStringSubmatch(string(text), -1) {
			for _, quoted := range regexp.MustCompile(`"\w+"`).FindAllString(call[1], -1) {
				key, err := strconv.Unquote(quoted)
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, key)
			}
		}
	}
	if len(keys) < 50 {
		t.Fatalf("only %d keys found: %v", len(keys), keys)
	}
	return keys
}
