// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

const (
	fixtures = "testdata"
	// What is kept in the repository stays small.
	fixtureBytesMax = 60_000
	fixturesMax     = 1_500_000
)

// TestFixtures serves the models that are kept, at each level of the CPU where the
// backend depends on it.
func TestFixtures(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary")
	}
	cases := readCases(t, fixtures, readManifest(t, fixtures))
	binary, models := foreigntest.Build(t), filepath.Join(fixtures, "models")
	var bits firstAnswers
	t.Run(onnxRuntime.name, func(t *testing.T) { onnxRuntime.serve(t, binary, models, cases, &bits) })
	t.Run(native.name, func(t *testing.T) {
		for _, level := range cpu.Available() {
			t.Run("isa="+level.String(), func(t *testing.T) {
				t.Setenv(cpu.EnvLevel, level.String())
				native.serve(t, binary, models, cases, &bits)
			})
		}
	})
}

// TestFixtureFiles checks that nothing is kept that no case asks for, and that it is
// small.
func TestFixtureFiles(t *testing.T) {
	cases := readCases(t, fixtures, readManifest(t, fixtures))
	for _, folder := range []string{"models", "cases"} {
		entries, err := os.ReadDir(filepath.Join(fixtures, folder))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != len(cases) {
			t.Errorf("%d entries of %s for %d cases", len(entries), folder, len(cases))
		}
	}
	var total int64
	err := filepath.WalkDir(fixtures, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); info.Size() > fixtureBytesMax {
			t.Errorf("%s has %d bytes, more than %d", path, info.Size(), fixtureBytesMax)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > fixturesMax {
		t.Errorf("%s has %d bytes, more than %d", fixtures, total, fixturesMax)
	}
}
