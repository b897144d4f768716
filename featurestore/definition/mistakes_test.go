// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/mistakes.txt anew; read the difference before keeping it")

// TestMistakes goes through testdata/mistakes.txt: definitions, each followed by exactly
// the messages that it gives. They stand beside base.yaml, which is the text base.
func TestMistakes(t *testing.T) {
	const name = "testdata/mistakes.txt"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i, part := range strings.Split(string(data), "\n=== ") {
		if i == 0 {
			out.WriteString(part)
			continue
		}
		title, rest, _ := strings.Cut(part, "\n")
		text, want, _ := strings.Cut(rest, "\n---\n")
		l := newLoader()
		l.environment = func(string) (string, bool) { return "", false }
		l.take("base.yaml", []byte(base))
		l.take("features.yaml", []byte(text))
		_, err := l.build()
		got := "no mistake"
		var all Errors
		if errors.As(err, &all) {
			got = all.Error()
		}
		fmt.Fprintf(&out, "\n=== %s\n%s\n---\n%s\n", title, text, got)
		if !*update && got != strings.TrimRight(want, "\n") {
			t.Errorf("%s\n%s\ngives\n%s\nwant\n%s", title, text, got, strings.TrimRight(want, "\n"))
		}
	}
	if *update {
		if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestErrorsAreBounded: fifty are told, and how many are not.
func TestErrorsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("entities:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "  e%d: {key: k%d, type: float64}\n", i, i)
	}
	_, err := Parse("f.yaml", []byte(b.String()))
	var all Errors
	if !errors.As(err, &all) || len(all) != errorsMax+1 {
		t.Fatalf("%v", err)
	}
	if last := all[errorsMax].Error(); last != "f.yaml: 10 more mistakes are not shown" {
		t.Errorf("last is %q", last)
	}
	if e := all[0]; e != (Error{File: "f.yaml", Line: 2, Column: 23, Path: "entities.e0.type", Message: "a key is int64 or string, not float64"}) {
		t.Errorf("first is %+v", e)
	}
}

func TestBounds(t *testing.T) {
	many := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	lines := func(n int, format string) string {
		return many(n, func(i int) string { return strings.ReplaceAll(format, "#", fmt.Sprint(i)) })
	}
	view := base + "views:\n  v:\n    entity: customer\n    source: sales\n"
	for name, c := range map[string]struct{ text, want string }{
		"entities": {"entities:\n" + lines(65, "  e#: {key: k#, type: int64}\n"), "f.yaml:66:3: entities: more than 64 entities"},
		"sources":  {base + lines(200, "  s#: {push: true, timestamp: at, fields: {f#: bool}}\n"), "sources: more than 200 sources"},
		"fields": {"sources:\n  s:\n    push: true\n    timestamp: at\n    fields:\n" + lines(1001, "      f#: float64\n"),
			"f.yaml:1006:7: sources.s.fields: more than 1000 fields"},
		"features of a view": {view + "    windows: [1d, 2d, 3d, 4d]\n    features:\n" +
			lines(257, "      f#: {function: sum, field: amount}\n"), "views.v.features: more than 1024 features, each counted once"},
		"columns of a view": {view + "    windows: [1d]\n    features:\n" +
			lines(65, "      f#: {function: sum, expression: amount + #}\n"), "views.v: more than 64 columns or key columns"},
		"windows": {view + "    windows: [" + lines(65, "1#s, ") + "1d]\n    features: {n: {function: count}}\n",
			"more than 64 windows"},
		"features of a service": {"services:\n  s:\n    request: {x: float64}\n    features:\n" + lines(4097, "      - {name: f#, from: x}\n"),
			"f.yaml:4101:9: services.s.features: more than 4096 features"},
		"depth":        {"entities: " + strings.Repeat("[", 40), "nested more than 32 levels deep"},
		"block depth":  {strings.Repeat("- ", 40) + "a", "nested more than 32 levels deep"},
		"entries":      {lines(5001, "x-#: 1\n"), "more than 5000 entries in a mapping or a list"},
		"words":        {"x-a: [" + strings.Repeat("1,", 100_001) + "]", "more than 200000 words and signs"},
		"size":         {strings.Repeat("# comment\n", 60_000), "the file has 600000 bytes, at most 524288 are allowed"},
		"text":         {"x-a: " + strings.Repeat("a", 70_000), "a text of 70000 bytes, at most 65536 are allowed"},
		"aliases":      {"x-a: &a [1,1,1,1,1,1,1,1,1,1]\n" + billion(), "the definitions have more than 200000 parts"},
		"alias itself": {"x-a: &a [*a]", "nested more than 32 levels deep"},
		"encoding":     {"entities: \xff", "the file is not UTF-8"},
		"long name":    {"entities:\n  " + strings.Repeat("e", 49) + ": {key: k, type: int64}\n", "has 49 characters, at most 48"},
	} {
		_, err := Parse("f.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v, want %s", name, err, c.want)
		}
	}
}

// billion writes lists of lists that would be large if every alias was written out.
func billion() string {
	var b strings.Builder
	for c := 'b'; c < 'k'; c++ {
		fmt.Fprintf(&b, "x-%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	return b.String()
}

func TestLoadFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a.yaml", base)
	b := write("b.yaml", "views: {v: {entity: customer, source: sales, features: {n: {function: count, window: 1d}}}}\n")
	c := load(t, a, b)
	if len(c.Files) != 2 || c.Files[0] != a || c.View("v").Source.Name != "sales" {
		t.Errorf("catalogue of %v", c.Files)
	}
	if _, err := Load(b, a); err != nil {
		t.Errorf("the other order: %v", err)
	}
	again := write("c.yaml", "entities:\n  shop: {key: shop, type: string}\n")
	want := again + ":2:3: entities.shop: defined before at " + a + ":4:3"
	if _, err := Load(a, again); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	for _, c := range []struct {
		want  string
		files []string
	}{
		{"0 definition files, 1 to 256 are needed", nil},
		{"the file is given twice", []string{a, a}},
		{"read definitions: open ", []string{filepath.Join(folder, "none.yaml")}},
		{"nothing is defined", []string{write("empty.yaml", "")}},
		{"nothing is defined", []string{write("notes.yaml", "# only a comment\n---\n")}},
	} {
		if _, err := Load(c.files...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
