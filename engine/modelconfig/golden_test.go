// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

var update = flag.Bool("update", false, "rewrite the .json files of testdata")

// TestGolden reads realistic configurations and compares their JSON with the
// recorded one, which must read back equal.
func TestGolden(t *testing.T) {
	for path, data := range goldenTexts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			config := mustParse(t, string(data))
			got := indent(t, mustJSON(t, config))
			golden := strings.TrimSuffix(path, ".pbtxt") + ".json"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("JSON of %s is\n%s\nwant\n%s", path, got, want)
			}
			again, err := modelconfig.ParseJSON(want)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(again, config) {
				t.Errorf("JSON reads back as %+v, want %+v", again, config)
			}
		})
	}
}

func goldenTexts(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.pbtxt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	texts := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = data
	}
	return texts
}

func mustParse(t testing.TB, text string) *modelconfig.Config {
	t.Helper()
	config, err := modelconfig.ParseText([]byte(text))
	if err != nil {
		t.Fatalf("ParseText: %v\n%s", err, text)
	}
	return config
}

func mustJSON(t testing.TB, config *modelconfig.Config) []byte {
	t.Helper()
	data, err := config.JSON()
	if err != nil {
		t.Fatalf("JSON: %v", err)
	}
	return data
}

func indent(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}
