// SPDX-License-Identifier: Apache-2.0

package foreigntest

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Python returns an interpreter with the packages of a requirements file. They are kept
// for the interpreter they were fetched for: another one cannot load them.
func Python(t testing.TB, requirements string) string {
	t.Helper()
	python := lookPath(t, "python3")
	file, pins := pinFile(t, requirements)
	which, stderr, err := run(exec.CommandContext(t.Context(), python, "-c", "import sys; print(sys.version, sys.base_prefix)"))
	if err != nil {
		t.Skipf("python3 does not run: %v: %s", err, lastLine(stderr))
	}
	folder := fetched(t, "python", append(pins, which...), func(ctx context.Context, folder string) error {
		pip, err := newVenv(ctx, python, folder)
		if err != nil {
			return err
		}
		// What is not compiled beforehand is compiled when it is imported, which is little
		// of what there is.
		return fetch(exec.CommandContext(ctx, pip[0], append(pip[1:], "install", "--disable-pip-version-check",
			"--quiet", "--no-compile", "--only-binary=:all:", "--requirement", file)...))
	})
	return filepath.Join(folder, "bin", "python")
}

// newVenv makes a virtual environment and returns the command of the pip that installs
// into it. A pip of its own takes seconds to unpack, which are spared where the pip of
// python is new enough (22.3) to install into another's folder.
func newVenv(ctx context.Context, python, folder string) ([]string, error) {
	inside := filepath.Join(folder, "bin", "python")
	if err := fetch(exec.CommandContext(ctx, python, "-m", "venv", "--without-pip", folder)); err != nil {
		return nil, err
	}
	pip := []string{python, "-m", "pip", "--python", inside}
	if fetch(exec.CommandContext(ctx, pip[0], append(pip[1:], "--version")...)) == nil {
		return pip, nil
	}
	return []string{inside, "-m", "pip"}, fetch(exec.CommandContext(ctx, python, "-m", "venv", "--clear", folder))
}

// Node returns node and the NODE_PATH under which it finds the packages that the
// package.json and package-lock.json of a folder name.
func Node(t testing.TB, manifest string) (node, nodePath string) {
	t.Helper()
	node = lookPath(t, "node")
	npm := lookPath(t, "npm")
	_, names := pinFile(t, filepath.Join(manifest, "package.json"))
	_, lock := pinFile(t, filepath.Join(manifest, "package-lock.json"))
	folder := fetched(t, "npm", lock, func(ctx context.Context, folder string) error {
		for name, content := range map[string][]byte{"package.json": names, "package-lock.json": lock} {
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
				return err
			}
		}
		install := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
		install.Dir = folder
		return fetch(install)
	})
	return node, filepath.Join(folder, "node_modules")
}

// GoProgram returns a program built from pkg, which is PACKAGE@VERSION.
func GoProgram(t testing.TB, pkg string) string {
	t.Helper()
	goTool := lookPath(t, "go")
	folder := fetched(t, "go", []byte(pkg), func(ctx context.Context, folder string) error {
		install := exec.CommandContext(ctx, goTool, "install", pkg)
		install.Env = append(os.Environ(), "GOBIN="+folder)
		return fetch(install)
	})
	name, _, _ := strings.Cut(pkg, "@")
	return filepath.Join(folder, path.Base(name))
}

// pinFile reads a file of pins, and gives its absolute path.
func pinFile(t testing.TB, name string) (string, []byte) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	absolute, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return absolute, content
}
