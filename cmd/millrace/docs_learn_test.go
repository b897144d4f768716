// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/split"
	"github.com/millrace-ml/millrace/training/tuning"
)

// document is the text of a file below docs, or elsewhere in the repository.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(moduleRoot + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// yamlBlocks are the blocks of a document that begin with a key.
func yamlBlocks(t *testing.T, name, key string) (all []string) {
	t.Helper()
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(document(t, name), -1) {
		if strings.HasPrefix(block[1], key) {
			all = append(all, block[1])
		}
	}
	return all
}

// tags are the names that a struct's fields have in YAML or JSON, those of structs within
// it included.
func tags(kind string, of ...any) (names []string) {
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get(kind), ",")
			if f.Anonymous {
				walk(f.Type)
			} else if name != "" && name != "-" {
				names = append(names, name)
			}
		}
	}
	for _, v := range of {
		walk(reflect.TypeOf(v))
	}
	return names
}

// documentsNames checks that a document has names in code.
func documentsNames(t *testing.T, name string, names []string) {
	t.Helper()
	text := document(t, name)
	if len(names) == 0 {
		t.Errorf("%s: nothing was looked for", name)
	}
	for _, n := range names {
		if !regexp.MustCompile("`([^`\n]*[^a-zA-Z0-9_`])?" + regexp.QuoteMeta(n) + "([^a-zA-Z0-9_`][^`\n]*)?`").MatchString(text) {
			t.Errorf("%s does not have `%s`", name, n)
		}
	}
}

// TestTrainingDocuments holds the reference to the keys of trainings, to the methods and
// to the manifest, and loads every file that the documents show.
func TestTrainingDocuments(t *testing.T) {
	const reference = "docs/reference/training.md"
	found := 0
	for _, name := range []string{reference, "docs/guides/training.md"} {
		for _, block := range yamlBlocks(t, name, "trainings:") {
			found++
			if _, err := training.Parse(name, []byte(block)); err != nil {
				t.Error(err)
			}
		}
	}
	if found < 2 {
		t.Errorf("%d files were found", found)
	}
	documentsNames(t, reference, tags("yaml", training.Spec{}, training.Final{}, training.Calibrate{}, training.Candidate{}, training.Search{},
		split.Plan{}, split.ExcludeKnown{}, tuning.Range{}))
	documentsNames(t, reference, tags("json", training.Manifest{}, training.ManifestData{}, training.ManifestFileEntry{}, training.Signature{}, training.SignatureFeature{}))
	text := document(t, reference)
	for _, m := range training.Methods() {
		_, section, ok := strings.Cut(text, "\n### "+m.Name+"\n")
		if !ok {
			t.Errorf("%s has no section %s", reference, m.Name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n### ")
		for _, p := range m.Parameters {
			row := fmt.Sprintf("| `%s` | ", p.Name)
			if text := fmt.Sprint(p.Default); text != "" {
				row += "`" + text + "` |"
			}
			if m.Name != "linear" && !strings.Contains(section, row) { // whose are those of logistic
				t.Errorf("%s: %s has no row %s", reference, m.Name, row)
			}
		}
	}
}

// TestPipelineDocuments holds the reference to the keys of pipelines and to the kinds of
// tasks, and checks every file that the documents show.
func TestPipelineDocuments(t *testing.T) {
	const reference = "docs/reference/pipelines.md"
	p, err := loadProject(exampleFolder)
	if err != nil {
		t.Fatal(err)
	}
	host := &taskHost{project: p}
	found := 0
	for _, name := range []string{reference, "docs/guides/pipelines.md"} {
		for _, block := range yamlBlocks(t, name, "pipelines:\n") {
			found++
			file, err := pipeline.Parse(name, []byte(block))
			if err != nil {
				t.Error(err)
				continue
			}
			runner, err := orchestrator.Open(t.Context(), orchestrator.Options{Dir: t.TempDir(), Pipelines: file, Kinds: host.kinds()})
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range file.Pipelines {
				if err := runner.Check(one); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := runner.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if found < 2 {
		t.Errorf("%d files were found", found)
	}
	text := document(t, reference)
	var names []string
	for _, k := range host.kinds() {
		if !strings.Contains(text, "\n### "+k.Name+"\n") {
			t.Errorf("%s has no section %s", reference, k.Name)
		}
		for _, port := range append(k.Inputs, k.Outputs...) {
			names = append(names, port.Name)
		}
	}
	names = append(names, tags("json", extractWith{}, featuresWith{}, splitWith{}, trainWith{}, evaluateWith{}, promoteWith{}, promotion{}, canaryWith{}, canaryVerdict{}, canaryAnswer{})...)
	keys := regexp.MustCompile(`\bo\.(?:get|text|texts|integer|duration|boolean|required)\("([a-z_]+)"`)
	for _, file := range []string{"read.go", "task.go"} {
		for _, m := range keys.FindAllStringSubmatch(document(t, "orchestrator/pipeline/"+file), -1) {
			names = append(names, m[1])
		}
	}
	documentsNames(t, reference, names)
	for _, s := range []orchestrator.Status{orchestrator.StatusPending, orchestrator.StatusRunning, orchestrator.StatusSucceeded, orchestrator.StatusCached, orchestrator.StatusFailed,
		orchestrator.StatusSkipped, orchestrator.StatusBlocked, orchestrator.StatusCancelled, orchestrator.StatusInterrupted} {
		documentsNames(t, reference, []string{string(s)})
	}
}
