// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// shownBlocks writes each block of YAML with the key, of the documents, to a file of its own.
func shownBlocks(t *testing.T, key string, least int, names ...string) (files []string) {
	t.Helper()
	for _, name := range names {
		for i, block := range yamlBlocks(t, name, key) {
			file := filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.yaml", filepath.Base(name), i))
			writeText(t, file, block)
			files = append(files, file)
		}
	}
	if len(files) < least {
		t.Errorf("%d files with %q were found in %v", len(files), key, names)
	}
	return files
}

// TestFeedbackDocuments reads every file of labels that the documents show, as one of the
// example, and holds the reference to their keys.
func TestFeedbackDocuments(t *testing.T) {
	const reference = "docs/reference/feedback.md"
	p, err := loadProject(exampleFolder)
	if err != nil {
		t.Fatal(err)
	}
	_, policies, err := p.catalog()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range shownBlocks(t, "labels:", 3, reference, "docs/guides/feedback.md", "docs/guides/monitoring.md") {
		p.Feedback = []string{file}
		if all, err := p.labels(policies); err != nil || len(all) != 1 || all[0].Name != "fraud" {
			t.Errorf("%v, %v", all, err)
		}
	}
	var keys []string
	for _, m := range regexp.MustCompile("`yaml:\"([a-z_]+)\"`").FindAllStringSubmatch(document(t, "labeling/groundtruth/definition.go"), -1) {
		keys = append(keys, m[1])
	}
	documentsNames(t, reference, keys)
}

// TestMonitorDocuments reads every file of monitors that the documents show, as one of the
// example, and holds the reference to their keys.
func TestMonitorDocuments(t *testing.T) {
	const reference = "docs/reference/monitors.md"
	for _, file := range shownBlocks(t, "monitors:\n", 2, reference, "docs/guides/monitoring.md") {
		p, err := loadProject(exampleFolder)
		if err != nil {
			t.Fatal(err)
		}
		p.Monitors = []string{file}
		if all, err := loadMonitors(p); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
	}
	documentsNames(t, reference, tags("yaml", monitor.Spec{}, monitor.Config{}))
}

// TestLabelingDocuments reads every file of labelling that the documents show, as one of the
// example, and holds the reference to their keys.
func TestLabelingDocuments(t *testing.T) {
	const reference = "docs/reference/labeling.md"
	for _, file := range shownBlocks(t, "labeling:\n", 2, reference, "docs/guides/labeling.md") {
		if all, err := loadLabeling([]string{file}, []string{"card_payment"}); err != nil || len(all) != 1 || all[0].Select == nil || all[0].Feedback == nil {
			t.Errorf("%v, %v", all, err)
		}
	}
	documentsNames(t, reference, readKeys(t, "cmd/millrace/labeling_config.go"))
}

// TestCanaryDocuments checks the pipelines of the guide on canaries, with the tasks before
// them that it leaves out, and the trigger of that on monitors.
func TestCanaryDocuments(t *testing.T) {
	const before = `      extract: {uses: extract, with: {source: payments}}
      features: {uses: features, inputs: {rows: extract.rows}, with: {service: fraud, labels: "source:payments", label: [is_fraud]}}
      split: {uses: split, inputs: {data: features.dataset}, with: {method: time, test: 10%, label: is_fraud, time: event_timestamp}}
      train: {uses: train, inputs: {data: split.train}, with: {training: fraud}}
      evaluate: {uses: evaluate, inputs: {model: train.model, data: split.test}, with: {evaluation: fraud, against: fraud}}`
	blocks := yamlBlocks(t, "docs/guides/canary.md", "pipelines:\n")
	if len(blocks) == 0 {
		t.Fatal("the guide has no pipeline")
	}
	for _, block := range blocks {
		checkPipelines(t, strings.Replace(block, "      # ... train, evaluate", before, 1))
	}
	triggers := yamlBlocks(t, "docs/guides/monitoring.md", "triggers:")
	if len(triggers) == 0 {
		t.Fatal("the guide on monitors has no trigger")
	}
	for _, block := range triggers {
		checkPipelines(t, "pipelines:\n  retrain:\n    "+block+"    tasks:\n      extract: {uses: extract, with: {source: payments}}\n")
	}
}

// checkPipelines holds a file of pipelines to the kinds of tasks that there are.
func checkPipelines(t *testing.T, text string) {
	t.Helper()
	p, err := loadProject(exampleFolder)
	if err != nil {
		t.Fatal(err)
	}
	file, err := pipeline.Parse("shown.yaml", []byte(text))
	if err != nil {
		t.Error(err)
		return
	}
	host := &taskHost{project: p}
	runner, err := orchestrator.Open(t.Context(), orchestrator.Options{Dir: t.TempDir(), Pipelines: file, Kinds: host.kinds()})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range file.Pipelines {
		if err := runner.Check(one); err != nil {
			t.Error(err)
		}
	}
	if err := runner.Close(); err != nil {
		t.Error(err)
	}
}

// readKeys are the keys that files of Go read from objects.
func readKeys(t *testing.T, files ...string) (names []string) {
	t.Helper()
	keys := regexp.MustCompile(`(?:\bo|\bone|\bf)\.(?:get|text|texts|integer|duration|boolean|number|entries|has)\("([a-z_]+)"|\bdecimalOf\(o, "([a-z_]+)"`)
	for _, file := range files {
		for _, m := range keys.FindAllStringSubmatch(document(t, file), -1) {
			names = append(names, m[1]+m[2])
		}
	}
	return names
}

// TestCommandLinesOfDocuments holds the commands that documents show to those there are, with
// their flags and the number of their arguments.
func TestCommandLinesOfDocuments(t *testing.T) {
	found := 0
	for _, name := range append(documents(t), moduleRoot+"/examples/card-fraud/README.md") {
		name = strings.TrimPrefix(name, moduleRoot+"/")
		for _, line := range shownCommands(document(t, name)) {
			found++
			if err := checkCommand(newRootCommand(), line); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
		}
	}
	if found < 80 {
		t.Errorf("%d commands were found", found)
	}
	for _, wrong := range []string{"millrace label pick", "millrace monitor report --montior fraud", "millrace monitor report . fraud", "millrace label select --count many"} {
		if checkCommand(newRootCommand(), wrong) == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// TestCommandsHaveExamples: whoever asks a command for help sees how it is used, by lines
// that work.
func TestCommandsHaveExamples(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		lines := shownCommands("```\n" + strings.ReplaceAll(c.Example, "\n  ", "\n")[min(2, len(c.Example)):] + "\n```\n")
		// A group shows how its commands are used, or they do.
		if len(lines) == 0 && !c.HasSubCommands() && c.Parent().Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range lines {
			if err := checkCommand(newRootCommand(), line); err != nil {
				t.Errorf("%s: example %s: %v", c.CommandPath(), line, err)
			}
		}
	}
	walk(newRootCommand())
}

var (
	fenced  = regexp.MustCompile("(?sm)^```[a-z]*\n(.*?)^```")
	comment = regexp.MustCompile(`\s+#\s.*$`)
	word    = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
)

// shownCommands are the lines of blocks that call millrace, those that go on in the next line
// as one.
func shownCommands(text string) (lines []string) {
	for _, block := range fenced.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(strings.ReplaceAll(block[1], "\\\n", " "), "\n") {
			line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "bin/")
			if strings.HasPrefix(line, "millrace ") {
				lines = append(lines, comment.ReplaceAllString(line, ""))
			}
		}
	}
	return lines
}

// checkCommand reads a line as the program would, and does not run it.
func checkCommand(root *cobra.Command, line string) error {
	for _, end := range []string{" > ", " | ", " && ", "; ", " & "} {
		line, _, _ = strings.Cut(line, end)
	}
	var args []string
	for _, w := range word.FindAllString(line, -1)[1:] {
		args = append(args, strings.Trim(w, `'"`))
	}
	cmd, rest, err := root.Find(joinBooleans(root, args))
	if err != nil || cmd == root {
		return err
	}
	if cmd.DisableFlagParsing {
		return nil
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestDocumentsAreListed: whoever reads docs/README.md finds every document, and links to
// headings lead to some.
func TestDocumentsAreListed(t *testing.T) {
	list := document(t, "docs/README.md")
	link := regexp.MustCompile(`\]\(([^)#:]*)#([^)]+)\)`)
	for _, path := range documents(t) {
		name := strings.TrimPrefix(path, moduleRoot+"/")
		if in, ok := strings.CutPrefix(name, "docs/"); ok && in != "README.md" && !strings.Contains(list, "]("+in+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
		for _, m := range link.FindAllStringSubmatch(document(t, name), -1) {
			to := name
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(name), m[1])
			}
			if filepath.Ext(to) == ".md" && !headings(document(t, to))[m[2]] {
				t.Errorf("%s links to %s#%s, which has no such heading", name, to, m[2])
			}
		}
	}
}

// headings are the anchors that GitHub gives a document's headings.
func headings(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	return all
}
