// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What is wrong with a command line is said with the way to do it right, and without what
// libraries call it.
func TestUsageErrorsSayWhatToDo(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args   string
		status int
		want   []string
		not    string
	}{
		{"models swap", exitUsage, []string{"millrace models swap accepts 1 arg(s), received 0; usage: millrace models swap MODEL"}, ""},
		{"up a b", exitUsage, []string{"usage: millrace up [FOLDER]"}, ""},
		{"pipeline logs run", exitUsage, []string{"usage: millrace pipeline logs RUN TASK"}, ""},
		{"nothing", exitUsage, []string{`unknown command "nothing"`, "see millrace --help"}, ""},
		{"models nothing", exitUsage, []string{"see millrace models --help"}, ""},
		{"up --http-port 99999", exitUsage, []string{"--http-port", "value out of range", "see millrace up --help"}, "strconv"},
		{"serve --model-repository . --http-address 300.1.1.1 --grpc-port 0 --metrics-port 0", exitFailure, []string{"the address to listen on", "300.1.1.1"}, "choose another"},
		{"models list --url 127.0.0.1:1", exitFailure, []string{"127.0.0.1:1: unavailable: dial tcp", "is a server running there?"}, "transport"},
		{"features get x --server 127.0.0.1:1", exitFailure, []string{"127.0.0.1:1: unavailable: dial tcp", "is a server running there?"}, "transport"},
		{"predict --model m --input a=", exitUsage, []string{"--input a: there is nothing where JSON is wanted"}, "EOF"},
	} {
		status, _, stderr := runCommand(t, "", strings.Fields(c.args)...)
		if status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.args, status, c.status, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: %q does not say %q", c.args, stderr, want)
			}
		}
		if c.not != "" && strings.Contains(stderr, c.not) {
			t.Errorf("%s: %q says %q", c.args, stderr, c.not)
		}
	}
}

// A port that is taken is said before history is made and loaded, which may take long.
func TestPortsAreLookedAtFirst(t *testing.T) {
	_, address := startFake(t)
	port := address[strings.LastIndex(address, ":")+1:]
	dir := t.TempDir()
	status, stdout, stderr := runCommand(t, "", "demo", "--dir", dir+"/demo", "--http-port", "0", "--grpc-port", port, "--metrics-port", "0")
	if status != exitFailure || !strings.Contains(stderr, "--grpc-port: ") || strings.Contains(stdout, "console:") || strings.Contains(stdout, "first model") {
		t.Errorf("status %d, output %s, error %s", status, stdout, stderr)
	}
}

// Every command shows how it is called, with flags and a number of arguments that it takes.
func TestExamplesAreCommandLines(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.Example == "" && cmd.Runnable() && !cmd.Hidden && cmd.Name() != "help" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " # ")
			for part := range strings.SplitSeq(strings.ReplaceAll(line, " && ", " | "), " | ") {
				if _, call, ok := strings.Cut(" "+part, " millrace "); ok {
					checkExample(t, call)
				}
			}
		}
	}
	walk(newRootCommand())
}

// checkExample parses what a shell would give to millrace. What is in quotes is a word.
func checkExample(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " > ")
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 && len(words) > 0 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	root := newRootCommand()
	cmd, rest, err := root.Find(joinBooleans(root, words))
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err == nil {
		err = cmd.ValidateRequiredFlags()
	}
	if err != nil {
		t.Errorf("%q: %v", line, err)
	}
}
