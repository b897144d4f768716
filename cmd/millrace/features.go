// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

const (
	// defaultDefinitions is the file of definitions in the current folder.
	defaultDefinitions = "features.yaml"
	// defaultState is where a project keeps its feature store.
	defaultState = ".millrace/state"
)

// featuresOptions are the flags that all commands below `millrace features` share.
type featuresOptions struct {
	definitions []string
	json        bool
}

func newFeaturesCommand() *cobra.Command {
	o := new(featuresOptions)
	cmd := &cobra.Command{
		Use:   "features",
		Short: "Define, fill, read and check a feature store",
		Long: `Define, fill, read and check a feature store: features computed from events, the
same online as in training sets.

Definitions are read from --definitions, or else from the files that millrace.yaml in the
current folder names, or else from features.yaml. Commands that read an event log may do so
while a server writes it; what writes to a state folder, and get --state, needs it closed.`,
		Example: `  millrace features validate features.yaml
  millrace features materialize                         # history into the event log and the states
  millrace features serve
  millrace features push payments new-payments.csv
  millrace features get fraud --entity customer_id=42 --entity terminal_id=7 --fact amount=12.5
  millrace features dataset --service fraud --labels source:payments --label is_fraud --output train.parquet
  millrace features verify`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.PersistentFlags().BoolVar(&o.json, "json", false, "answer in JSON instead of a table")
	cmd.AddCommand(
		o.validateCommand(), o.materializeCommand(), o.getCommand(), o.datasetCommand(), o.verifyCommand(),
		o.historyCommand(), o.pushCommand(), o.serveCommand(), o.logCommand(),
	)
	return cmd
}

// addDefinitions adds the flag that names the files of definitions.
func (o *featuresOptions) addDefinitions(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.definitions, "definitions", nil, "`file` of definitions; repeat for several (default: those of millrace.yaml, or features.yaml)")
}

// catalog loads the definitions.
func (o *featuresOptions) catalog() (*definition.Catalog, error) {
	files, err := o.files()
	if err != nil {
		return nil, err
	}
	return loadCatalog(files)
}

// files are those of the flag, or of the project in the current folder.
func (o *featuresOptions) files() ([]string, error) {
	if len(o.definitions) > 0 {
		return o.definitions, nil
	}
	project, err := projectHere()
	if err != nil {
		return nil, err
	}
	if project != nil {
		return project.Features, nil
	}
	if _, err := os.Stat(defaultDefinitions); errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("no definitions: there is no %s in this folder; name them with --definitions FILE", defaultDefinitions)}
	}
	return []string{defaultDefinitions}, nil
}

// loadCatalog loads definitions; every mistake is a line of the error.
func loadCatalog(files []string) (*definition.Catalog, error) {
	c, err := definition.Load(files...)
	var mistakes definition.Errors
	if errors.As(err, &mistakes) {
		return nil, fmt.Errorf("the definitions have %s:\n%w", counted(len(mistakes), "mistake"), err)
	}
	return c, err
}

// show writes an answer: as JSON when asked for, else by table.
func (o *featuresOptions) show(w io.Writer, answer any, table func(io.Writer) error) error {
	if !o.json {
		return table(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

// counted is a number of things in words, such as "2 mistakes".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if thing[len(thing)-1] == 'y' {
		thing = thing[:len(thing)-1] + "ie"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
