// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

func TestCheckModelName(t *testing.T) {
	for _, name := range []string{"m", "resnet-50.v2", "модель", "a b", "..a", strings.Repeat("x", 255)} {
		if err := modelconfig.CheckModelName(name); err != nil {
			t.Errorf("CheckModelName(%q) = %v", name, err)
		}
	}
	const traversal = "model name must not contain path traversal characters"
	for name, want := range map[string]string{
		"":                       "Model name cannot be empty. Please enter a valid name to deploy.",
		" \t":                    "Model name cannot be empty. Please enter a valid name to deploy.",
		"../m":                   "invalid model name '../m', " + traversal,
		"a/b":                    "invalid model name 'a/b', " + traversal,
		`a\b`:                    `invalid model name 'a\b', ` + traversal,
		".":                      "invalid model name '.', " + traversal,
		"..":                     "invalid model name '..', " + traversal,
		"a\x00b":                 `invalid model name "a\x00b", model name must not contain control characters`,
		"a\nb":                   `invalid model name "a\nb", model name must not contain control characters`,
		"a\xff":                  `invalid model name "a\xff", model name must be valid UTF-8`,
		strings.Repeat("x", 256): "invalid model name of 256 bytes, model name must not be longer than 255 bytes",
	} {
		err := modelconfig.CheckModelName(name)
		if !errors.Is(err, modelconfig.ErrInvalidConfig) || err.Error() != want {
			t.Errorf("CheckModelName(%q) = %v, want %s", name, err, want)
		}
	}
}

// TestPathsStayInside tries ways out of the folder through each field that names a
// file.
func TestPathsStayInside(t *testing.T) {
	escapes := []string{"/abs", "..", "../x", "a/../../x", "a/..", "./x", ".", "a//b", "a/", `a\b`, "C:x", "a\x01b"}
	for _, path := range escapes {
		for field, set := range map[string]func(*modelconfig.Config){
			"default_model_filename": func(c *modelconfig.Config) { c.DefaultModelFilename = path },
			"label_filename":         func(c *modelconfig.Config) { c.Output[0].LabelFilename = path },
		} {
			config := mustParse(t, batchedConfig)
			set(config)
			if err := modelconfig.Validate(config, batched); !errors.Is(err, modelconfig.ErrInvalidConfig) {
				t.Errorf("%s %q is accepted", field, path)
			}
		}
	}
	config := mustParse(t, batchedConfig)
	config.DefaultModelFilename, config.Output[0].LabelFilename = "model.v2.onnx", "labels/en..txt"
	if err := modelconfig.Validate(config, batched); err != nil {
		t.Error(err)
	}
}
