// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/bench/loadgen"
)

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		target Target
		value  float64
		holds  bool
	}{
		{AtLeast(0.75), 0.75, true},
		{AtLeast(0.75), 0.7499, false},
		{AtMost(1.3), 1.3, true},
		{AtMost(1.3), 1.31, false},
		{AtMost(0), 0, true},
		{AtMost(0), 1, false},
		{AtMost(1), math.NaN(), false},
		{AtLeast(1), math.NaN(), false},
	} {
		if got := c.target.Holds(c.value); got != c.holds {
			t.Errorf("%g %v: %v, want %v", c.value, c.target, got, c.holds)
		}
	}
	if got := AtMost(1).In("s").String(); got != "<= 1 s" {
		t.Errorf("the target reads %q", got)
	}
}

func TestReportIsWrittenAndReadBack(t *testing.T) {
	r := New("serve", map[string]int{"rounds": 5})
	r.Rows = []Row{NewRow("ratio", 0.8, AtLeast(0.75)), NotMeasured("memory", AtMost(1.1), "no /proc")}
	path := filepath.Join(t.TempDir(), "results", "serve.json")
	if err := r.Write(path, nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name    string
		Machine map[string]any
		Commit  string
		Options map[string]int
		Rows    []map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "serve" || got.Commit == "" || got.Options["rounds"] != 5 || got.Machine["cores"].(float64) < 1 {
		t.Errorf("the report reads %s", text)
	}
	if row := got.Rows[0]; row["value"] != 0.8 || row["target"] != ">= 0.75" || row["holds"] != true {
		t.Errorf("the first row reads %v", row)
	}
	if row := got.Rows[1]; row["value"] != nil || row["holds"] != false || row["note"] != "no /proc" {
		t.Errorf("the second row reads %v", row)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the report lie %v, %v", entries, err)
	}
}

func TestReportGoesToStandardOutput(t *testing.T) {
	var out bytes.Buffer
	if err := New("x", nil).Write("-", &out); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("wrote %q, %v", out.String(), err)
	}
}

func TestTable(t *testing.T) {
	r := &Report{Rows: []Row{
		NewRow("unary", 0.81234, AtLeast(0.75)), NewRow("failed", 2, AtMost(0)), NotMeasured("memory", AtMost(1.1), "no /proc"),
	}}
	var out bytes.Buffer
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	want := `what    value                   target   holds
unary   0.812                   >= 0.75  yes
failed  2                       <= 0     no
memory  not measured: no /proc  <= 1.1   no
`
	if out.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", out.String(), want)
	}
}

func TestLoadTableShowsTrouble(t *testing.T) {
	quiet := &loadgen.Result{Requests: 10, Seconds: 1, RequestsPerSecond: 10, Latency: loadgen.Percentiles{P99Micros: 123}}
	loud := *quiet
	loud.Unsent, loud.Failed = 7, 3
	loud.Errors = map[string]*loadgen.Failure{"Unavailable": {Count: 3, Example: "queue is full"}}
	for name, c := range map[string]struct {
		result  *loadgen.Result
		trouble bool
	}{"quiet": {quiet, false}, "loud": {&loud, true}} {
		var out bytes.Buffer
		if err := WriteLoad(&out, c.result); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "123") {
			t.Errorf("%s: the percentiles are missing in\n%s", name, out.String())
		}
		for _, text := range []string{"7 never sent", "3 requests failed", "queue is full"} {
			if strings.Contains(out.String(), text) != c.trouble {
				t.Errorf("%s: %q is there or not, against expectation, in\n%s", name, text, out.String())
			}
		}
	}
}

func TestCommitOfBuild(t *testing.T) {
	changed := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	if got := builtFrom(changed); got != "abc+" {
		t.Errorf("the commit is %q, want abc+", got)
	}
	if got := builtFrom(nil); got != "" {
		t.Errorf("without settings the commit is %q", got)
	}
}

func TestProgressLine(t *testing.T) {
	var terminal bytes.Buffer
	progress := ProgressLine(&terminal)
	progress(loadgen.Progress{Elapsed: 0, Total: time.Second, Warmup: true})
	progress(loadgen.Progress{Elapsed: time.Second, Total: time.Second, Requests: 41, Errors: 2})
	if !strings.Contains(terminal.String(), "warming up") {
		t.Errorf("the terminal shows %q", terminal.String())
	}
	if got := progressText(loadgen.Progress{Requests: 41, Errors: 2}); got != "41 answers, 2 errors" {
		t.Errorf("the progress reads %q", got)
	}
}
