// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/millrace-ml/millrace"

// arrows lists, for each part of the tree, what else of ours it may import: whole
// parts or single packages. Parts missing here may import anything (cmd, console and
// bench stand above all others). Within its own part a package imports what it likes.
var arrows = map[string][]string{
	"proto":        {},
	"kernels":      {},
	"batching":     {},
	"orchestrator": {},
	"engine":       {"kernels"},
	"featurestore": {"kernels"},
	"labeling":     {"featurestore/offline"},
	"serving":      {"engine", "batching", "featurestore", "proto"},
	"training":     {"engine", "kernels", "featurestore"},
	"evaluation":   {"engine", "kernels", "featurestore"},
}

// importersOf lists the parts that only the parts named may import.
var importersOf = map[string][]string{
	"cmd":     {},
	"bench":   {"cmd"},
	"console": {"cmd"},
}

// mayImport reports whether the package from may import the package to, both
// relative to the module.
func mayImport(from, to string) bool {
	fromPart, toPart := part(from), part(to)
	if fromPart == toPart {
		return true
	}
	if importers, guarded := importersOf[toPart]; guarded {
		return slices.Contains(importers, fromPart)
	}
	allowed, limited := arrows[fromPart]
	wireEdge := toPart == "proto" && strings.HasSuffix(from, "/rpc")
	return !limited || wireEdge || slices.Contains(allowed, toPart) || slices.Contains(allowed, to)
}

// part is the top-level folder of a package.
func part(pkg string) string {
	top, _, _ := strings.Cut(pkg, "/")
	return top
}

func TestMayImport(t *testing.T) {
	tests := []struct {
		from, to string
		allowed  bool
	}{
		{"engine/onnxrt", "engine/tensor", true},
		{"engine/native", "kernels/gemm", true},
		{"engine/repository", "batching", false},
		{"engine/modelconfig", "proto/inference", false},
		{"batching", "engine", false},
		{"serving", "batching", true},
		{"serving", "engine/repository", true},
		{"serving/client", "proto/inference", true},
		{"serving", "training", false},
		{"featurestore/rpc", "proto/millrace/v1", true},
		{"featurestore/online", "proto/millrace/v1", false},
		{"training", "evaluation", false},
		{"evaluation", "serving", false},
		{"kernels/trees", "engine", false},
		{"proto/inference", "engine", false},
		{"cmd/millrace", "bench", true},
		{"bench", "serving", true},
		{"console", "bench", false},
		{"serving", "bench", false},
		{"labeling", "featurestore/offline", true},
		{"labeling", "featurestore/online", false},
		{"bench", "cmd/millrace", false},
	}
	for _, test := range tests {
		if got := mayImport(test.from, test.to); got != test.allowed {
			t.Errorf("mayImport(%s, %s) = %v, want %v", test.from, test.to, got, test.allowed)
		}
	}
}

// TestArrows holds the imports of the whole module, tests left out, to the table.
func TestArrows(t *testing.T) {
	packages := listPackages(t)
	if _, listed := packages["cmd/millrace"]; !listed {
		t.Fatalf("go list did not name cmd/millrace among %d packages", len(packages))
	}
	for from, imports := range packages {
		for _, to := range imports {
			if !mayImport(from, to) {
				t.Errorf("%s imports %s; the table above lets %s import only %v of ours", from, to, part(from), arrows[part(from)])
			}
		}
	}
}

// listPackages returns the module's packages and what each imports of the module.
func listPackages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = moduleRoot
	output, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(string(exit.Stderr))
		}
		t.Fatalf("go list: %v", err)
	}
	packages := map[string][]string{}
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	for {
		var listed struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&listed); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if pkg, ours := strings.CutPrefix(listed.ImportPath, modulePath+"/"); ours {
			packages[pkg] = ownImports(listed.Imports)
		}
	}
}

func ownImports(imports []string) []string {
	var own []string
	for _, path := range imports {
		if pkg, ours := strings.CutPrefix(path, modulePath+"/"); ours {
			own = append(own, pkg)
		}
	}
	return own
}
