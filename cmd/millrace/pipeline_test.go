// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/orchestrator"
)

// TestPipeline goes from payments to a model in the repository, and from there on.
func TestPipeline(t *testing.T) {
	pipelineWorld(t)
	wants(t, saying(t, exitOK, "pipeline", "validate"), "fraud: 6 tasks")
	wants(t, saying(t, exitOK, "pipeline", "graph"), "extract", "promote <- train, evaluate")
	wants(t, saying(t, exitOK, "pipeline", "run", "--run", "first"), "evaluate", "verdict=pass", "promote", "decision=promoted", "version=1", "run first: succeeded")
	wants(t, saying(t, exitOK, "pipeline", "logs", "first", "evaluate"), "no version of fraud yet", "PASS")
	wants(t, saying(t, exitOK, "pipeline", "logs", "first", "train"), "baseline_constant", "chosen")
	wants(t, saying(t, exitOK, "train", "reproduce", "models/fraud/1/manifest.json"), "the same bytes")
	wants(t, saying(t, exitOK, "runs", "list"), "fraud", "finished")

	// The same again: what has not changed is not run, and what is served stays.
	wants(t, saying(t, exitOK, "pipeline", "run", "--run", "second"), "train", "cached", "promote", "decision=unchanged", "version=1")
	// The same run again is over.
	wants(t, saying(t, exitOK, "pipeline", "run", "--run", "first"), "decision=promoted")

	// A worse model is judged against what is served, and kept out.
	wants(t, saying(t, exitOK, "pipeline", "run", "--run", "worse", "--param", "training=blind"), "train", "succeeded", "verdict=fail", "decision=kept", "promoted=false")
	wants(t, saying(t, exitOK, "pipeline", "promotions"), "kept", "fail", "roc_auc is 0.", "promoted", "pass")
	wants(t, saying(t, exitOK, "pipeline", "status"), "worse", "succeeded", "6 of 6", "second", "first")
	all, err := readPromotions(".millrace/state")
	if err != nil || len(all) != 2 || all[0].Decision != decisionPromoted || all[0].Version != 1 || all[0].Rollback != "" || all[1].Version != 0 || len(all[1].Reasons) == 0 {
		t.Errorf("promotions %+v, %v", all, err)
	}
	if n, err := highestModelVersion("models/fraud"); n != 1 || err != nil {
		t.Errorf("version %d, %v", n, err)
	}
}

// TestPipelineCI shows a pull request why its model is not to be merged.
func TestPipelineCI(t *testing.T) {
	pipelineWorld(t)
	wants(t, saying(t, exitOK, "pipeline", "ci", "--junit", "gates.xml", "--markdown", "comment.md"), "decision=kept", "all gates hold")
	if _, err := os.Stat("models"); err == nil {
		t.Error("a trial made a version")
	}
	if all, err := readPromotions(".millrace/state"); len(all) != 0 || err != nil {
		t.Errorf("a trial is on record: %v, %v", all, err)
	}
	wants(t, saying(t, exitFailure, "pipeline", "ci", "--param", "training=blind", "--junit", "gates.xml", "--markdown", "comment.md"),
		"the model does not pass:", "roc_auc at_least: roc_auc is 0.", "below 0.7", "the model fails 1 gate")
	for name, want := range map[string]string{"gates.xml": "<failure", "comment.md": "FAIL"} {
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(strings.ToUpper(string(text)), strings.ToUpper(want)) {
			t.Errorf("%s has no %s: %v\n%s", name, want, err, text)
		}
	}
	var status orchestrator.RunStatus
	_, stdout, _ := runCommand(t, "", "pipeline", "ci", "--json")
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || status.Status != orchestrator.StatusSucceeded {
		t.Errorf("%v: %s", err, stdout)
	}
}

// TestPipelineFails: whatever goes wrong before it, nothing is promoted, and the message
// names what it was.
func TestPipelineFails(t *testing.T) {
	pipelineWorld(t)
	for training, reason := range map[string]string{
		"broken":   "out of luck",
		"misnamed": "is_frod",
		"fruad":    "did you mean fraud?",
	} {
		said := saying(t, exitFailure, "pipeline", "run", "--run", training, "--param", "training="+training)
		wants(t, said, "train", "failed", "evaluate", "blocked", "promote", "blocked", "run "+training+": failed")
		if !strings.Contains(said, reason) {
			t.Errorf("%s: no %q in\n%s", training, reason, said)
		}
	}
	if _, err := os.Stat("models"); err == nil {
		t.Error("a version was made")
	}
	if all, err := readPromotions(".millrace/state"); len(all) != 0 || err != nil {
		t.Errorf("promotions %v, %v", all, err)
	}
	// The payments lose a column.
	text, err := os.ReadFile("payments.csv")
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, "payments.csv", strings.Replace(string(text), "amount", "amout", 1))
	wants(t, saying(t, exitFailure, "pipeline", "run"), "extract", "failed", "amount")
}

// TestPipelineMistakes: all that is wrong with a file is said at once, with its place.
func TestPipelineMistakes(t *testing.T) {
	pipelineWorld(t)
	wants(t, saying(t, exitUsage, "pipeline", "run", "fruad"), "no pipeline", "fraud")
	wants(t, saying(t, exitUsage, "pipeline", "run", "--param", "strat=1"), `"strat"`)
	wants(t, saying(t, exitUsage, "pipeline", "run", "--param", "start"), "NAME=VALUE")
	wants(t, saying(t, exitFailure, "pipeline", "status", "none"), "none", "not found")
	wants(t, saying(t, exitUsage, "pipeline", "export", "--to", "luigi"), "airflow and argo")
	wants(t, saying(t, exitUsage, "task", "run", "extract"), "--run ID is missing")
	writeText(t, "pipeline.yaml", `
pipelines:
  fraud:
    shedule: {cron: "0 3 * * *"}
    tasks:
      a: {uses: command, needs: [b], with: {shell: "true"}}
      b: {uses: command, needs: [a], retries: -1, with: {shell: "true"}}
`)
	wants(t, saying(t, exitUsage, "pipeline", "validate"), "pipeline.yaml:4", "shedule", "pipeline.yaml:6", "cycle", "retries")
	writeText(t, "pipeline.yaml", `
pipelines:
  fraud:
    tasks:
      extract: {uses: exract, with: {source: payments}}
      train: {uses: train, inputs: {date: extract.rows}, with: {training: fraud}}
`)
	wants(t, saying(t, exitUsage, "pipeline", "validate"), "exract")
	writeText(t, projectFile, "name: none\n")
	wants(t, saying(t, exitFailure, "pipeline", "run"), "the project has no pipelines", "pipelines: [pipeline.yaml]")
	t.Chdir(t.TempDir())
	wants(t, saying(t, exitFailure, "pipeline", "run"), "there is no project in this folder")
}

// outside runs the command in a process of its own, which tasks may kill.
func outside(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// killsOnce is a task that kills the process that runs the pipeline, the first time.
const killsOnce = `cache: false, with: {shell: 'echo >> "$MILLRACE_TASK.count"; [ -e "$MILLRACE_TASK.killed" ] || { touch "$MILLRACE_TASK.killed"; kill -9 $PPID; sleep 60; }; echo done > "$MILLRACE_OUTPUT_O"'}}
`

// TestPipelineKilled kills the process before and after the promotion. What had ended is
// not run again, and there is one version and one record.
func TestPipelineKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the tasks are shell scripts")
	}
	pipelineWorld(t)
	text := strings.Replace(worldPipeline, "      promote: {uses: promote,", "      before: {uses: command, needs: [evaluate], outputs: [o], "+killsOnce+"      promote: {uses: promote, needs: [before],", 1)
	text += "      after: {uses: command, needs: [promote], outputs: [o], " + killsOnce
	writeText(t, "pipeline.yaml", text)
	for range 2 {
		if said, err := outside(t, "pipeline", "run", "--run", "one"); err == nil {
			t.Fatalf("the process was not killed: %s", said)
		}
		wants(t, saying(t, exitOK, "pipeline", "status", "one"), "train", "succeeded", "run one: interrupted")
	}
	said, err := outside(t, "pipeline", "run", "--run", "one")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	wants(t, said, "train", "succeeded", "before", "succeeded", "promote", "decision=promoted", "version=1", "run one: succeeded")
	for _, task := range []string{"extract", "features", "split", "train", "evaluate", "promote"} {
		if n := strings.Count(saying(t, exitOK, "pipeline", "logs", "one", task), "begins"); n != 1 {
			t.Errorf("%s was begun %d times", task, n)
		}
	}
	all, err := readPromotions(".millrace/state")
	if err != nil || len(all) != 1 || all[0].Run != "one" || all[0].Version != 1 {
		t.Errorf("promotions %+v, %v", all, err)
	}
	versions, err := os.ReadDir("models/fraud")
	if err != nil || len(versions) != 1 {
		t.Errorf("%v, %v", versions, err)
	}
}

// TestPipelineCancel: a run is cancelled from another process, which may not run pipelines
// in the same folder meanwhile.
func TestPipelineCancel(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the tasks are shell scripts")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asCommand, "1")
	pipelineWorld(t, `
  long:
    tasks:
      first: {uses: command, with: {shell: '"`+program+`" pipeline run short > said.txt 2>&1 || true; "`+program+`" pipeline cancel "$MILLRACE_RUN"; sleep 60'}}
      second: {uses: command, needs: [first], with: {shell: touch second}}
  short: {tasks: {only: {uses: command, with: {shell: "true"}}}}
`)
	wants(t, saying(t, exitFailure, "pipeline", "run", "long", "--run", "l"), "first", "cancelled", "run l: cancelled")
	text, err := os.ReadFile("said.txt")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, string(text), "in use by another runner", "wait for it", "--state")
	if _, err := os.Stat("second"); err == nil {
		t.Error("a task ran after the cancel")
	}
	wants(t, saying(t, exitOK, "pipeline", "run", "short"), "succeeded")
}

// TestPipelineBackfill runs a partition a time, and single tasks as other orchestrators do.
func TestPipelineBackfill(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the tasks are shell scripts")
	}
	dir := pipelineWorld(t, `
  daily:
    partitions: {by: day, from: "2026-01-01"}
    tasks:
      day: {uses: extract, with: {source: payments, from: "{{ partition.start }}", to: "{{ partition.end }}"}}
      note: {uses: command, needs: [day], with: {shell: 'echo "{{ partition.key }} {{ day.rows }}" >> days.txt'}}
`)
	for range 2 { // the second time all has ended
		wants(t, saying(t, exitOK, "pipeline", "backfill", "daily", "--from", "2026-01-01", "--to", "2026-01-03", "--run", "b"), "b.2026-01-01", "2 of 2", "b.2026-01-02")
	}
	text, err := os.ReadFile("days.txt")
	if err != nil || string(text) != "2026-01-01 50\n2026-01-02 50\n" {
		t.Errorf("%q, %v", text, err)
	}
	wants(t, saying(t, exitUsage, "pipeline", "backfill", "daily"), "--from and --to are needed")
	wants(t, saying(t, exitUsage, "pipeline", "run", "daily", "--partition", "2026-01-01", "--only", "nope"), `task "nope" not found`)

	shared := filepath.Join(dir, "shared")
	for range 2 { // a task that has succeeded is not run again
		wants(t, saying(t, exitOK, "task", "run", "day", "--pipeline", "daily", "--run", "x", "--partition", "2026-01-04", "--state", shared), "day: succeeded", "rows=50")
		wants(t, saying(t, exitOK, "task", "run", "note", "--pipeline", "daily", "--run", "x", "--partition", "2026-01-04", "--state", shared), "note: succeeded")
	}
	if text, err = os.ReadFile("days.txt"); err != nil || strings.Count(string(text), "2026-01-04") != 1 {
		t.Errorf("%q, %v", text, err)
	}
	wants(t, saying(t, exitOK, "pipeline", "export", "daily", "--to", "airflow", "--project", "/srv/world"), "task run", "/srv/world/pipeline.yaml")
	wants(t, saying(t, exitOK, "pipeline", "export", "daily", "--to", "argo", "--image", "registry.test/millrace:1", "--claim", "shared", "--project", "/millrace/world"), "kind: ", "registry.test/millrace:1")
}

// TestPipelineFromLog reads events back from the event log, where they were loaded to.
func TestPipelineFromLog(t *testing.T) {
	pipelineWorld(t, `
  logged:
    tasks:
      all: {uses: extract, with: {source: payments, log: true}}
      day: {uses: extract, with: {source: payments, log: true, from: "2026-01-02", to: "2026-01-03"}}
      direct: {uses: extract, with: {source: payments}}
      features: {uses: features, inputs: {rows: all.rows}, with: {service: fraud, labels: "source:payments", label: [is_fraud]}}
      train: {uses: train, inputs: {data: features.dataset}, with: {training: fraud}}
      same: {uses: features, inputs: {rows: direct.rows}, with: {service: fraud, labels: "source:payments", label: [is_fraud]}}
      again: {uses: train, inputs: {data: same.dataset}, with: {training: fraud}}
`)
	wants(t, saying(t, exitFailure, "pipeline", "run", "logged", "--only", "all"), "there is no event log in it yet")
	saying(t, exitOK, "features", "materialize")
	saying(t, exitOK, "pipeline", "run", "logged", "--run", "l")
	v := orchestrator.NewView(".millrace/state/pipelines")
	s, err := v.Status("l")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, task := range s.Tasks {
		values[task.Name()] = cmp.Or(task.Values["value"], task.Values["rows"])
	}
	if values["all"] != int64(1500) || values["day"] != int64(50) {
		t.Errorf("%v rows, and %v of a day", values["all"], values["day"])
	}
	if values["train"] == nil || values["train"] != values["again"] {
		t.Errorf("of the log a model comes to %v, of the inputs to %v", values["train"], values["again"])
	}
}

// TestExamplePipelineFiles: the example's files are sound. That they make a model which is
// promoted takes half a minute, and is looked at when asked for.
func TestExamplePipelineFiles(t *testing.T) {
	t.Chdir(copyExample(t))
	wants(t, saying(t, exitOK, "pipeline", "validate"), "fraud: 6 tasks")
	if os.Getenv("MILLRACE_TEST_EXAMPLE") == "" {
		t.Skip("MILLRACE_TEST_EXAMPLE=1 runs the example's pipeline")
	}
	wants(t, saying(t, exitOK, "pipeline", "run"), "verdict=pass", "promoted=true version=2")
	wants(t, saying(t, exitFailure, "pipeline", "ci", "--param", "training=tiny"), "the model does not pass:", "roc_auc")
}
