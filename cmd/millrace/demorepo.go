// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
)

// demoMarker is a file in repositories that this command wrote and may write again.
const demoMarker = ".millrace-demo"

// demoEntries are the ONNX models taken from the zoo as they are.
var demoEntries = []string{"simple", "simple_int8", "simple_string", "mlp_middle"}

// The model to swap. Its second version has other weights, so that answers differ.
const (
	swapName   = "mlp_small"
	swapConfig = "max_batch_size: 64\ndynamic_batching { }\n"
)

// Models without files.
var demoBuiltins = map[string]string{
	"custom_identity_int32": `backend: "identity"
max_batch_size: 1024
dynamic_batching { }
input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ -1 ] } ]
parameters { key: "execute_delay_ms" value { string_value: "1" } }
`,
	// Elements may hold zero bytes, which the strings of ONNX Runtime cannot.
	"simple_identity": `backend: "identity"
max_batch_size: 8
dynamic_batching { }
input [ { name: "INPUT0" data_type: TYPE_STRING dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_STRING dims: [ -1 ] } ]
`,
	"repeat_int32": `backend: "repeat"
model_transaction_policy { decoupled: true }
input [
  { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] },
  { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] }
]
output [
  { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] }
]
`,
}

// demoNextSteps has the program and the repository in capitals, to be replaced by their
// paths.
const demoNextSteps = `
With the server running, in another terminal:

  MILLRACE predict --model simple --input 'INPUT0=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]' \
      --input 'INPUT1=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]'
  MILLRACE predict --model repeat_int32 --stream --input IN=[4,2,0] --input DELAY=[500,500,500] --input WAIT=[0]
  MILLRACE models list
  MILLRACE models swap mlp_small --version 1
  MILLRACE models rollback mlp_small
  MILLRACE models explain FOLDER/trees_small --rows 64
  MILLRACE bench --model mlp_small --concurrency 32 --duration 5s
  curl localhost:8002/metrics
`

func newDemoRepositoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo-repository FOLDER",
		Short: "Write a model repository with a few small models to try",
		Long: `Write a model repository with a few small models to try.

The folder must be new, empty, or written by this command before.`,
		Example: `  millrace demo-repository models
  millrace serve --model-repository models --model-control-mode explicit --load-model '*'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := writeDemo(args[0]); err != nil {
				return fmt.Errorf("demo repository %s: %w", args[0], err)
			}
			return announceDemo(cmd.OutOrStdout(), args[0])
		},
	}
}

func writeDemo(folder string) error {
	if err := claimFolder(folder); err != nil {
		return err
	}
	for _, entry := range demoModels() {
		if err := entry.Write(folder); err != nil {
			return err
		}
	}
	for name, config := range demoBuiltins {
		if err := zoo.WriteConfig(folder, name, config); err != nil {
			return err
		}
	}
	return nil
}

// claimFolder makes the folder and marks it as this command's, unless it holds
// something else.
func claimFolder(folder string) error {
	marker := filepath.Join(folder, demoMarker)
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return errors.New("the folder is not empty: give a new one, so that nothing of yours is written over")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(marker, []byte("Written by millrace demo-repository, which may write here again.\n"), 0o644)
}

// treesName is a model for the tree kernels: boosted trees, two versions to swap.
const (
	treesName   = "trees_small"
	treesConfig = "max_batch_size: 256\ndynamic_batching { }\n"
)

// demoModels are the ONNX models of the demo. None names a backend, so that each is run
// by the native engine where that covers it.
func demoModels() []zoo.Entry {
	models := slices.DeleteFunc(zoo.Catalog(), func(e zoo.Entry) bool { return !slices.Contains(demoEntries, e.Name) })
	for i := range models {
		models[i].Config = strings.Replace(models[i].Config, zoo.PlatformLine, "", 1)
	}
	trees := func(seed uint64) func() *onnx.Model {
		return func() *onnx.Model { return zoo.NewTrees(treesName, seed, 100, 31, 32).Model() }
	}
	models = append(models, zoo.Entry{Name: treesName, Config: treesConfig, Versions: []func() *onnx.Model{trees(1), trees(2)}})
	version := func(seed uint64) func() *onnx.Model {
		return func() *onnx.Model { return zoo.NewMLP(swapName, seed, 32, 64, 32, 1).Model() }
	}
	return append(models, zoo.Entry{Name: swapName, Config: swapConfig, Versions: []func() *onnx.Model{version(1), version(2)}})
}

func announceDemo(w io.Writer, folder string) error {
	models := len(demoModels()) + len(demoBuiltins)
	_, err := fmt.Fprintf(w, "wrote %d models to %s\n%s\n", models, folder, strings.NewReplacer("MILLRACE", os.Args[0], "FOLDER", folder).Replace(demoNextSteps))
	return err
}
