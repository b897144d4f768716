// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedFiles loads every file of evaluations that the documents show.
func TestDocumentedFiles(t *testing.T) {
	found := 0
	for _, name := range []string{"../docs/reference/evaluation.md", "../docs/guides/evaluation.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
			content := string(block[1])
			if !strings.HasPrefix(content, "evaluations:") {
				continue
			}
			found++
			path := filepath.Join(t.TempDir(), "evaluation.yaml")
			writeFile(t, path, []byte(content))
			s, err := LoadSpec(path, "fraud")
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s.EnsureDefaults()
			if err := s.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if found < 2 {
		t.Errorf("%d files were found", found)
	}
}

// TestKeysAreDocumented holds the reference to the keys of a spec.
func TestKeysAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/reference/evaluation.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("spec.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("`yaml:\"([a-z_]+)\"`").FindAllSubmatch(source, -1) {
		if key := string(match[1]); !strings.Contains(string(text), key) {
			t.Errorf("docs/reference/evaluation.md does not have the key %s", key)
		}
	}
}
