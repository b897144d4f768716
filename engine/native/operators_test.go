// SPDX-License-Identifier: Apache-2.0

package native

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the documents that tests hold to the code")

// operatorsHead begins docs/reference/operators.md.
const operatorsHead = `# Operators of the native engine

What \x60backend: "native"\x60 runs, and \x60auto\x60 prefers: operators of ONNX by domain, with the versions of the operator set.
Not every type and attribute of an operator is covered; a model that needs one that is not is refused when it is loaded,
with the list of what is missing, or goes to ONNX Runtime under \x60auto\x60. \x60millrace models explain\x60 tells for a file.
ZipMap is taken out: the tensor that enters it is served.

Control flow: If, Loop and Scan run where shapes follow from the shapes of the inputs. Not covered: arithmetic in FP16 and
BF16 (weights of these types are), maps, outputs whose shape depends on values, training.

| operator | domain | versions |
|---|---|---|
`

// TestOperatorsDocument holds the reference page to the operators that there are.
func TestOperatorsDocument(t *testing.T) {
	const file = "../../docs/reference/operators.md"
	var want strings.Builder
	want.WriteString(strings.ReplaceAll(operatorsHead, `\x60`, "`"))
	for _, o := range Operators() {
		domain, versions := o.Domain, fmt.Sprintf("%d and later", o.Since)
		if domain == "" {
			domain = "ai.onnx"
		}
		if o.Until != 0 {
			versions = fmt.Sprintf("%d to %d", o.Since, o.Until)
		}
		fmt.Fprintf(&want, "| %s | %s | %s |\n", o.Name, domain, versions)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil || string(have) != want.String() {
		t.Errorf("%s does not list the operators that there are (%v): run go test ./engine/native -run TestOperatorsDocument -update", file, err)
	}
}
