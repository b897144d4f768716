// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nameBytesMax is what common file systems allow for one path element.
const nameBytesMax = 255

// CheckModelName says why a name cannot be that of a model, whose files lie in a
// folder of the same name. The error wraps ErrInvalidConfig.
func CheckModelName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalidf("Model name cannot be empty. Please enter a valid name to deploy.")
	case len(name) > nameBytesMax:
		return invalidf("invalid model name of %d bytes, model name must not be longer than %d bytes", len(name), nameBytesMax)
	case !utf8.ValidString(name):
		return invalidf("invalid model name %q, model name must be valid UTF-8", name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return invalidf("invalid model name %q, model name must not contain control characters", name)
	case strings.ContainsAny(name, `/\`), name == ".", name == "..":
		return invalidf("invalid model name '%s', model name must not contain path traversal characters", name)
	}
	return nil
}

// checkPath says why a path of the configuration might leave the model's folder.
// Empty paths are unset and pass.
func checkPath(field, path string) error {
	local := fs.ValidPath(path) && path != "." && !strings.ContainsAny(path, `\:`)
	if path == "" || local && !strings.ContainsFunc(path, unicode.IsControl) {
		return nil
	}
	return invalidf("%s %q must be a relative path with forward slashes inside the model's folder", field, path)
}
