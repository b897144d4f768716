// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
)

// The pipeline that Airflow runs: from payments to a served model, and all that other tasks
// may ask of the export. The texts have what a shell, Python and Jinja would take for theirs.
const (
	airflowParameters = `
      word: "it's \"a\" $HOME ` + "`x`" + ` {{ y }} %s \\"
      share: 0.25
      full: false
      empty: ""
      as_of: now
`
	airflowTasks = `
      flaky: {uses: command, retries: 3, backoff: 1ms, outputs: [o], with: {shell: '[ "$MILLRACE_ATTEMPT" -ge 3 ]; echo done > "$MILLRACE_OUTPUT_O"'}}
      each: {uses: command, foreach: "split('web,store,a b/c', ',')", parallel: 2, inputs: {flaky: flaky.o}, outputs: [o], with: {shell: 'cat "$MILLRACE_INPUT_FLAKY" > "$MILLRACE_OUTPUT_O"; echo "$MILLRACE_ITEM" >> "$MILLRACE_OUTPUT_O"'}}
      words: {uses: command, outputs: [o], with: {command: [sh, -c, 'printf "[%s]" "$@" > "$MILLRACE_OUTPUT_O"', "-", "{{ params.word }}", "s{{ params.share }}", "f{{ params.full }}", "{{ params.empty }}"]}}
      joined: {uses: command, timeout: 1m, inputs: {each: each.o, words: words.o}, outputs: [o], with: {shell: 'cat "$MILLRACE_INPUT_EACH"/* "$MILLRACE_INPUT_WORDS" > "$MILLRACE_OUTPUT_O"; echo "{\"count\": 7}" > "$MILLRACE_VALUES"'}}
      few: {uses: command, needs: [joined], when: "joined.count > 7", with: {shell: exit 1}}
      behind_few: {uses: command, needs: [few], with: {shell: exit 1}}
      enough: {uses: command, when: "joined.count == 7 and promote.promoted", with: {shell: 'true'}}
      alarm: {uses: command, when: failed, with: {shell: exit 1}}
      tell: {uses: command, when: always, with: {shell: 'echo "{\"few\": \"{{ few.status }}\"}" > "$MILLRACE_VALUES"'}}
`
	airflowBroken = `
  broken:
    tasks:
      good: {uses: command, with: {shell: 'true'}}
      bad: {uses: command, needs: [good], retries: 1, backoff: 1ms, with: {shell: exit 7}}
      behind: {uses: command, needs: [bad], with: {shell: 'true'}}
      beside: {uses: command, needs: [good], with: {shell: 'true'}}
      tell: {uses: command, when: failed, needs: [behind, beside], with: {shell: 'echo "{\"bad\": \"{{ bad.status }}\", \"behind\": \"{{ behind.status }}\"}" > "$MILLRACE_VALUES"'}}
  nightly:
    schedule: {cron: "30 3 * * MON-FRI", timezone: Europe/Berlin, catch_up: all}
    tasks: {only: {uses: command, timeout: 1m, with: {shell: 'true'}}}
  often:
    schedule: {cron: "@every 90m"}
    tasks: {only: {uses: command, with: {shell: 'true'}}}
  yearly:
    schedule: {cron: "@annually"}
    parameters: {day: now}
    tasks: {only: {uses: command, with: {shell: 'true'}}}
  asked:
    parameters: {who: {doc: whom to greet}}
    tasks: {only: {uses: command, with: {shell: 'echo {{ params.who }}'}}}
`
)

// TestAirflow has Airflow run exported pipelines: they come to what they come to here.
// MILLRACE_AIRFLOW asks for it: fetching and running Airflow 2 and 3 takes minutes, which
// the whole suite does not have.
func TestAirflow(t *testing.T) {
	if os.Getenv("MILLRACE_AIRFLOW") == "" {
		t.Skip("takes minutes and hundreds of megabytes: make test-airflow runs it")
	}
	for version, requirements := range map[string]string{"2": "requirements-2.txt", "3": "requirements-3.txt"} {
		t.Run("version="+version, func(t *testing.T) {
			runAirflow(t, foreigntest.Python(t, filepath.Join("testdata", "airflow", requirements)))
		})
	}
}

func runAirflow(t *testing.T, python string) {
	text := strings.Replace(worldPipeline, "      server: 127.0.0.1:1\n", "      server: 127.0.0.1:1"+airflowParameters, 1) + airflowTasks[1:] + airflowBroken[1:]
	here := pipelineWorld(t)
	writeText(t, "pipeline.yaml", text)
	saying(t, exitOK, "pipeline", "run", "fraud", "--run", "here")
	saying(t, exitFailure, "pipeline", "run", "broken", "--run", "here.broken")

	there := pipelineWorld(t)
	writeText(t, "pipeline.yaml", text)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dags := t.TempDir()
	for _, name := range []string{"fraud", "broken", "nightly", "often", "yearly", "asked"} {
		writeText(t, filepath.Join(dags, name+".py"), saying(t, exitOK, "pipeline", "export", name, "--to", "airflow", "--program", program))
	}
	a := &airflowProgram{python: python, env: append(os.Environ(), asCommand+"=1", "AIRFLOW_HOME="+t.TempDir(), "AIRFLOW__CORE__DAGS_FOLDER="+dags,
		"AIRFLOW__CORE__LOAD_EXAMPLES=False", "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False", "AIRFLOW__LOGGING__LOGGING_LEVEL=WARNING")}
	if out, ok := a.run(t, "db", "migrate"); !ok {
		t.Fatalf("airflow db migrate: %s", out)
	}
	if out, ok := a.run(t, "dags", "list-import-errors"); !ok || !strings.Contains(out, "No data found") {
		t.Fatalf("Airflow does not take what was exported: %s", out)
	}
	if out, ok := a.run(t, "dags", "test", "fraud"); !ok {
		t.Fatalf("the DAG failed: %s", out)
	}
	sameAsHere(t, here, "here", there, "fraud")
	if out, ok := a.run(t, "dags", "test", "broken"); ok {
		t.Errorf("the DAG did not fail with its task: %s", out)
	}
	sameAsHere(t, here, "here.broken", there, "broken")
}

type airflowProgram struct {
	python string
	env    []string
}

func (a *airflowProgram) run(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), a.python, append([]string{"-m", "airflow"}, args...)...)
	cmd.Env = a.env
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// sameAsHere compares a run of a pipeline here with that of single tasks there: how each
// task ended, what it said and what it made.
func sameAsHere(t *testing.T, here, run, there, pipeline string) {
	t.Helper()
	status, err := orchestrator.NewView(filepath.Join(here, ".millrace", "state", "pipelines")).Status(run)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]orchestrator.TaskStatus{}
	for _, one := range status.Tasks {
		if one.Item == "" {
			want[one.Task] = one
		}
	}
	got := exportedTasks(t, there, pipeline)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, g := want[name], got[name]
		if w.Status == orchestrator.StatusBlocked && g.Status == "" {
			continue // others do not begin it
		}
		delete(w.Values, "run") // of training: each has an id of its own
		delete(g.Values, "run")
		if g.Status == orchestrator.StatusCached && w.Status.Good() { // killed before it could say that it had succeeded
			g.Status, g.Attempt = w.Status, w.Attempt
		}
		if g.Status != w.Status || g.Attempt != w.Attempt || asJSON(t, g.Values) != asJSON(t, w.Values) || len(g.Outputs) != len(w.Outputs) {
			t.Errorf("%s of %s came to\n%+v, not\n%+v", name, pipeline, g, w)
		}
		for output, info := range w.Outputs {
			sameFiles(t, artifactPath(t, here, info), artifactPath(t, there, g.Outputs[output]))
		}
	}
	if len(want) == 0 {
		t.Errorf("the run %s has no tasks", run)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func artifactPath(t *testing.T, project string, info artifact.Info) string {
	t.Helper()
	store, err := artifact.Open(filepath.Join(project, ".millrace", "state", "pipelines"))
	if err != nil {
		t.Fatal(err)
	}
	return store.Path(info.Digest)
}

// sameFiles compares what two tasks made. What describes it says of which run it is, when
// it was made and from what folder, and differs.
func sameFiles(t *testing.T, here, there string) {
	t.Helper()
	files := func(root string) map[string]string {
		all := map[string]string{}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if slices.Contains([]string{".md", ".html", ".xml"}, filepath.Ext(path)) || json.Valid(content) && content[0] == '{' {
				content = nil
			}
			name, _ := filepath.Rel(root, path)
			all[name] = string(content)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return all
	}
	want, got := files(here), files(there)
	if len(want) == 0 || !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("%s has %v, %s %v", there, slices.Sorted(maps.Keys(got)), here, slices.Sorted(maps.Keys(want)))
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s of %s and of %s differ", name, here, there)
		}
	}
}

// exportedTasks are the results of the only run of an exported pipeline.
func exportedTasks(t *testing.T, project, pipeline string) map[string]orchestrator.TaskStatus {
	t.Helper()
	runs, err := filepath.Glob(filepath.Join(project, ".millrace", "state", "pipelines", "exported", "*", "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string]orchestrator.TaskStatus{}
	for _, path := range runs {
		var run orchestrator.RunStatus
		readResult(t, path, &run)
		if run.Pipeline != pipeline {
			continue
		}
		all, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.task.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			var task orchestrator.TaskStatus
			readResult(t, one, &task)
			tasks[task.Task] = task
		}
	}
	return tasks
}

func readResult(t *testing.T, path string, to any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
