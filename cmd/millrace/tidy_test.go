// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	moduleRoot   = "../.."
	fileLinesMax = 900
	licenceLine  = "// SPDX-License-Identifier: Apache-2.0"
)

// goFile is one hand-written Go file of the tree.
type goFile struct {
	path   string // relative to the module
	source []byte
	syntax *ast.File
}

// TestTidy checks what every hand-written Go file owes: the licence line, a bounded
// length, and in tests no waiting on the real clock.
func TestTidy(t *testing.T) {
	files := handWrittenFiles(t)
	if len(files) < 10 {
		t.Fatalf("found only %d Go files below %s", len(files), moduleRoot)
	}
	for _, file := range files {
		if !bytes.HasPrefix(file.source, []byte(licenceLine+"\n")) {
			t.Errorf("%s: the first line is not %q", file.path, licenceLine)
		}
		if lines := bytes.Count(file.source, []byte("\n")); lines > fileLinesMax {
			t.Errorf("%s: %d lines, more than %d: split it by idea", file.path, lines, fileLinesMax)
		}
		if isTest(file.path) && sleepsOnRealClock(file.syntax) {
			t.Errorf("%s: time.Sleep in a test: wait on what is awaited, inject a clock, or use testing/synctest", file.path)
		}
	}
}

// TestPackageComments checks that one file of each package says what the package is for.
func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	for _, file := range handWrittenFiles(t) {
		if isTest(file.path) {
			continue
		}
		folder := filepath.Dir(file.path)
		commented[folder] = commented[folder] || hasPackageComment(file.syntax)
	}
	for folder, ok := range commented {
		if !ok {
			t.Errorf("%s: no file has a comment that begins with \"Package\" or \"Command\"", folder)
		}
	}
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

func hasPackageComment(file *ast.File) bool {
	text := file.Doc.Text()
	return strings.HasPrefix(text, "Package "+file.Name.Name+" ") || strings.HasPrefix(text, "Command ")
}

// sleepsOnRealClock reports whether a file calls time.Sleep and never uses
// testing/synctest, in whose bubbles a sleep takes no time.
func sleepsOnRealClock(file *ast.File) bool {
	for _, imported := range file.Imports {
		if imported.Path.Value == `"testing/synctest"` {
			return false
		}
	}
	sleeps := false
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "Sleep" {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" {
			sleeps = true
		}
		return true
	})
	return sleeps
}

// handWrittenFiles parses the Go files of the tree that no generator wrote.
func handWrittenFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(moduleRoot, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(path, entry.Name())
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parseFile(path)
		if err == nil && !ast.IsGenerated(file.syntax) {
			files = append(files, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// skipFolder leaves out folders that hold no source of ours.
func skipFolder(path, name string) error {
	hidden := strings.HasPrefix(name, ".") && path != moduleRoot
	if hidden || name == "testdata" || name == "node_modules" || name == "bin" {
		return filepath.SkipDir
	}
	return nil
}

func parseFile(path string) (goFile, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return goFile{}, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments)
	if err != nil {
		return goFile{}, err
	}
	relative, err := filepath.Rel(moduleRoot, path)
	return goFile{path: relative, source: source, syntax: syntax}, err
}

// TestTidyFindsFaults shows that the checks above can fail.
func TestTidyFindsFaults(t *testing.T) {
	parse := func(source string) *ast.File {
		file, err := parser.ParseFile(token.NewFileSet(), "x_test.go", source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	sleep := "func f() { time.Sleep(1) }\n"
	if !sleepsOnRealClock(parse("package x\nimport \"time\"\n" + sleep)) {
		t.Error("time.Sleep was not found")
	}
	if sleepsOnRealClock(parse("package x\nimport (\n\"testing/synctest\"\n\"time\"\n)\nvar _ = synctest.Test\n" + sleep)) {
		t.Error("time.Sleep beside synctest was reported")
	}
	if hasPackageComment(parse("// Helpers.\npackage x\n")) || !hasPackageComment(parse("// Package x is.\npackage x\n")) {
		t.Error("package comments are not told apart")
	}
}
