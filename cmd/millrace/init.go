// SPDX-License-Identifier: Apache-2.0

package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// projectTemplate is what init writes besides the model.
//
//go:embed projecttemplate
var projectTemplate embed.FS

const templateFolder = "projecttemplate"

func newInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write a small project that millrace up serves as it is",
		Long: `Write a small project that millrace up serves as it is: an entity, a source of events,
windows over them, a model of five inputs, and a decision.

The folder, or the current one, must not have any of the files.`,
		Example: `  millrace init shop
  millrace up shop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) == 1 {
				folder = args[0]
			}
			if err := writeProject(folder); err != nil {
				return fmt.Errorf("init %s: %w", folder, err)
			}
			return announceProject(cmd.OutOrStdout(), folder)
		},
	}
}

// writeProject writes the files of a project. It looks for what is there first, so that
// nothing is written where something would have been overwritten.
func writeProject(folder string) error {
	files := map[string][]byte{}
	err := fs.WalkDir(projectTemplate, templateFolder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := projectTemplate.ReadFile(path)
		files[templateName(path)] = data
		return err
	})
	if err != nil {
		return err
	}
	var there []error
	for _, name := range append(slices.Sorted(maps.Keys(files)), "models") {
		if _, err := os.Lstat(filepath.Join(folder, name)); err == nil {
			there = append(there, fmt.Errorf("%s is there already", name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			there = append(there, err)
		}
	}
	if err := errors.Join(there...); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	model, err := riskModel()
	if err != nil {
		return err
	}
	return zoo.Write(filepath.Join(folder, "models"), "risk", 1, model)
}

// riskModel is a logistic regression of the template's features. Its weights say what a
// person would guess: many orders in an hour, and amounts far above the usual, are risky.
func riskModel() (*onnx.Model, error) {
	weights := []float32{
		0.004, // amount
		0.5,   // orders of the last hour
		-0.05, // orders of the last 30 days: a known customer
		0,     // mean amount of 30 days
		0.35,  // amount over the mean of 30 days
	}
	b := onnx.NewBuilder("risk")
	b.Input("input", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(len(weights))))
	b.Initializer(onnx.TensorOf("weights", weights, int64(len(weights)), 1))
	b.Initializer(onnx.TensorOf("bias", []float32{-3}, 1))
	b.Node("Gemm", []string{"input", "weights", "bias"}, []string{"sum"})
	b.Node("Sigmoid", []string{"sum"}, []string{"risk"})
	b.Output("risk", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	return b.Model()
}

// projectNextSteps has the program and the folder in capitals.
const projectNextSteps = `
  MILLRACE up FOLDER

and, when it says that it is ready, in another terminal:

  curl -s localhost:8000/v1/decisions/order -d '{"facts": {"customer_id": 7, "order_id": "a-1", "amount": 35}}'
  curl -s localhost:8000/v1/decisions/order -d '{"facts": {"customer_id": 7, "order_id": "a-2", "amount": 900}}'
`

func announceProject(w io.Writer, folder string) error {
	_, err := fmt.Fprintf(w, "wrote a project to %s; to serve it:\n%s", folder, strings.NewReplacer("MILLRACE", os.Args[0], "FOLDER", folder).Replace(projectNextSteps))
	return err
}

// templateName is the name that a file of the template gets. Files that begin with a dot
// cannot be embedded as such.
func templateName(path string) string {
	if name := strings.TrimPrefix(path, templateFolder+"/"); name != "gitignore.txt" {
		return name
	}
	return ".gitignore"
}
