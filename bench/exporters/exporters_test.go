// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
)

const (
	// dataEnv names the folder of data sets.
	dataEnv = "MILLRACE_DATA"
	// exportersEnv is "all", or an interpreter that has exporters.
	exportersEnv = "MILLRACE_EXPORTERS"

	requirements    = "requirements.txt"
	allRequirements = "requirements-more.txt"
)

func TestExportedModels(t *testing.T) {
	if testing.Short() {
		t.Skip("trains models and builds the binary")
	}
	data := findData(t)
	python := findPython(t)
	folder := t.TempDir()
	export := exec.CommandContext(t.Context(), python, "-B", "export.py", data, folder)
	// Threads that spin while they wait make a busy machine many times slower.
	export.Env = append(os.Environ(), "OMP_WAIT_POLICY=passive")
	foreigntest.Run(t, export)

	made := readManifest(t, folder)
	for _, exporter := range made.Absent {
		t.Run(exporter, func(t *testing.T) {
			t.Skipf("%s is not installed; %s=all fetches it", exporter, exportersEnv)
		})
	}
	cases := readCases(t, folder, made)
	binary, models := foreigntest.Build(t), filepath.Join(folder, "models")
	var bits firstAnswers
	for _, b := range []backend{onnxRuntime, native} {
		t.Run(b.name, func(t *testing.T) { b.serve(t, binary, models, cases, &bits) })
	}
}

// findData returns the folder of data sets or skips the test.
func findData(t *testing.T) string {
	t.Helper()
	folder := os.Getenv(dataEnv)
	if folder == "" {
		folder = filepath.Join(foreigntest.ModuleRoot(t), "..", "shared", "data")
	}
	for _, file := range []string{"card-transactions/transactions.parquet", "electricity/elec.csv"} {
		if _, err := os.Stat(filepath.Join(folder, file)); err != nil {
			t.Skipf("no training data: %v; %s may name the folder of data sets", err, dataEnv)
		}
	}
	return folder
}

// findPython returns an interpreter that has exporters.
func findPython(t *testing.T) string {
	t.Helper()
	switch which := os.Getenv(exportersEnv); which {
	case "":
		return foreigntest.Python(t, requirements)
	case "all":
		return foreigntest.Python(t, allRequirements)
	default:
		return which
	}
}

// TestRequirements checks that the larger set of exporters has all of the smaller.
// Pip could include the one file in the other, but what is fetched is kept by the
// content of the file that was asked for.
func TestRequirements(t *testing.T) {
	all := pins(t, allRequirements)
	for _, pin := range pins(t, requirements) {
		if !slices.Contains(all, pin) {
			t.Errorf("%s lacks %s", allRequirements, pin)
		}
	}
}

func pins(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var pins []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			pins = append(pins, line)
		}
	}
	if len(pins) == 0 {
		t.Fatalf("%s pins nothing", file)
	}
	return pins
}

// manifest says what a run of export.py made.
type manifest struct {
	Versions      map[string]string
	Absent, Cases []string
}

func readManifest(t *testing.T, folder string) manifest {
	t.Helper()
	var m manifest
	readJSON(t, filepath.Join(folder, "manifest.json"), &m)
	return m
}

func readCases(t *testing.T, folder string, made manifest) []modelCase {
	t.Helper()
	if len(made.Cases) == 0 {
		t.Fatalf("%s: no models", folder)
	}
	cases := make([]modelCase, len(made.Cases))
	for i, name := range made.Cases {
		readJSON(t, filepath.Join(folder, "cases", name+".json"), &cases[i])
		if m := cases[i]; m.Model != name || m.Rows == 0 || len(m.Inputs) == 0 || len(m.Outputs) == 0 {
			t.Fatalf("%s: %d rows, %d inputs, %d outputs of %q", name, m.Rows, len(m.Inputs), len(m.Outputs), m.Model)
		}
	}
	return cases
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
