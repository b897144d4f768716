// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

var update = flag.Bool("update", false, "write the golden files")

const source = `
pipelines:
  fraud_model:
    description: 'Trains "the" model, each night'
    parameters: {as_of: now, days: 30, rate: 0.5, full: false}
    schedule: {cron: "0 3 * * *", timezone: Europe/Berlin, catch_up: last, overlap: queue}
    concurrency: 2
    tasks:
      extract: {uses: extract, with: {days: "{{ params.days }}"}, outputs: [rows], retries: 2, backoff: 10s, timeout: 10m}
      train_model: {uses: train, inputs: {data: extract.rows}, outputs: [model]}
      evaluate: {uses: evaluate, inputs: {model: train_model.model, data: extract.rows}}
      promote: {uses: promote, needs: [evaluate], when: "evaluate.verdict == 'pass'"}
      notify: {uses: notify, when: always}
  plain:
    schedule: {cron: "CRON_TZ=Asia/Tokyo */5 * * * *"}
    tasks:
      alone: {uses: command}
`

var options = Options{File: "/millrace/it's/pipeline.yaml", State: "/millrace/state", Image: "registry.example.com/millrace:1", Claim: "millrace-claim", Namespace: "ml"}

func find(t *testing.T, name string) *pipeline.Pipeline {
	t.Helper()
	f, err := pipeline.Parse("pipeline.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; read the difference, then run with -update:\n%s", name, got)
	}
}

func TestAirflow(t *testing.T) {
	python, noPython := exec.LookPath("python3")
	for file, c := range map[string]struct{ pipeline, operator string }{
		"bash.py": {"fraud_model", "bash"}, "docker.py": {"fraud_model", "docker"}, "kubernetes.py": {"fraud_model", "kubernetes"}, "plain.py": {"plain", ""},
	} {
		o := options
		o.Operator = c.operator
		text, err := Airflow(find(t, c.pipeline), o)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, text)
		if noPython != nil {
			continue
		}
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(python, "-m", "py_compile", path).CombinedOutput(); err != nil {
			t.Errorf("%s is not Python: %s", file, out)
		}
	}
	if noPython != nil {
		t.Skip("no python3 here to check the syntax with")
	}
}

// The command that the bash operator gives to the shell hands on each argument whole.
func TestAirflowBashQuotes(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	text, err := Airflow(find(t, "fraud_model"), Options{Program: "printf", File: "a b'c$(d).yaml", State: "%s\\n"})
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "bash_command=")
	line, _, _ := strings.Cut(rest, ",\n")
	var command string
	if err := yaml.Unmarshal([]byte(line), &command); err != nil {
		t.Fatal(err)
	}
	command = strings.Replace(command, "printf", "printf '[%s]'", 1)
	out, err := exec.Command(shell, "-c", command).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `[--file][a b'c$(d).yaml][--state][%s\n][--run][]`) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestArgo(t *testing.T) {
	for file, name := range map[string]string{"cron.yaml": "fraud_model", "plain.yaml": "plain"} {
		text, err := Argo(find(t, name), options)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, text)
		checkWorkflow(t, file, text)
	}
	p := find(t, "fraud_model")
	p.Schedule = nil
	text, err := Argo(p, options)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "workflow.yaml", text)
	checkWorkflow(t, "workflow.yaml", text)
}

// argoSpec is what is read back of a workflow.
type argoSpec struct {
	Schedules    []string  // of a CronWorkflow
	WorkflowSpec *argoSpec `yaml:"workflowSpec"`
	Entrypoint   string
	Arguments    struct {
		Parameters []struct{ Name, Value string }
	}
	Templates []struct {
		Name string
		DAG  *struct {
			Tasks []struct{ Name, Template, Depends string }
		}
		Container *struct {
			Image string
			Args  []string
		}
	}
}

// checkWorkflow reads the file back: names that are used exist, and texts are texts.
func checkWorkflow(t *testing.T, file, text string) {
	t.Helper()
	var document struct {
		Kind string
		Spec argoSpec
	}
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	w := &document.Spec
	if document.Kind == "CronWorkflow" {
		w = document.Spec.WorkflowSpec
		if len(document.Spec.Schedules) != 1 || strings.HasPrefix(document.Spec.Schedules[0], "CRON_TZ") {
			t.Errorf("%s: schedules %q", file, document.Spec.Schedules)
		}
	}
	templates := map[string]bool{}
	for _, one := range w.Templates {
		templates[one.Name] = true
		if c := one.Container; c != nil && (c.Image == "" || c.Args[0] != "task" || c.Args[1] != "run") {
			t.Errorf("%s: template %s: %v", file, one.Name, c)
		}
	}
	if !templates[w.Entrypoint] || len(w.Templates) < 2 {
		t.Fatalf("%s: %d templates, entrypoint %q", file, len(w.Templates), w.Entrypoint)
	}
	seen := map[string]bool{}
	for _, task := range w.Templates[0].DAG.Tasks {
		if !templates[task.Template] {
			t.Errorf("%s: task %s has no template %s", file, task.Name, task.Template)
		}
		for _, word := range strings.FieldsFunc(task.Depends, func(c rune) bool { return strings.ContainsRune(" ()&|", c) }) {
			if name, _, _ := strings.Cut(word, "."); !seen[name] {
				t.Errorf("%s: task %s depends on %s, which is not before it", file, task.Name, name)
			}
		}
		seen[task.Name] = true
	}
}

func TestBadOptions(t *testing.T) {
	p := find(t, "plain")
	for text, o := range map[string]Options{"state folder is missing": {File: "f"}, "template in it": {File: "{{ x }}", State: "s"}, "want bash": {File: "f", State: "s", Image: "i", Claim: "c", Operator: "ssh"}, "again is 1000": {File: "f", State: "s", Again: 1000}} {
		if _, err := Airflow(p, o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Argo(p, Options{File: "f", State: "s"}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "image is missing") {
		t.Error(err)
	}
	p.Name = strings.Repeat("long", 14)
	if _, err := Argo(p, options); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "56 letters") {
		t.Error(err)
	}
}
