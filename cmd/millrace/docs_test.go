// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestFlagsAreDocumented holds docs/reference/flags.md to the flags there are, in
// both directions.
func TestFlagsAreDocumented(t *testing.T) {
	content, err := os.ReadFile(moduleRoot + "/docs/reference/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile("`--([a-z0-9-]+)").FindAllSubmatch(content, -1) {
		documented[string(match[1])] = true
	}
	delete(documented, "flag") // the notation
	delete(documented, "help")

	parseServe(t).given.VisitAll(func(flag *pflag.Flag) {
		if !documented[flag.Name] {
			t.Errorf("--%s is not in docs/reference/flags.md", flag.Name)
		}
		delete(documented, flag.Name)
	})
	for name := range documented {
		t.Errorf("docs/reference/flags.md names --%s, which there is not", name)
	}
}

// TestDocumentLinks checks that the files which the documents link to exist.
func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, document := range documents(t) {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		folder := document[:strings.LastIndex(document, "/")+1]
		for _, match := range link.FindAllSubmatch(content, -1) {
			if _, err := os.Stat(folder + string(match[1])); err != nil {
				t.Errorf("%s links to %s: %v", document, match[1], err)
			}
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	documents := []string{moduleRoot + "/README.md", moduleRoot + "/ARCHITECTURE.md"}
	for _, folder := range []string{"docs", "docs/guides", "docs/operations", "docs/reference"} {
		entries, err := os.ReadDir(moduleRoot + "/" + folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if strings.HasSuffix(entry.Name(), ".md") {
				documents = append(documents, moduleRoot+"/"+folder+"/"+entry.Name())
			}
		}
	}
	return documents
}
