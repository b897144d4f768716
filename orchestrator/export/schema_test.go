// SPDX-License-Identifier: Apache-2.0

package export

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// argolint is the folder of the module that pins Argo Workflows.
const argolint = "../../tools/argolint"

// workflows are exports with everything that Argo may be asked for, by file name.
func workflows(t *testing.T) map[string]string {
	t.Helper()
	source := source + `
  items:
    schedule: {cron: "@every 90m", overlap: cancel}
    parameters: {from: {default: now, doc: begin}, empty: "", text: 'a "b" #c', big: 12345678901}
    tasks:
      each: {uses: command, foreach: [1, 2], parallel: 2, retries: 5, backoff: 1s, timeout: 3m}
      after_: {uses: command, needs: [each], when: "each.status == 'failed'"}
  asked:
    parameters: {who: {doc: whom}}
    tasks: {one: {uses: command}, two: {uses: command}}
`
	f, err := pipeline.Parse("pipeline.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	add := func(name string, p *pipeline.Pipeline, o Options) {
		if all[name], err = Argo(p, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range f.Pipelines {
		add(p.Name+".yaml", p, options)
		p.Schedule = nil
		add(p.Name+"-once.yaml", p, Options{File: "/f/p.yaml", State: "/f/s", Image: "image", Claim: "claim", Mount: "/f", Again: -1})
	}
	return all
}

// TestArgoSchema checks exports against the JSON schema that Argo Workflows publishes in
// its module; a field that the schema has not is a mistake.
func TestArgoSchema(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", "github.com/argoproj/argo-workflows/v3")
	download.Dir = argolint
	out, err := download.Output()
	var module struct{ Dir string }
	if err != nil || json.Unmarshal(out, &module) != nil {
		t.Skipf("the module of Argo Workflows, which has its schema, cannot be had: %v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(module.Dir, "api", "jsonschema", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s argoSchema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	for name, text := range workflows(t) {
		if problems := s.document(t, text); len(problems) > 0 {
			t.Errorf("%s: %s", name, strings.Join(problems, "\n"))
		}
	}
	// The check finds what is wrong.
	sound := workflows(t)["fraud_model.yaml"]
	for now, then := range map[string]string{
		"failFast:": "failfast:", "retryPolicy: OnError": "retryPolicy: 3", "kind: CronWorkflow": "kind: Workflows", "parallelism: 2": "parallelism: two", "entrypoint: pipeline": "entrypoint: [pipeline]",
	} {
		broken := strings.Replace(sound, now, then, 1)
		if broken == sound || len(s.document(t, broken)) == 0 {
			t.Errorf("%s instead of %s is not found", then, now)
		}
	}
}

// TestArgoLint has Argo's own code judge what is exported. Building that takes minutes.
func TestArgoLint(t *testing.T) {
	if os.Getenv("MILLRACE_ARGO") == "" {
		t.Skip("make test-argo runs it")
	}
	dir := t.TempDir()
	args := []string{"run", "."}
	for name, text := range workflows(t) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name, "asked") { // a parameter without a value is for whoever submits it
			args = append(args, path)
		}
	}
	lint := exec.CommandContext(t.Context(), "go", args...)
	lint.Dir = argolint
	if out, err := lint.CombinedOutput(); err != nil || strings.Count(string(out), ": valid") != len(args)-2 {
		t.Errorf("%v: %s", err, out)
	}
}

// argoSchema is the part of JSON Schema that Argo's schema is written in.
type argoSchema struct {
	Definitions map[string]*schemaNode `json:"definitions"`
}

type schemaNode struct {
	Ref                  string                 `json:"$ref"`
	Type                 string                 `json:"type"`
	Const                any                    `json:"const"`
	Properties           map[string]*schemaNode `json:"properties"`
	Required             []string               `json:"required"`
	Items                *schemaNode            `json:"items"`
	AdditionalProperties *schemaNode            `json:"additionalProperties"`
}

// document checks a file by the definition that its kind names.
func (s *argoSchema) document(t *testing.T, text string) []string {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(asJSON, &v); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("io.argoproj.workflow.v1alpha1.%v", v["kind"])
	if s.Definitions[name] == nil {
		return []string{"there is no kind " + fmt.Sprint(v["kind"])}
	}
	return s.check("", s.Definitions[name], v)
}

// check returns what is wrong with a value.
func (s *argoSchema) check(path string, n *schemaNode, v any) (problems []string) {
	if n.Ref != "" {
		definition := s.Definitions[strings.TrimPrefix(n.Ref, "#/definitions/")]
		if definition == nil {
			return []string{path + ": no definition " + n.Ref}
		}
		return s.check(path, definition, v)
	}
	wrong := func() []string { return []string{fmt.Sprintf("%s is %v, want %s %v", path, v, n.Type, n.Const)} }
	if n.Const != nil && n.Const != v {
		return wrong()
	}
	switch n.Type {
	case "string":
		if _, ok := v.(string); !ok {
			return wrong()
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong()
		}
	case "integer", "number":
		if f, ok := v.(float64); !ok || n.Type == "integer" && f != float64(int64(f)) {
			return wrong()
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong()
		}
		for i, one := range list {
			problems = append(problems, s.check(fmt.Sprintf("%s[%d]", path, i), n.Items, one)...)
		}
	case "object":
		fields, ok := v.(map[string]any)
		if !ok {
			return wrong()
		}
		return s.object(path, n, fields)
	}
	return problems
}

func (s *argoSchema) object(path string, n *schemaNode, fields map[string]any) (problems []string) {
	for name, one := range fields {
		switch p := n.Properties[name]; {
		case p != nil:
			problems = append(problems, s.check(path+"."+name, p, one)...)
		case n.AdditionalProperties != nil:
			problems = append(problems, s.check(path+"."+name, n.AdditionalProperties, one)...)
		default:
			problems = append(problems, path+": unknown field "+name)
		}
	}
	for _, name := range n.Required {
		if _, ok := fields[name]; !ok {
			problems = append(problems, path+": "+name+" is missing")
		}
	}
	slices.Sort(problems)
	return problems
}
