// SPDX-License-Identifier: Apache-2.0

// Command gen writes what ghz needs beside its configurations: the model repository
// of the benchmarks and one encoded request per workload.
//
//	go run ./bench/ghz/gen FOLDER
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/bench/models"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// workloads are the requests that the configurations name.
var workloads = []struct {
	file  string
	model models.Model
	rows  int
}{
	{"mlp_small_1.bin", models.Small(), 1},
	{"mlp_middle_1.bin", models.Middle(), 1},
	{"mlp_middle_32.bin", models.Middle(), 32},
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("give one folder to write to")
	}
	folder := args[0]
	if err := models.Write(filepath.Join(folder, "models")); err != nil {
		return err
	}
	for _, w := range workloads {
		requests, err := w.model.Workload(w.rows)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, w.file), requests.Requests[0], 0o644); err != nil {
			return err
		}
	}
	return nil
}
