// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

const referenceFile = "../../docs/reference/features.md"

// TestReference loads the examples of the reference, which together are one catalogue,
// and checks that it describes every key, function, format and bound.
func TestReference(t *testing.T) {
	data, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	l := newLoader()
	l.environment = func(string) (string, bool) { return "", false }
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	for i, b := range blocks {
		l.take(string(rune('a'+i))+".yaml", []byte(b[1]))
	}
	c, err := l.build()
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 5 || len(c.Service("fraud_model").Features) != 15 {
		t.Errorf("%d blocks", len(blocks))
	}
	for what, keys := range vocabulary {
		for _, key := range keys {
			if !strings.Contains(text, "`"+key+"`") {
				t.Errorf("the reference does not have the key %s of a %s", key, what)
			}
		}
	}
	for _, name := range append(functionNames(), "csv", "parquet", "jsonl", "postgres") {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the reference does not have %s", name)
		}
	}
	for _, name := range expression.Functions() {
		if !strings.Contains(text, "`"+name+"(") {
			t.Errorf("the reference does not have the function %s", name)
		}
	}
	for _, word := range reservedWords {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("the reference does not say that %s is reserved", word)
		}
		if _, err := expression.Compile(word+" + 'x'", []expression.Field{{Name: word, Type: column.String}}); err == nil && word != "null" {
			t.Errorf("%s is no word of expressions", word)
		}
	}
}
