// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
)

// planOptions are the flags of `millrace models explain`.
type planOptions struct {
	models        *modelsOptions
	rows, threads int
}

func (o *modelsOptions) planCommand() *cobra.Command {
	p := planOptions{models: o}
	cmd := &cobra.Command{
		Use:   "explain PATH",
		Short: "Show how the native engine runs a model: the plan, the kernels and the cost of each node",
		Long: `Show how the native engine runs a model: what was done to its graph, the steps of a
run with the kernels chosen for them, and what each costs on this machine.

PATH is an ONNX file, a version's folder or a model's folder, of which the highest
version is taken. No server is needed. A model that the native engine does not cover
is answered with what is missing; such a model is served by ONNX Runtime.

MILLRACE_CPU=generic|avx2|avx512|avx512vnni lowers the instruction set.`,
		Example: `  millrace models explain ranker/3/model.onnx
  millrace models explain models/ranker --rows 64
  MILLRACE_CPU=avx2 millrace models explain models/ranker --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd, args[0]) },
	}
	cmd.Flags().IntVar(&p.rows, "rows", 1, "`rows` of the run that is planned and timed")
	cmd.Flags().IntVar(&p.threads, "threads", runtime.GOMAXPROCS(0), "`cores` that a run may be split over")
	return cmd
}

func (p *planOptions) run(cmd *cobra.Command, path string) error {
	const rowsMax = 1 << 20
	if p.rows < 1 || p.rows > rowsMax {
		return usageError{fmt.Errorf("--rows is %d: it must be from 1 to %d", p.rows, rowsMax)}
	}
	dir, config, err := findModel(path)
	if err != nil {
		return err
	}
	e, err := native.Explain(cmd.Context(), dir, config, p.rows, p.threads)
	if errors.Is(err, native.ErrNotCovered) {
		return fmt.Errorf("%w\nit can be served by ONNX Runtime: backend \"onnxruntime\" or \"auto\"", err)
	}
	if err != nil {
		return err
	}
	if p.models.json {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(e)
	}
	return printPlan(cmd.OutOrStdout(), e)
}

// findModel finds the model file that a user means by a path, as a version's folder and
// a configuration that names the file.
func findModel(path string) (dir string, config *modelconfig.Config, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	if !info.IsDir() {
		return filepath.Dir(path), &modelconfig.Config{DefaultModelFilename: filepath.Base(path)}, nil
	}
	config = &modelconfig.Config{}
	if text, err := os.ReadFile(filepath.Join(path, "config.pbtxt")); err == nil {
		if config, err = modelconfig.ParseText(text); err != nil {
			return "", nil, fmt.Errorf("%s: %w", filepath.Join(path, "config.pbtxt"), err)
		}
	}
	return highestVersion(path), config, nil
}

// highestVersion is the folder of a model's highest version, or the folder itself where
// there are none.
func highestVersion(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return folder
	}
	highest := 0
	for _, entry := range entries {
		if number, err := strconv.Atoi(entry.Name()); err == nil && entry.IsDir() {
			highest = max(highest, number)
		}
	}
	if highest == 0 {
		return folder
	}
	return filepath.Join(folder, strconv.Itoa(highest))
}

func printPlan(w io.Writer, e *native.Explanation) error {
	r := &e.Rewrites
	fmt.Fprintf(w, "%d rows on %s: %v a run, %v a row", e.Rows, e.Level, e.Run, e.Run/time.Duration(e.Rows))
	if e.Parts > 1 {
		fmt.Fprintf(w, "; with other cores free, split in %d", e.Parts)
	}
	fmt.Fprintf(w, "\ngraph: %d nodes in the file, %d after rewriting (%d folded, %d fused, %d merged, %d removed, %d inlined)\n",
		r.NodesBefore, r.NodesAfter, r.Folded, len(r.Fused), r.Merged, r.Removed, r.Inlined)
	fused := countFusions(r.Fused)
	for _, kind := range slices.Sorted(maps.Keys(fused)) {
		fmt.Fprintf(w, "  fused, %s: %d\n", kind, fused[kind])
	}
	fmt.Fprintf(w, "memory: %s of constants, %s for a run\n\n", binaryBytes(e.WeightBytes), binaryBytes(e.ArenaBytes))
	table := newTable(w, "STEP\tOPERATOR\tNODE\tTIME\tSHARE\tOUTPUT\tKERNEL")
	total := time.Duration(0)
	for _, s := range e.Steps {
		total += s.Time
	}
	for i, s := range e.Steps {
		fmt.Fprintf(table, "%d\t%s\t%s\t%v\t%.0f %%\t%s\t%s\n", i+1, s.Operator, s.Node, s.Time,
			100*float64(s.Time)/max(1, float64(total)), strings.Join(s.Outputs, ", "), s.Kernel)
	}
	return table.Flush()
}

func countFusions(fused []rewrite.Fusion) map[string]int {
	counts := make(map[string]int)
	for _, f := range fused {
		counts[f.Kind]++
	}
	return counts
}

// binaryBytes writes a size in the unit that suits it.
func binaryBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.4g %s", size, units[unit])
}
